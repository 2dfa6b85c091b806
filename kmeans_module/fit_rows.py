"""The rows of a fit in the model's space, in memory or of a source, and its initial centroids."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import lloyd
from .array_types import Array, Float32, Table
from .device_seeding import searches_on
from .engines.choice import EngineName, Placement, choose_sample_engine, new_engine
from .errors import InvalidCentroids, InvalidWeights, TooFewDistinctPoints
from .fit_parameters import FitParameters
from .free_memory import give_back_free_memory
from .initialization import initial_centroids
from .lloyd import LloydResult, LloydState, best_of_starts
from .model_space import ModelSpace, enter
from .row_sample import Sample, draw_sample
from .row_share import RowShare
from .row_source import RowSource
from .rows import place_rows
from .source_rows import SourceRows
from .validation import FARTHEST, check_distinct, check_weights
from .weighted_rows import WeightedRows, weigh

_ROWS_OF_FINGERPRINT: Final = 1024

#: Starts over a sample are drawn from this many rows per cluster, if the sample is this many times
#: as large; and the additional seed for choosing these rows.
_DRAWING_ROWS: Final = 250
_LARGE: Final = 4
#: Iterations of each start over the whole sample before the best one is chosen.
_COMPETING_ITERATIONS: Final = 5
_KEY_OF_COMPETITION: Final = 0xC0


@dataclass(frozen=True)
class FitRows:
    """The rows of a fit.

    Attributes:
        table: the raw rows.
        weights: float32 [n].
        space: the model's space.
        rows: the rows of the table in this space.
        parameters: the parameters of the fit.
        share: the share of rows that this process reads.
        placement: the engine and the devices of the steps.
    """

    table: Array | RowSource
    weights: Table
    space: ModelSpace
    rows: WeightedRows | SourceRows
    parameters: FitParameters
    share: RowShare
    placement: Placement

    @classmethod
    def enter(
        cls,
        table: Array | RowSource,
        sample_weight: ArrayLike | None,
        parameters: FitParameters,
        share: RowShare,
        placement: Placement,
    ) -> "FitRows":
        """Map raw rows to the model's space. The errors are those of `fit`."""
        k, given = parameters.n_clusters, parameters.feature_weight
        space_options: dict[str, Any] = {
            "standardize": parameters.standardize,
            "distance": parameters.distance,
            "feature_weight": None if given is None else np.array(given),
        }
        rows: WeightedRows | SourceRows
        if isinstance(table, RowSource):
            if sample_weight is not None:
                raise InvalidWeights(
                    "sample_weight is given beside a source, which has weights of its own; give "
                    "them to the source"
                )
            rows = SourceRows.enter(table, share=share, **space_options)
            check_distinct(table, rows.space.to_model, table.weights, k, share)
            return cls(table, table.weights, rows.space, rows, parameters, share, placement)
        weights = check_weights(sample_weight, len(table))
        space = enter(table, weights, **space_options)
        check_distinct(table, space.to_model, weights, k)
        rows = weigh(space.rows, weights, space.largest)
        return cls(table, weights, space, rows, parameters, share, placement)

    @property
    def is_copied_anew(self) -> bool:
        """Whether rows in memory do not fit on a device, and are copied to it in each step."""
        return isinstance(self.rows, WeightedRows) and not self.placement.devices.hold(self.rows)

    def run(
        self,
        begin: Float32 | LloydState,
        on_iteration: Callable[[LloydState], None],
    ) -> LloydResult:
        """Run one start over all rows."""
        most = self.parameters.most_iterations
        return self._run(self.rows, self.placement.engine, begin, most, on_iteration)

    def begin(self, start: int, given: NDArray[np.float64] | None) -> Float32:
        """Return the initial centroids of a start over all rows, float32 [k, d] in the model's
        space.

        Args:
            start: the number of the start, from 1.
            given: raw centroids float64 [k, d] of the caller, or None.
        """
        if given is not None:
            return _to_model(given, self.space)
        if isinstance(self.rows, SourceRows):
            centroids = self._fit_sample()
            # The kernels of the sample are compiled, and its rows are released.
            give_back_free_memory()
            return centroids
        if self.parameters.seeding == "sample":
            return self._fit_sample()
        return self._draw(self.rows, start - 1)

    def assign(self, centroids: Float32) -> NDArray[np.int32] | None:
        """Return the nearest centroid of each row in memory."""
        if isinstance(self.rows, SourceRows):
            return None
        engine = new_engine(
            self.placement.engine, self.rows, len(centroids), self.placement.devices
        )
        return engine.finish(centroids).assignments

    def identity(self, given: NDArray[np.float64] | None) -> dict[str, Any]:
        """Return the properties that identify this fit; the same for an array and a source."""
        shape = self.table.shape
        names = {"tfkmeans": version("tfkmeans"), "rows": shape[0], "features": shape[1]}
        told = told_parameters(self.parameters, given)
        return names | told | {"fingerprint": self._fingerprint()}

    def _fingerprint(self) -> str:
        """Return the SHA-256 of sums over all rows and of some rows."""
        rows, space = self.rows, self.space
        raw, weights = self._take(draw_sample(self.weights, _ROWS_OF_FINGERPRINT, 0, self.share))
        digest = sha256(
            repr((raw.dtype.str, rows.squares, rows.mean_square, rows.heaviest)).encode()
        )
        for each in (space.shift, space.scale, space.mean, space.largest, weights, raw):
            digest.update(np.ascontiguousarray(each).data)
        return digest.hexdigest()

    def _fit_sample(self) -> Float32:
        """Return the centroids of the best fit of a sample."""
        raw, weights = self._take(
            draw_sample(
                self.weights, self.parameters.sample_rows or 0, self.parameters.seed, self.share
            )
        )
        rows, reducer = self._place_sample(raw, weights), self.share.reducer
        # All workers could compute it, but processors may round differently, and all must begin
        # with the same centroids.
        found = self._best_of_sample(rows, raw, weights).tobytes() if reducer.worker == 0 else b""
        centroids = np.frombuffer(bytearray(reducer.broadcast(found)), np.float32)
        return centroids.reshape(self.parameters.n_clusters, -1)

    def _best_of_sample(self, rows: WeightedRows, raw: Array, weights: Float32) -> Float32:
        """Fit a sample; for a large sample, draw starts from some rows, and complete only the best
        one.
        """
        count = _DRAWING_ROWS * self.parameters.n_clusters
        few = rows
        if self.parameters.n_init > 1 and rows.n >= _LARGE * count:
            rng = np.random.default_rng([self.parameters.seed, _KEY_OF_COMPETITION])
            chosen = np.sort(rng.choice(rows.n, count, replace=False))
            # So few rows may have fewer distinct rows than clusters.
            with suppress(TooFewDistinctPoints):
                few = self._place_sample(raw[chosen], weights[chosen])
        most = self.parameters.max_iter
        at_first = most if few is rows else min(most, _COMPETING_ITERATIONS)
        best = best_of_starts(
            (self._draw(few, start) for start in range(self.parameters.n_init)),
            lambda _, centroids: self._run_sample(rows, centroids, at_first),
        )
        if few is not rows:
            best = self._run_sample(rows, best.centroids, most)
        return best.centroids

    def _run_sample(self, rows: WeightedRows, begin: Float32, max_iter: int) -> LloydResult:
        engine = self._engine_of(rows)
        # If a worker is lost meanwhile, the fit of the sample ends.
        return self._run(rows, engine, begin, max_iter, lambda _: self.share.reducer.check())

    def _engine_of(self, rows: WeightedRows) -> EngineName:
        """Return the engine for these rows in memory, all rows or a sample."""
        if rows is self.rows:
            return self.placement.engine
        engine = choose_sample_engine(rows.n, len(self.space.shift), self.parameters.n_clusters)
        # A device needs compiled kernels too, which is too slow for few rows.
        is_there = self.placement.engine == "device" and engine != "plain"
        return "device" if is_there else engine

    def _place_sample(self, raw: Array, weights: Float32) -> WeightedRows:
        """Map the rows of the sample to the model's space. Raises TooFewDistinctPoints."""
        k = self.parameters.n_clusters
        try:
            check_distinct(raw, self.space.to_model, weights, k)
        except TooFewDistinctPoints as error:
            raise TooFewDistinctPoints(
                f"n_clusters is {k}, but only {error.distinct} of the {len(raw)} rows of the "
                "sample are distinct; give more sample_rows, or fewer clusters",
                error.distinct,
                of_sample=True,
            ) from None
        placed = self.space.place(raw).gather(np.arange(len(raw)))
        return weigh(place_rows(placed), weights, np.abs(placed).max(axis=0))

    def _take(self, sample: Sample) -> tuple[Array, Float32]:
        """Return the raw rows of a sample and their weights, given the part of each worker."""
        table, numbers = self.table, sample.numbers
        own = table.take(numbers) if isinstance(table, RowSource) else table[numbers]
        return self.share.reducer.gather(own), self.share.reducer.gather(sample.weights)

    def _draw(self, rows: WeightedRows, start: int) -> Float32:
        # An independent seed for each start.
        sequence = np.random.SeedSequence(self.parameters.seed, spawn_key=(start,))
        seed = sequence.generate_state(2).astype(np.int32)
        k, searches = self.parameters.n_clusters, None
        if self._engine_of(rows) == "device":
            searches = searches_on(self.placement.devices)
        return initial_centroids(self.parameters.init, rows, k, seed, searches)

    def _run(
        self,
        rows: WeightedRows | SourceRows,
        engine: EngineName,
        begin: Float32 | LloydState,
        max_iter: int,
        on_iteration: Callable[[LloydState], None] | None = None,
    ) -> LloydResult:
        return lloyd.run(
            new_engine(
                engine,
                rows,
                self.parameters.n_clusters,
                self.placement.devices,
                at_once=self.placement.at_once or rows is not self.rows,
            ),
            begin,
            max_iter=max_iter,
            tolerance=self.parameters.tol * self.rows.mean_variance(self.space.mean),
            on_sphere=self.space.distance == "cosine",
            on_iteration=on_iteration,
        )


def told_parameters(parameters: FitParameters, given: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return parameters by name for comparison, with a hash for given centroids [k, d]."""
    told = asdict(parameters)
    return told if given is None else told | {"init": sha256(given.tobytes()).hexdigest()}


def _to_model(given: NDArray[np.float64], space: ModelSpace) -> Float32:
    """Map given centroids to the model's space.

    Raises InvalidCentroids if float32 cannot hold the square of a centroid far from the points.
    """
    centroids = (given - space.shift) / space.scale
    if np.abs(centroids).max() > FARTHEST:
        row = int(np.abs(centroids).max(axis=1).argmax())
        raise InvalidCentroids(
            f"init has row {row} too far from the points for float32; give centroids among them"
        )
    if space.distance == "cosine":
        is_zero = ~centroids.any(axis=1)
        if is_zero.any():
            raise InvalidCentroids(
                f"init has zeros alone in row {int(np.argmax(is_zero))}, which has no direction "
                "for cosine distance; give other centroids"
            )
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return centroids.astype(np.float32)
