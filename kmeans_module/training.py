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
    """The progress of a fit; passed to ``on_iteration`` after each iteration over all rows.

    Attributes:
        start: the number of the current start, from 1.
        n_init: the number of starts.
        iteration: the number of the last iteration, from 1.
        max_iter: the most iterations.
        inertia: the inertia at the beginning of the iteration, in the model's space.
        shift: squared Frobenius norm of the change of the centroids, in the model's space.
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
        assignments: int32 [n], the nearest of ``centroids`` for each point; None for a `RowSource`,
            whose assignments are not kept.
        inertia: weighted sum of squared distances to the assigned centroids, in the model's space.
        n_iter: iterations of the best start, over all rows.
        history: these iterations.
        initial_centroids: float32 [k, d], in raw units, of the best start.
        converged: whether it stopped before ``max_iter``.
        engine: the engine of its steps; the first steps may have used "plain", see
            `kmeans_module.engines.choice`.
        device: "cpu", or the names of devices, separated by commas.
        is_copied_anew: whether a device could not hold the rows of the array, so that they were
            copied to it in blocks in each step.
        parameters: the parameters of the fit.
        sample_weight: float32 [n]; None if all weights are 1, and for a `RowSource`.
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
    """Cluster points by k-means (Lloyd 1982), with the parameter names of scikit-learn.

    Args:
        points: real numbers [n, d]: NumPy, a tensor, a frame of pandas or polars, an Arrow table (a
            column of vectors, such as embeddings, gives w features); or a `RowSource`, whose rows
            need not fit in memory: they are read again in each iteration. float32 is used
            unchanged; float64 and integers are centred in float64 before they are rounded. The
            module takes float32: it cannot distinguish rows that are equal in float32.
        n_clusters: k, at most the number of distinct rows of positive weight.
        init: "k-means++" (greedy; Arthur and Vassilvitskii 2007), "k-means||" (Bahmani et al.
            2012: a few passes over the points, for many rows and clusters), "random" (rows drawn
            by weight), or the initial centroids [k, d] in raw units.
        n_init: the number of starts from different initial centroids; the one with the lowest
            inertia is kept. "auto" is 10 up to 100,000 rows, and 1 above; for a sample 10, and 5
            above. With given centroids there is one start.
        max_iter: the most iterations of one start.
        tol: stop when the squared Frobenius norm of the change of the centroids is at most ``tol``
            times the mean variance of the columns, in the model's space.
        sample_weight: one number per row [n], not negative; by default 1. A source has its own
            weights.
        standardize: divide each column by its standard deviation, in the exported graph too.
        distance: "euclidean", or "cosine": spherical k-means (Dhillon and Modha 2001). Rows are
            normalised to length 1, in the exported graph too, after optional standardisation; the
            squared distances in the inertia are then 2 - 2 cos. For an array, memory has a copy of
            the points in float32.
        feature_weight: one positive number per column [d], by default 1: columns are multiplied by
            their weights, after optional standardisation, in the exported graph too. A weight of 2
            has the effect of four such columns.
        seed: the seed of every random choice; the same seed gives the same bits. None is 0.
        random_state: scikit-learn's name for ``seed``; give one of the two.
        engine: "auto" chooses by the size of the problem (`engines.choice`); or one of
            "plain", "unrolled", "matmul", "bounds" and "moved" on the CPU, and "device". A named
            engine computes every step. All give the same bits.
        device: the device of the steps: "cpu"; "gpu" for all visible GPUs; or names such as
            "/GPU:1", separated by commas. "auto" is "gpu" if there is a GPU and enough work for it
            (`engines.choice`), else "cpu". See docs/gpu.md.
        device_memory: the most bytes to use on each device; by default nine tenths of its free
            memory. Rows that do not fit are copied to it in blocks in each step.
        seeding: the initial centroids of the iterations over all rows. "all": rows that ``init``
            draws from all rows. "sample": the centroids of a fit of a uniform sample of the rows in
            memory, the best of ``n_init`` starts. "auto" is "sample" for a source, which does not
            support "all", and "all" otherwise. An array and a source with the same rows give the
            same bits.
        sample_rows: the number of rows of the sample; by default 4,000 per cluster, at most 256
            MiB. Only with "sample".
        passes: for an approximate fit: the most iterations over all rows after the fit of the
            sample. Only with "sample"; by default ``max_iter``.
        checkpoint: a folder. After each iteration over all rows the fit saves its state there;
            after any interruption, the same call continues from this state, and gives the same
            bits. The state is removed when the fit ends. Each fit needs its own folder. With
            several workers only the first uses it, and the state is removed when `connect_workers`
            ends.
        on_iteration: called after each iteration over all rows.
        reducer: the reducer of `connect_workers`, for a fit with several workers: the source of
            each worker has its own rows, which follow those of the previous worker, or none. All
            pass the same other arguments, and get the same result, with the same bits as one
            process with all rows.

    Returns:
        The best start, with its centroids, assignments, inertia, history, and the module to export.

    Raises:
        InvalidPoints: not two-dimensional, not numeric, no rows, no columns.
        UnreadableRows: the rows of a source cannot be read.
        NonFinitePoint: a row with NaN or infinity.
        ZeroPoint: for cosine distance, a row of zeros.
        InvalidWeights: weights negative, not finite, all zero or of another length; or given with a
            source.
        InvalidCentroids: ``init`` is an array of another shape, or not finite.
        InvalidParameter: another parameter is out of range.
        NoSuchDevice: TensorFlow has no device of that name.
        DeviceMemoryExhausted: the device does not have enough memory.
        TooFewDistinctPoints: more clusters than distinct rows, in all rows or in the sample.
        CheckpointMismatch: the checkpoint belongs to other rows or parameters.
        UnusableCheckpoint: the checkpoint cannot be read or written.
        WorkersDiffer: workers of one fit have different arguments.
        WorkerLost: another worker is lost; restart all workers.
        WorkerFailed: another worker ended with an error.
        ForkedProcess: this process was forked from one in which TensorFlow ran.

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
        # Another worker may still be lost, and all then continue from the end of this fit.
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
    """Return the start with the lowest inertia over all rows; on ties the first.

    Args:
        rows: the rows of the fit.
        given: raw initial centroids float64 [k, d] of the caller, or None.
        state: the state to continue from.
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
