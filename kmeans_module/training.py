"""``fit``: its parameters, its starts and its result."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_types import Float32
from .devices import on_cpu
from .engines.choice import EngineName, choose_placement
from .errors import InvalidCentroids, InvalidParameter
from .fit_checkpoint import FitCheckpoint, FitState
from .fit_parameters import FitParameters
from .fit_rows import FitRows, told_parameters
from .forks import check_not_forked
from .initialization import most_places
from .lloyd import Iteration, LloydResult, LloydState
from .model_space import Distance
from .module import KMeansModule
from .one_line import OneLine
from .row_sample import Seeding
from .row_share import RowShare
from .row_source import RowSource, check_described
from .shared_source import share_rows
from .validation import check_numbers, check_points, check_whole
from .workers import ALONE, Reducer

_Best = LloydResult | None


@dataclass(frozen=True)
class Progress:
    """How far a fit is; given to ``on_iteration`` after each iteration over all rows.

    Attributes:
        start: the start that runs, from 1.
        n_init: how many starts there will be.
        iteration: the iteration that ended, from 1.
        max_iter: how many there may be.
        inertia: at the iteration's beginning, in the model's space.
        shift: squared Frobenius norm of the centroids' move, in the model's space.
        cluster_sizes: float64 [k], the weight of each cluster's points.

    Example:
        >>> from tfkmeans import Progress, fit
        >>> def show(progress: Progress) -> None:
        ...     print(progress.iteration, round(progress.inertia, 3))
        >>> result = fit([[0.0], [1.0], [9.0]], 2, init=[[0.0], [1.0]], on_iteration=show)
        1 64.0
        2 17.0
        3 0.5
    """

    start: int
    n_init: int
    iteration: int
    max_iter: int
    inertia: float
    shift: float
    cluster_sizes: NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(OneLine):
    """A fit: the best of its starts.

    Attributes:
        centroids: float32 [k, d], in raw units.
        assignments: int32 [n], the nearest of ``centroids`` for each point; None for the rows of a
            `RowSource`, of which nothing is kept.
        inertia: weighted sum of squared distances to the assigned centroids, in the model's space.
        n_iter: iterations of the best start, over all rows.
        history: those iterations.
        initial_centroids: float32 [k, d], in raw units: where the best start began.
        converged: whether it stopped before ``max_iter``.
        engine: what took its steps; the first may have been "plain", see
            `kmeans_module.engines.choice`.
        device: where: "cpu", or the names of devices with commas between them.
        is_copied_anew: whether a device could not hold the rows of the array, so that they were
            copied to it in blocks in each step.
        parameters: what the fit was asked for.
        sample_weight: float32 [n], or None where every row weighs 1, and for a `RowSource`.
        module: the model, ready to be exported.

    Example:
        >>> from tfkmeans import fit
        >>> result = fit([[0.0, 1.0], [0.0, 3.0], [9.0, 9.0]], n_clusters=2, seed=0)
        >>> result.centroids
        array([[0., 2.],
               [9., 9.]], dtype=float32)
        >>> result.assignments
        array([0, 0, 1], dtype=int32)
        >>> result.inertia, result.converged
        (2.0, True)
    """

    centroids: Float32
    assignments: NDArray[np.int32] | None
    inertia: float
    n_iter: int
    history: tuple[Iteration, ...]
    initial_centroids: Float32
    converged: bool
    engine: EngineName
    device: str
    is_copied_anew: bool
    parameters: FitParameters
    sample_weight: Float32 | None
    module: KMeansModule

    def _shown(self) -> dict[str, Any]:
        k, d = self.centroids.shape
        rows = {} if self.assignments is None else {"n_rows": len(self.assignments)}
        names = ("inertia", "n_iter", "converged", "engine", "device")
        return {"n_clusters": k, "n_features": d, **rows} | {n: getattr(self, n) for n in names}


def fit(
    points: ArrayLike | RowSource,
    n_clusters: int,
    *,
    init: str | ArrayLike = "k-means++",
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    sample_weight: ArrayLike | None = None,
    standardize: bool = False,
    distance: Distance = "euclidean",
    feature_weight: ArrayLike | None = None,
    seed: int | None = None,
    random_state: int | None = None,
    engine: str = "auto",
    device: str = "auto",
    device_memory: int | None = None,
    seeding: Literal["auto"] | Seeding = "auto",
    sample_rows: int | None = None,
    passes: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    on_iteration: Callable[[Progress], None] | None = None,
    reducer: Reducer = ALONE,
) -> FitResult:
    """Cluster points by k-means (Lloyd 1982); the names are scikit-learn's.

    Args:
        points: real numbers [n, d]: NumPy, a tensor, a frame of pandas or polars, an Arrow table; a
            column of vectors, as of embeddings, is w features; or a `RowSource`, whose rows need
            not fit memory: they are read anew in each iteration. float32 is used as it is; float64
            and integers are centred in float64 before they are rounded. The module takes float32:
            rows that differ only in digits that float32 lacks are one to it.
        n_clusters: k, at most the number of distinct rows of positive weight.
        init: "k-means++" (greedy; Arthur and Vassilvitskii 2007), "k-means||" (Bahmani et al.
            2012: a few passes over the points, for many rows and clusters), "random" (rows drawn
            by weight), or the initial centroids [k, d] in raw units.
        n_init: starts from different initial centroids; that of the lowest inertia is kept.
            "auto" is 10 up to 100,000 rows, and 1 above; of a sample 10, and 5 above. Given
            centroids are started from once.
        max_iter: iterations of one start at most.
        tol: stop when the squared Frobenius norm of the centroids' move is at most ``tol`` times
            the mean variance of the columns, in the model's space.
        sample_weight: one number a row [n], not negative; 1 each when not given. A source has
            weights of its own.
        standardize: divide each column by its standard deviation, in the exported graph too.
        distance: "euclidean", or "cosine": spherical k-means (Dhillon and Modha 2001). Rows are
            brought to length 1 in the exported graph too, after they are standardised if they are;
            the squared distances that the inertia sums are then 2 - 2 cos. Of an array it holds one
            copy of the points in float32.
        feature_weight: one positive number a column [d], 1 each when not given: the distance takes
            the column times its weight, after it is standardised if it is, in the exported graph
            too. A weight of 2 counts as much as four such columns.
        seed: every random choice comes from it; the same seed gives the same bits. None is 0.
        random_state: scikit-learn's name for ``seed``; give one of the two.
        engine: "auto" chooses by the size of the problem (`engines.choice`); or one of
            "plain", "unrolled", "matmul", "bounds" and "moved", which the cores run, and "device":
            one that is named takes each step. All give the same bits.
        device: where the steps are taken: "cpu"; "gpu", all GPUs that TensorFlow sees; or the name
            of one, as "/GPU:1", or several with commas between them. "auto" is "gpu" where there is
            one and the work is worth it (`engines.choice`), else "cpu". docs/gpu.md says more.
        device_memory: bytes of each device that may be used; by default nine tenths of what it has
            free. Rows that do not fit are copied to it in blocks, anew in each step.
        seeding: where the iterations over all rows begin. "all": at rows that ``init`` draws from
            all. "sample": at the centroids of a fit of a uniform sample of the rows, in memory; its
            ``n_init`` starts compete there, and one goes on over all rows. "auto" is "sample" for a
            source, which has no other, and "all" else. An array and a source of the same rows give
            the same bits.
        sample_rows: how many rows the sample has; by default 4,000 for each cluster, or as many as
            256 MiB hold. Only with "sample".
        passes: approximate: after the fit of the sample, stop after so many iterations over all
            rows. Only with "sample"; by default ``max_iter``.
        checkpoint: a folder. After each iteration over all rows the fit leaves there how far it is;
            the same call goes on from there after it was stopped in any way, and ends in the same
            bits. It is emptied when the fit ends. Each fit needs a folder of its own. Of several
            workers the first alone uses it, and it is emptied when `connect_workers` ends.
        on_iteration: called after each iteration over all rows.
        reducer: what `connect_workers` gives, where several workers fit their rows together: the
            source of each has rows of its own, which follow those of the worker before; it may
            have none. All give the same other arguments, and all get the same result, in the bits
            that one would have with all rows.

    Returns:
        The best start, with its centroids, assignments, inertia, history, and the module to export.

    Raises:
        InvalidPoints: not two-dimensional, not numeric, no rows, no columns.
        UnreadableRows: the rows of a source cannot be read.
        NonFinitePoint: a row with NaN or infinity.
        ZeroPoint: for cosine distance, a row of zeros.
        InvalidWeights: weights negative, not finite, all zero or of another length; or given beside
            a source.
        InvalidCentroids: ``init`` is an array of another shape, or not finite.
        InvalidParameter: another parameter is out of its range.
        NoSuchDevice: TensorFlow sees no device of that name.
        DeviceMemoryExhausted: the device has no memory left.
        TooFewDistinctPoints: more clusters than distinct rows, of all or of the sample.
        CheckpointMismatch: the checkpoint is of other rows or other parameters.
        UnusableCheckpoint: the checkpoint cannot be read or written.
        WorkersDiffer: workers of one fit were given different arguments.
        WorkerLost: another worker is gone; all are to be started again.
        WorkerFailed: another worker has ended by an error.
        ForkedProcess: TensorFlow ran in the process that this one was forked from.

    Example:
        >>> from tfkmeans import fit
        >>> points = [[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]]
        >>> result = fit(points, n_clusters=2, seed=0)
        >>> result.inertia
        4.0
        >>> sorted(result.centroids.tolist())
        [[1.0, 3.0], [10.0, 3.0]]
    """
    check_not_forked()
    table = check_described(points) if isinstance(points, RowSource) else check_points(points)
    is_streamed = isinstance(table, RowSource)
    share = RowShare.whole(len(table))
    if isinstance(table, RowSource):
        table, share = share_rows(table, reducer)
    elif reducer.workers > 1:
        raise InvalidParameter(
            "several workers fit together, and the points of this one are no RowSource; give "
            "RowSource.from_array(points)"
        )
    parameters = FitParameters.check(
        table.shape,
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        standardize=standardize,
        distance=distance,
        seed=seed,
        random_state=random_state,
        seeding=seeding,
        sample_rows=sample_rows,
        passes=passes,
        feature_weight=feature_weight,
        is_streamed=is_streamed,
    )
    if on_iteration is not None and not callable(on_iteration):
        raise InvalidParameter(f"on_iteration is {on_iteration!r}; give a function")
    (n, d), k = table.shape, parameters.n_clusters
    if device_memory is not None:
        check_whole("device_memory", device_memory, 1)
    placement = choose_placement(
        *(engine, device, device_memory, n, d, k),
        is_streamed=is_streamed,
        places=most_places(parameters.init, k),
    )
    given = None if isinstance(init, str) else _check_centroids(init, k, d)
    told = {"engine": placement.engine, "checkpoint": checkpoint is not None}
    reducer.agree(told_parameters(parameters, given) | told)
    with on_cpu():
        rows = FitRows.enter(table, sample_weight, parameters, share, placement)

    kept = None
    if checkpoint is not None:
        kept = FitCheckpoint(checkpoint, rows.identity(given), reducer)

    def report(state: FitState) -> None:
        if kept is not None:
            kept.write(state)
        if on_iteration is not None:
            history = state.running.history
            starts = state.start, parameters.starts_over_all_rows
            so_far = *starts, len(history), parameters.most_iterations
            on_iteration(Progress(*so_far, **vars(history[-1])))

    with on_cpu():
        best = _best_start(rows, given, None if kept is None else kept.state, report)
    if kept is not None:
        # Of several workers one may still be lost, and all begin where this fit has ended.
        reducer.when_all_have_ended(kept.remove)
    space = rows.space
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
        engine=placement.engine,
        device=placement.where,
        is_copied_anew=rows.is_copied_anew,
        parameters=parameters,
        sample_weight=None if sample_weight is None else rows.weights[:],
        module=module,
    )


def _best_start(
    rows: FitRows,
    given: NDArray[np.float64] | None,
    state: FitState | None,
    on_iteration: Callable[[FitState], None],
) -> LloydResult:
    """The start of the lowest inertia over all rows, of equally low ones the first.

    Args:
        rows: of the fit.
        given: float64 [k, d], raw, where the caller gives the initial centroids.
        state: where the fit goes on.
        on_iteration: called after each iteration.
    """
    best = None if state is None else state.best
    first = 1 if state is None else state.start
    for number in range(first, rows.parameters.starts_over_all_rows + 1):
        goes_on = state is not None and number == state.start
        begin = state.running if state is not None and goes_on else rows.begin(number, given)

        def report(running: LloydState, start: int = number, best: _Best = best) -> None:
            on_iteration(FitState(start, running, best))

        result = rows.run(begin, report)
        if best is None or result.inertia < best.inertia:
            best = result
    assert best is not None
    if best.assignments is None:
        best = replace(best, assignments=rows.assign(best.centroids))
    return best


def _check_centroids(init: ArrayLike, k: int, d: int) -> NDArray[np.float64]:
    wanted = f"numbers of shape ({k}, {d}), [n_clusters, features]"
    given = check_numbers("init", init, (k, d), wanted, InvalidCentroids)
    if not np.isfinite(given).all():
        raise InvalidCentroids("init holds NaN or infinity; give finite centroids")
    return given.astype(np.float64)
