"""``fit``: its parameters, its starts and its result."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import lloyd
from .array_types import Float32
from .cores import check_not_forked
from .engines.choice import EngineName, new_engine, resolve_engine
from .errors import InvalidCentroids, InvalidParameter
from .initialization import INITIALIZATIONS, initial_centroids
from .lloyd import Iteration, LloydResult, best_of_starts
from .model_space import DISTANCES, Distance, ModelSpace, enter
from .module import KMeansModule
from .validation import (
    FARTHEST,
    check_choice,
    check_distinct,
    check_numbers,
    check_points,
    check_weights,
    check_whole,
)
from .weighted_rows import weigh

#: Up to so many rows, ten starts are quick enough to be the rule.
_ROWS_OF_TEN_STARTS: Final = 100_000


@dataclass(frozen=True)
class FitParameters:
    """What a fit was asked for, checked, with every default resolved.

    Attributes:
        n_clusters: k.
        init: the name of the initialization, or "array" for given centroids.
        n_init: how many starts were made.
        max_iter: iterations of one start at most.
        tol: relative to the mean variance of the columns.
        standardize: whether each column was divided by its standard deviation.
        distance: "euclidean" or "cosine".
        seed: of every random choice.
    """

    n_clusters: int
    init: str
    n_init: int
    max_iter: int
    tol: float
    standardize: bool
    distance: Distance
    seed: int


@dataclass(frozen=True)
class Progress:
    """How far a fit is; given to ``on_iteration`` after each iteration.

    Attributes:
        start: the start that runs, from 1.
        n_init: how many starts there will be.
        iteration: the iteration that ended, from 1.
        max_iter: how many there may be.
        inertia: at the iteration's beginning, in the model's space.
        shift: squared Frobenius norm of the centroids' move, in the model's space.
        cluster_sizes: float64 [k], the weight of each cluster's points.
    """

    start: int
    n_init: int
    iteration: int
    max_iter: int
    inertia: float
    shift: float
    cluster_sizes: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FitResult:
    """A fit: the best of its starts.

    Attributes:
        centroids: float32 [k, d], in raw units.
        assignments: int32 [n], the nearest of ``centroids`` for each point.
        inertia: weighted sum of squared distances to the assigned centroids, in the model's space.
        n_iter: iterations of the best start.
        history: those iterations.
        initial_centroids: float32 [k, d], in raw units: where the best start began.
        converged: whether it stopped before ``max_iter``.
        engine: what took its steps; see `kmeans_module.engines.choice`.
        parameters: what the fit was asked for.
        sample_weight: float32 [n], or None where every row weighs 1.
        module: the model, ready to be exported.
    """

    centroids: Float32
    assignments: NDArray[np.int32]
    inertia: float
    n_iter: int
    history: tuple[Iteration, ...]
    initial_centroids: Float32
    converged: bool
    engine: EngineName
    parameters: FitParameters
    sample_weight: Float32 | None
    module: KMeansModule


def fit(
    points: ArrayLike,
    n_clusters: int,
    *,
    init: str | ArrayLike = "k-means++",
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    sample_weight: ArrayLike | None = None,
    standardize: bool = False,
    distance: Distance = "euclidean",
    seed: int | None = None,
    random_state: int | None = None,
    engine: str = "auto",
    on_iteration: Callable[[Progress], None] | None = None,
) -> FitResult:
    """Cluster points by k-means (Lloyd 1982); the names are scikit-learn's.

    Args:
        points: real numbers [n, d]: NumPy, a tensor, a frame of pandas or polars, an Arrow table; a
            column of vectors, as of embeddings, is w features. float32 is used as it is;
            float64 and integers are centred in float64 before they are rounded. The module takes
            float32: rows that differ only in digits that float32 lacks are one to it.
        n_clusters: k, at most the number of distinct rows of positive weight.
        init: "k-means++" (greedy; Arthur and Vassilvitskii 2007), "k-means||" (Bahmani et al.
            2012: a few passes over the points, for many rows and clusters), "random" (rows drawn
            by weight), or the initial centroids [k, d] in raw units.
        n_init: starts from different initial centroids; that of the lowest inertia is kept.
            "auto" is 10 up to 100,000 rows, and 1 above. Given centroids are started from once.
        max_iter: iterations of one start at most.
        tol: stop when the squared Frobenius norm of the centroids' move is at most ``tol`` times
            the mean variance of the columns, in the model's space.
        sample_weight: one number a row [n], not negative; 1 each when not given.
        standardize: divide each column by its standard deviation, in the exported graph too.
        distance: "euclidean", or "cosine": spherical k-means (Dhillon and Modha 2001). Rows are
            brought to length 1 in the exported graph too, after they are standardised if they are;
            the squared distances that the inertia sums are then 2 - 2 cos. Holds one copy of the
            points in float32.
        seed: every random choice comes from it; the same seed gives the same bits. None is 0.
        random_state: scikit-learn's name for ``seed``; give one of the two.
        engine: "auto" chooses by the size of the problem (`engines.choice`); or one of
            "plain", "unrolled", "matmul" and "bounds". All give the same bits.
        on_iteration: called after each iteration.

    Raises:
        InvalidPoints: not two-dimensional, not numeric, no rows, no columns.
        NonFinitePoint: a row with NaN or infinity.
        ZeroPoint: for cosine distance, a row of zeros.
        InvalidWeights: weights negative, not finite, all zero or of another length.
        InvalidCentroids: ``init`` is an array of another shape, or not finite.
        InvalidParameter: another parameter is out of its range.
        TooFewDistinctPoints: more clusters than distinct rows.
        ForkedProcess: there was a fit in the process that this one was forked from.
    """
    check_not_forked()
    array = check_points(points)
    if not isinstance(standardize, bool | np.bool_):
        raise InvalidParameter(f"standardize is {standardize!r}; give True or False")
    if isinstance(init, str):
        check_choice("init", init, INITIALIZATIONS, more=", or an array of centroids")
    if isinstance(n_init, str) and n_init == "auto":
        n_init = 10 if len(array) <= _ROWS_OF_TEN_STARTS else 1
    n_starts = check_whole("n_init", n_init, 1)
    parameters = FitParameters(
        n_clusters=check_whole("n_clusters", n_clusters, 1),
        init=init if isinstance(init, str) else "array",
        n_init=n_starts if isinstance(init, str) else 1,
        max_iter=check_whole("max_iter", max_iter, 1),
        tol=_check_tol(tol),
        standardize=bool(standardize),
        distance=check_choice("distance", distance, DISTANCES),
        seed=_check_seed(seed, random_state),
    )
    if on_iteration is not None and not callable(on_iteration):
        raise InvalidParameter(f"on_iteration is {on_iteration!r}; give a function")
    k = parameters.n_clusters
    engine_name = resolve_engine(engine, len(array), array.shape[1], k)
    weights = check_weights(sample_weight, len(array))
    given = None if isinstance(init, str) else _check_centroids(init, k, array.shape[1])
    space = enter(array, weights, standardize=parameters.standardize, distance=parameters.distance)
    check_distinct(array, space.to_model, weights, k)

    rows = weigh(space.rows, weights, space.largest)

    def draw_start(start: int) -> Float32:
        # An independent seed for each start.
        sequence = np.random.SeedSequence(parameters.seed, spawn_key=(start,))
        seed = sequence.generate_state(2).astype(np.int32)
        return initial_centroids(parameters.init, rows, k, seed)

    def run_start(start: int, centroids: Float32) -> LloydResult:
        def report(iteration: Iteration, number: int) -> None:
            if on_iteration is not None:
                of_fit = start, parameters.n_init, number, parameters.max_iter
                on_iteration(Progress(*of_fit, **vars(iteration)))

        return lloyd.run(
            new_engine(engine_name, rows, k),
            centroids,
            max_iter=parameters.max_iter,
            tolerance=parameters.tol * rows.mean_variance(space.mean),
            on_sphere=space.distance == "cosine",
            on_iteration=report,
        )

    starts = map(draw_start, range(n_starts)) if given is None else [_to_model(given, space)]
    best = best_of_starts(starts, run_start)
    module = KMeansModule(best.centroids, space.shift, space.scale, space.distance)
    module.parameters = parameters
    return FitResult(
        centroids=space.to_raw(best.centroids),
        assignments=best.assignments,
        inertia=best.inertia,
        n_iter=len(best.history),
        history=best.history,
        initial_centroids=space.to_raw(best.initial_centroids),
        converged=best.converged,
        engine=engine_name,
        parameters=parameters,
        sample_weight=None if sample_weight is None else weights,
        module=module,
    )


def _check_tol(tol: float) -> float:
    """The tolerance, when it is one. Raises InvalidParameter."""
    is_number = isinstance(tol, float | int | np.number) and not isinstance(tol, bool)
    if not is_number or not 0 <= float(tol) < math.inf:
        raise InvalidParameter(f"tol is {tol!r}; give a finite number of at least 0")
    return float(tol)


def _check_seed(seed: int | None, random_state: int | None) -> int:
    """The one of the two that is given, or 0. Raises InvalidParameter."""
    if seed is not None and random_state is not None:
        raise InvalidParameter(
            f"seed is {seed!r} and random_state is {random_state!r}, which is the same; give one"
        )
    name, value = ("seed", seed) if random_state is None else ("random_state", random_state)
    return 0 if value is None else check_whole(name, value, 0)


def _check_centroids(init: ArrayLike, k: int, d: int) -> NDArray[np.float64]:
    wanted = f"numbers of shape ({k}, {d}), [n_clusters, features]"
    given = check_numbers("init", init, (k, d), wanted, InvalidCentroids)
    if not np.isfinite(given).all():
        raise InvalidCentroids("init holds NaN or infinity; give finite centroids")
    return given.astype(np.float64)


def _to_model(given: NDArray[np.float64], space: ModelSpace) -> Float32:
    """Given centroids in the model's space.

    Raises InvalidCentroids when one is so far from the points that float32 cannot hold its square.
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
