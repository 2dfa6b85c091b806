"""Choose the number of clusters: measure every k, and suggest one if the data support it.

A silhouette alone is weak evidence: k-means also cuts noise into compact pieces. So each k is
compared with noise without clusters, drawn uniformly from the box of the points along their
principal axes (the reference of Tibshirani, Walther and Hastie 2001), and with fits of halves of
the rows (von Luxburg 2010).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from . import lloyd
from .array_types import Array, Float32
from .assignment import nearest
from .blocks import map_array
from .engines.choice import choose_engine, new_engine
from .errors import InvalidParameter, InvalidWeights, TooFewDistinctPoints, UndefinedMeasure
from .initialization import initial_centroids
from .lloyd import LloydResult, best_of_starts
from .merging import MergedClusters, merge_clusters
from .metrics import (
    adjusted_rand_index,
    calinski_harabasz,
    davies_bouldin,
    jaccard_indices,
    silhouette,
    simplified_silhouette,
)
from .model_space import DISTANCES, Distance, ModelSpace, enter, unit_rows
from .one_line import OneLine, html_table
from .quiet_tensorflow import tf
from .row_sample import default_sample_rows, draw_sample
from .row_source import RowSource, check_described
from .rows import place_rows
from .shared_pass import measure_centroids
from .source_rows import SourceRows
from .validation import (
    check_choice,
    check_distinct,
    check_feature_weight,
    check_points,
    check_whole,
)
from .weighted_rows import WeightedRows, weigh

#: A k can be suggested if its silhouette exceeds that of noise by this much, and by this many
#: standard deviations of the noise. A single cloud does not have the shape of the box, and this
#: difference of shapes changes the silhouette by more than the deviation between draws...
LEAST_EXCESS: Final = 0.04
LEAST_DEVIATIONS: Final = 3.0

#: ... if noise itself has a low silhouette, as in hundreds of dimensions, an excess as large as
#: that silhouette and this many deviations are enough...
DEVIATIONS_WHERE_NOISE_IS_LOW: Final = 10.0

#: ... and if halves of the rows disagree on fewer than this many of its clusters: a superfluous
#: cluster splits another at random, which lowers the agreement by about 1 / k. Above ten clusters,
#: rows between clusters lower it as much, so a slight disagreement is then allowed...
MOST_UNSETTLED: Final = 0.3
SLIGHT_DISAGREEMENT: Final = 0.03

#: ... and if fits of halves find each of its clusters again. They find about half of a cluster that
#: they split at random, for any k; Hennig (2007) calls a cluster with a mean Jaccard index of 0.75
#: stable.
LEAST_RECOVERY: Final = 0.75

#: The most rows for measuring the stability and the noise; and the number of noise draws.
_STABILITY_ROWS: Final = 4_000
_NOISE_ROWS: Final = 1_000
_DRAWS: Final = 5

#: Small clusters per cluster of the largest k, which are merged into starts: among twice as many
#: random rows, one cluster in seven has none of them, among three times as many one in twenty.
_PARTS: Final = 3


@dataclass(frozen=True, repr=False)
class MeasuredK(OneLine):
    """The measures of one number of clusters, in the model's space.

    An undefined measure is None, for example if each cluster has one row, or if halves have fewer
    rows than clusters.

    Attributes:
        k: the number of clusters.
        inertia: the inertia of the best fit; it falls with k for any data.
        silhouette: the mean silhouette.
        silhouette_error: its standard error, if a sample was measured.
        simplified_silhouette: the silhouette by distances to centroids.
        davies_bouldin: the Davies-Bouldin index; lower is better.
        calinski_harabasz: the Calinski-Harabasz index; higher is better.
        stability: mean adjusted Rand index over the pairs of models of halves of the rows.
        noise_silhouette: mean silhouette of k clusters of noise in the same box.
        noise_deviation: its standard deviation between draws.
        centroids: float32 [k, d].
        recovery: the lowest, over the clusters, of the mean Jaccard index (rows in both, over rows
            in either) with the most similar cluster of the models of halves of the rows.

    Example:
        >>> from tfkmeans import select_k
        >>> points = [[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0], [9.1, 9.0], [9.0, 9.1]]
        >>> measured = select_k(points, 2, 3, resamples=2).measured
        >>> [(each.k, round(each.inertia, 3)) for each in measured]
        [(2, 0.027), (3, 0.018)]
    """

    k: int
    inertia: float
    silhouette: float | None
    silhouette_error: float | None
    simplified_silhouette: float
    davies_bouldin: float | None
    calinski_harabasz: float | None
    stability: float | None
    noise_silhouette: float | None
    noise_deviation: float | None
    centroids: Float32
    recovery: float | None = None

    @property
    def excess(self) -> float | None:
        """The silhouette minus that of noise."""
        if self.silhouette is None or self.noise_silhouette is None:
            return None
        return self.silhouette - self.noise_silhouette

    @property
    def is_above_noise(self) -> bool:
        """Whether the silhouette exceeds that of noise by more than shape explains."""
        if self.excess is None or self.noise_silhouette is None:
            return False
        deviation = self.noise_deviation or 0.0
        twice = max(self.noise_silhouette, 0.0) + DEVIATIONS_WHERE_NOISE_IS_LOW * deviation
        return self.excess >= max(LEAST_DEVIATIONS * deviation, min(LEAST_EXCESS, twice))

    @property
    def unsettled(self) -> float | None:
        """The number of clusters on which halves of the rows disagree: k (1 - stability)."""
        return None if self.stability is None else self.k * (1 - self.stability)

    @property
    def unsettled_because(self) -> str | None:
        """The measure that shows disagreement of halves of the rows; None if they agree."""
        if self.stability is None:
            return "there is no stability"
        least = 1 - max(MOST_UNSETTLED / self.k, SLIGHT_DISAGREEMENT)
        if self.stability < least:
            return f"stability {self.stability:.3f}, below the required {least:.3f}"
        if self.recovery is not None and self.recovery < LEAST_RECOVERY:
            return f"recovery {self.recovery:.3f}, below the required {LEAST_RECOVERY:.3f}"
        return None


@dataclass(frozen=True, repr=False)
class Selection(OneLine):
    """The measures of every k, in order.

    Attributes:
        measured: the measures of each k.
        suggestion: the suggested k, or None.
        reason: the reason, in a sentence.
        sample_rows: the number of sampled rows of a source; None for an array, whose rows are all
            measured.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import select_k
        >>> rng = np.random.default_rng(0)
        >>> points = np.repeat([[0, 0], [9, 0], [0, 9]], 50, axis=0) + rng.normal(size=(150, 2))
        >>> selection = select_k(points, 2, 5)
        >>> selection.suggestion
        3
        >>> [each.k for each in selection.measured]
        [2, 3, 4, 5]
    """

    measured: tuple[MeasuredK, ...]
    suggestion: int | None
    reason: str
    sample_rows: int | None = None

    def _shown(self) -> dict[str, Any]:
        values = [each.k for each in self.measured]
        return {"k": values, "suggestion": self.suggestion, "reason": self.reason}

    def _repr_html_(self) -> str:
        names = ("k", "inertia", "silhouette", "davies_bouldin", "stability", "excess")
        rows = [[_figure(getattr(each, name)) for name in names] for each in self.measured]
        return html_table(f"suggestion: {self.suggestion}; {self.reason}", names, rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@dataclass(frozen=True)
class SelectionProgress:
    """The progress of a selection; passed to ``on_progress`` before each step.

    Attributes:
        k: the number of clusters that is being measured.
        step: the current step.
        share: the completed share of all the work, 0 to 1.

    Example:
        >>> from tfkmeans import select_k
        >>> points = [[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [9.0, 9.0], [9.1, 9.0], [9.0, 9.1]]
        >>> steps = []
        >>> selection = select_k(points, 2, 3, resamples=2, on_progress=steps.append)
        >>> steps[0].k, steps[0].share
        (2, 0.0)
    """

    k: int
    step: str
    share: float


@dataclass(frozen=True)
class _Problem:
    """Rows to be clustered for every k, and the starts of their fits.

    Attributes:
        rows: the rows in the model's space, all with weight 1.
        seeds: float32 [k_max, d] for each start; its first k rows are a start for k, because a
            greedy k-means++ draw extends a shorter one.
        merged: small clusters of the rows or of a sample; merged into k, they are a start for k.
        max_iter, tolerance, on_sphere: see `lloyd.run`.
    """

    rows: WeightedRows
    seeds: tuple[Float32, ...]
    merged: MergedClusters | None
    max_iter: int
    tolerance: float
    on_sphere: bool

    @property
    def points(self) -> Float32:
        """The rows, [n, d]."""
        return self.rows.points.array

    def fit(self, k: int, *more: Float32) -> LloydResult:
        """Return the best fit of the starts and of the additional ones."""
        starts = (*(seeds[:k] for seeds in self.seeds), *self._merged_start(k), *more)
        return best_of_starts(starts, lambda _, centroids: self.run(centroids))

    def run(self, centroids: Float32) -> LloydResult:
        """Run Lloyd's algorithm from these centroids [k, d]."""
        k, d = centroids.shape
        return lloyd.run(
            new_engine(choose_engine(self.rows.n, d, k), self.rows, k, at_once=True),
            centroids,
            max_iter=self.max_iter,
            tolerance=self.tolerance,
            on_sphere=self.on_sphere,
        )

    def _merged_start(self, k: int) -> tuple[Float32, ...]:
        if self.merged is None or k > len(self.merged.sizes):
            return ()
        means = self.merged.means(k)
        return (unit_rows(means).numpy() if self.on_sphere else means,)


def select_k(
    points: ArrayLike | RowSource,
    k_min: int = 2,
    k_max: int = 20,
    *,
    n_init: int = 4,
    max_iter: int = 300,
    tol: float = 1e-4,
    standardize: bool = False,
    distance: Distance = "euclidean",
    feature_weight: ArrayLike | None = None,
    resamples: int = 10,
    seed: int = 0,
    sample_rows: int | None = None,
    measured: Sequence[MeasuredK] = (),
    on_progress: Callable[[SelectionProgress], None] | None = None,
    on_measured: Callable[[MeasuredK], None] | None = None,
) -> Selection:
    """Measure every number of clusters from ``k_min`` to ``k_max``, and suggest one.

    The points are centred and seeds are drawn only once: a start for k is the first part of one for
    ``k_max``. Another start for k is the centroids of the previous k, so the inertia never rises.
    Another start merges many small clusters of a sample. Stability and noise are measured on
    samples of at most 4,000 and 1,000 rows.

    For a source, whose rows need not fit in memory, a uniform sample is measured in this way, in
    the model's space of all rows. One more pass over all rows then measures all k with the
    centroids of the sample: inertia, simplified silhouette, Davies-Bouldin and Calinski-Harabasz.
    Silhouette, noise, stability and recovery, which decide the suggestion, are those of the sample.

    Args:
        points: real numbers [n, d]; see `fit`; or a `RowSource` without weights.
        k_min, k_max: the smallest k, at least 2, and the largest.
        n_init: the number of starts of each fit of all rows and of halves of them, besides the
            merged start and that from the previous k.
        max_iter, tol, standardize, distance, feature_weight, seed: see `fit`.
        resamples: the number of halves of the rows for measuring the stability, at least 2.
        sample_rows: the number of sampled rows of a source; see `fit`; by default for ``k_max``.
        measured: the results that an earlier, interrupted call with the same arguments passed to
            ``on_measured``; the final result has the same bits as that of an uninterrupted call.
        on_progress: called before each step.
        on_measured: called with the measures of each k; for a source, those of the sample.

    Returns:
        The measures of each k, the suggested k or None, and the reason.

    Raises:
        InvalidPoints, NonFinitePoint, ZeroPoint: see `fit`.
        InvalidWeights: a source has weights.
        InvalidParameter: a parameter is out of range.
        TooFewDistinctPoints: ``k_max`` exceeds the number of distinct rows.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import select_k
        >>> rng = np.random.default_rng(0)
        >>> points = np.repeat([[0, 0], [9, 0], [0, 9]], 50, axis=0) + rng.normal(size=(150, 2))
        >>> select_k(points, 2, 4).suggestion
        3
    """
    table = check_described(points) if isinstance(points, RowSource) else check_points(points)
    k_min = check_whole("k_min", k_min, 1)
    if k_min < 2:
        raise InvalidParameter("k_min is 1, and one cluster has no silhouette; give at least 2")
    k_max = check_whole("k_max", k_max, 2)
    if k_min > k_max:
        raise InvalidParameter(f"k_min is {k_min}, above k_max, {k_max}; give them in order")
    n_init = check_whole("n_init", n_init, 1)
    max_iter = check_whole("max_iter", max_iter, 1)
    resamples = check_whole("resamples", resamples, 2)
    seed = check_whole("seed", seed, 0)
    distance = check_choice("distance", distance, DISTANCES)
    weights = check_feature_weight(feature_weight, table.shape[1])
    space_options: dict[str, Any] = {
        "standardize": standardize,
        "distance": distance,
        "feature_weight": None if weights is None else np.array(weights),
    }
    source_rows = None
    if isinstance(table, RowSource):
        source_rows, array = _draw_rows(table, k_max, sample_rows, seed, space_options)
        space: ModelSpace = source_rows.space
    else:
        if sample_rows is not None:
            raise InvalidParameter(
                f"sample_rows is {sample_rows!r}, and all rows of an array are measured; give it "
                "with a RowSource"
            )
        array = table
        space = enter(array, np.ones(len(array), np.float32), **space_options)
    _check_distinct(array, space, k_max, of_sample=len(array) < len(table))

    sweep = _Sweep(array, space, tol, k_max, n_init, max_iter, resamples, seed)
    # The work for a k is proportional to k.
    work = [k + 5.0 for k in range(k_min, k_max + 1)]
    found = [each for each in measured if k_min <= each.k <= k_max]
    for k in range(k_min + len(found), k_max + 1):

        def report(step: str, part: float, k: int = k) -> None:
            if on_progress is not None:
                done = sum(work[: k - k_min]) + part * work[k - k_min]
                on_progress(SelectionProgress(k, step, done / sum(work)))

        found.append(sweep.measure(k, found[-1] if found else None, report))
        if on_measured is not None:
            on_measured(found[-1])
    if source_rows is not None:
        found = _measure_over_all_rows(found, source_rows)
    suggestion, reason = suggest(found)
    return Selection(tuple(found), suggestion, reason, None if source_rows is None else len(array))


def _draw_rows(
    source: RowSource, k_max: int, sample_rows: int | None, seed: int, options: dict[str, Any]
) -> tuple[SourceRows, Array]:
    """The rows of a source in the model's space, and a uniform sample of the raw rows."""
    if source.is_weighted:
        raise InvalidWeights(
            "the source has weights, and select_k measures each row once; give a source without"
        )
    rows, (n, d) = SourceRows.enter(source, **options), source.shape
    default = default_sample_rows(d, k_max)
    count = default if sample_rows is None else check_whole("sample_rows", sample_rows, k_max)
    return rows, source.take(draw_sample(source.weights, min(n, count), seed).numbers)


def _check_distinct(points: Array, space: ModelSpace, k_max: int, *, of_sample: bool) -> None:
    """Check that there are ``k_max`` distinct rows. Raises TooFewDistinctPoints."""
    try:
        check_distinct(points, space.to_model, np.ones(len(points), np.float32), k_max)
    except TooFewDistinctPoints as error:
        if not of_sample:
            raise
        raise TooFewDistinctPoints(
            f"k_max is {k_max}, but only {error.distinct} of the {len(points)} rows of the sample "
            "are distinct; give more sample_rows, or a lower k_max",
            error.distinct,
            of_sample=True,
        ) from None


def _measure_over_all_rows(measured: Sequence[MeasuredK], rows: SourceRows) -> list[MeasuredK]:
    """Replace the measures of a sample by those of all rows, where one pass gives them."""
    everywhere = measure_centroids(rows, [each.centroids for each in measured])
    return [
        replace(
            each,
            inertia=found.inertia,
            simplified_silhouette=found.simplified_silhouette,
            davies_bouldin=found.davies_bouldin,
            calinski_harabasz=found.calinski_harabasz,
        )
        for each, found in zip(measured, everywhere, strict=True)
    ]


def suggest(measured: Sequence[MeasuredK]) -> tuple[int | None, str]:
    """Return the suggested k or None, and the reason.

    The suggestion is the largest k whose clusters are more compact than those of noise and are
    found again on halves of the rows. The silhouette alone would favour joining nearby clusters.
    """
    defined = [each for each in measured if each.excess is not None and each.stability is not None]
    if not defined:
        return None, "no k stands out: there are too few rows to measure any"
    clear = [each for each in defined if each.is_above_noise]
    if not clear:
        best = max(defined, key=attrgetter("excess"))
        return None, (
            f"no k stands out: at k = {best.k}, the best, the silhouette is {best.silhouette:.3f}, "
            f"and noise without clusters reaches {best.noise_silhouette:.3f} "
            f"(+/- {best.noise_deviation:.3f})"
        )
    settled = [each for each in clear if each.unsettled_because is None]
    if not settled:
        best = max(clear, key=attrgetter("excess"))
        return None, (
            f"no k stands out: k = {best.k} has a silhouette above that of noise "
            f"({best.silhouette:.3f} against {best.noise_silhouette:.3f}), but halves of the rows "
            f"do not agree on its clusters ({best.unsettled_because})"
        )
    best = max(settled, key=attrgetter("k"))
    highest = max(settled, key=attrgetter("silhouette"))
    also = ""
    if highest is not best:
        also = f"; the highest silhouette, {highest.silhouette:.3f}, is that of k = {highest.k}"
    return best.k, (
        f"k = {best.k}: the most clusters that halves of the rows agree on (stability "
        f"{best.stability:.2f}), and more compact than noise (silhouette {best.silhouette:.3f} "
        f"against {best.noise_silhouette:.3f}){also}"
    )


class _Sweep:
    """The rows, their halves and the noise, each drawn once for all k."""

    def __init__(
        self,
        points: Array,
        space: ModelSpace,
        tol: float,
        k_max: int,
        n_init: int,
        max_iter: int,
        resamples: int,
        seed: int,
    ) -> None:
        on_sphere = space.distance == "cosine"
        random, random_parts = (
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            for key in ((0x5E1,), (0x5E1, 1))
        )

        def draw_seeds(rows: WeightedRows, k: int, source: np.random.Generator) -> Float32:
            drawn = source.integers(-(2**31), 2**31, 2).astype(np.int32)
            return initial_centroids("k-means++", rows, k, drawn)

        def new_problem(points: Float32, starts: int) -> _Problem:
            n = len(points)
            rows = weigh(place_rows(points), np.ones(n, np.float32), np.abs(points).max(axis=0))
            seeds = tuple(draw_seeds(rows, min(k_max, n), random) for _ in range(starts))
            tolerance = tol * rows.mean_variance(points.mean(axis=0, dtype=np.float64))
            return _Problem(rows, seeds, None, max_iter, tolerance, on_sphere)

        def with_merged(problem: _Problem) -> _Problem:
            rows = problem.rows
            seeds = draw_seeds(rows, min(_PARTS * k_max, -(-rows.n // 2)), random_parts)
            parts = problem.run(seeds).assignments
            assert parts is not None  # engines for rows in memory keep them
            return replace(problem, merged=merge_clusters(problem.points, parts))

        self._seed = seed
        # The only copy of the points in a sweep.
        placed = map_array(space.to_model, points)
        all_rows = new_problem(placed, n_init)
        self._sample = _sample_rows(placed, _STABILITY_ROWS, random)
        sampled = with_merged(new_problem(self._sample, 0))
        self._all = replace(all_rows, merged=sampled.merged)
        half = (len(self._sample) + 1) // 2
        self._halves = [
            with_merged(new_problem(_sample_rows(self._sample, half, random), n_init))
            for _ in range(resamples)
        ]
        few = _sample_rows(self._sample, _NOISE_ROWS, random)
        self._noises = [new_problem(_draw_noise(few, on_sphere, random), 2) for _ in range(_DRAWS)]

    def measure(
        self, k: int, before: MeasuredK | None, report: Callable[[str, float], None]
    ) -> MeasuredK:
        """Measure k clusters, given the measures of the previous k."""
        report("fitting", 0.0)
        best = self._all.fit(k, *self._warm_start(before))
        report("measuring", 0.4)
        points, labels = self._all.points, best.assignments
        assert labels is not None
        mean = error = bouldin = harabasz = None
        # Either all of these are defined or none.
        with suppress(UndefinedMeasure):
            found = silhouette(points, labels, seed=self._seed)
            mean, error = found.mean, found.standard_error
            bouldin = davies_bouldin(points, labels)
            harabasz = calinski_harabasz(points, labels)
        report("clustering halves of the rows", 0.5)
        stability, recovery = self._agreement(k, best.centroids)
        report("clustering noise", 0.8)
        noise = self._noise_silhouettes(k)
        return MeasuredK(
            k=k,
            inertia=best.inertia,
            silhouette=mean,
            silhouette_error=error,
            simplified_silhouette=simplified_silhouette(points, best.centroids),
            davies_bouldin=bouldin,
            calinski_harabasz=harabasz,
            stability=stability,
            noise_silhouette=float(np.mean(noise)) if noise else None,
            noise_deviation=float(np.std(noise, ddof=1)) if noise else None,
            centroids=best.centroids,
            recovery=recovery,
        )

    def _warm_start(self, before: MeasuredK | None) -> tuple[Float32, ...]:
        """The centroids of the previous k, and the row of a draw that is farthest from them."""
        if before is None:
            return ()
        drawn = self._all.seeds[0]
        _, squared = nearest(tf.constant(drawn), tf.constant(before.centroids))
        farthest = drawn[int(np.argmax(squared))]
        return (np.concatenate([before.centroids, farthest[None]]),)

    def _agreement(self, k: int, centroids: Float32) -> tuple[float | None, float | None]:
        """The stability of k clusters, and the recovery of the clusters of the centroids."""
        if any(len(half.points) < k for half in self._halves):
            return None, None
        sample = tf.constant(self._sample)
        whole, *halves = (
            nearest(sample, tf.constant(each))[0].numpy()
            for each in (centroids, *(half.fit(k).centroids for half in self._halves))
        )
        pairs = ((one, other) for number, one in enumerate(halves) for other in halves[:number])
        stability = np.mean([adjusted_rand_index(*pair) for pair in pairs])
        recovered = np.mean([jaccard_indices(whole, each) for each in halves], axis=0)
        return float(stability), float(recovered.min())

    def _noise_silhouettes(self, k: int) -> list[float]:
        if any(len(noise.points) <= k for noise in self._noises):
            return []
        silhouettes = []
        for noise in self._noises:
            labels = noise.fit(k).assignments
            assert labels is not None
            silhouettes.append(silhouette(noise.points, labels).mean)
        return silhouettes


def _sample_rows(points: Float32, most: int, random: np.random.Generator) -> Float32:
    """Draw rows without replacement, in their order; all rows if there are at most ``most``."""
    if len(points) <= most:
        return points
    return points[np.sort(random.choice(len(points), most, replace=False))]


def _draw_noise(points: Float32, on_sphere: bool, random: np.random.Generator) -> Float32:
    """Draw as many rows uniformly from the box of the points along their principal axes."""
    mean = points.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(points - mean, full_matrices=False)
    along = (points - mean) @ axes.T
    noise = random.uniform(along.min(axis=0), along.max(axis=0), along.shape) @ axes + mean
    if on_sphere:
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    rounded: Float32 = noise.astype(np.float32)
    return rounded
