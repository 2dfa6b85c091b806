"""Lloyd's algorithm (Lloyd 1982, written 1957): exact k-means on data in memory.

It stops like scikit-learn: when no assignment changes (strict convergence), or when the squared
Frobenius norm of the change of the centroids is at most the tolerance; then the assignments are
computed again, so that they match the returned centroids.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .cluster_sums import ClusterSums, sum_rows
from .engines.engine import Engine
from .graphs import TABLE, synchronized_cache, trace
from .model_space import unit_rows
from .quiet_tensorflow import tf

#: If the difference is below this share of the norms, it has fewer than six correct digits.
_CANCELLED: Final = 1e-6


@dataclass(frozen=True)
class Iteration:
    """One step of a fit, in the model's space.

    Attributes:
        inertia: weighted sum of squared distances to the centroids before the step.
        shift: squared Frobenius norm of the change of the centroids in this step.
        cluster_sizes: float64 [k], the weight of each cluster's points in this step.

    Example:
        >>> from tfkmeans import fit
        >>> result = fit([[0.0], [1.0], [9.0]], n_clusters=2, init=[[0.0], [1.0]])
        >>> [round(iteration.inertia, 3) for iteration in result.history]
        [64.0, 17.0, 0.5]
    """

    inertia: float
    shift: float
    cluster_sizes: Float64 = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class LloydState:
    """A start between two iterations.

    Attributes:
        initial: float32 [k, d], the initial centroids, in the model's space.
        before: float32 [k, d], the centroids before the last iteration.
        centroids: float32 [k, d], the current centroids.
        history: the iterations so far.
        converged: whether no assignment changed, or the shift was within the tolerance.
    """

    initial: Float32
    before: Float32
    centroids: Float32
    history: tuple[Iteration, ...]
    converged: bool


@dataclass(frozen=True)
class LloydResult:
    """The initial centroids and the result of one start.

    Attributes:
        initial_centroids: float32 [k, d], in the model's space.
        centroids: float32 [k, d], in the model's space.
        assignments: int32 [n], the nearest of ``centroids``; None where the engine keeps none.
        inertia: weighted sum of squared distances to the assigned centroids.
        history: the iterations.
        converged: whether no assignment changed, or the shift was within the tolerance.
    """

    initial_centroids: Float32
    centroids: Float32
    assignments: NDArray[np.int32] | None
    inertia: float
    history: tuple[Iteration, ...]
    converged: bool


def move_centroids(
    centroids: tf.Tensor, sums: tf.Tensor, counts: tf.Tensor, on_sphere: bool = False
) -> tf.Tensor:
    """Return the means of the clusters; an empty cluster keeps its centroid.

    Args:
        centroids: float32 [k, d].
        sums: float64 [k, d], the sums of the weighted points.
        counts: float64 [k], the sums of the weights.
        on_sphere: for points of length 1, return the direction of the mean, which has the highest
            sum of cosines (Dhillon and Modha 2001); if the points cancel out, the centroid is kept.

    Returns:
        float32 [k, d].
    """
    mean = tf.cast(tf.math.divide_no_nan(sums, counts[:, None]), tf.float32)
    has_mean = counts[:, None] > 0
    if on_sphere:
        mean = unit_rows(mean)
        has_mean &= tf.reduce_any(mean != 0, 1, keepdims=True)
    return tf.where(has_mean, mean, centroids)


def run(
    engine: Engine,
    begin: Float32 | LloydState,
    *,
    max_iter: int,
    tolerance: float,
    on_sphere: bool = False,
    on_iteration: Callable[[LloydState], None] | None = None,
) -> LloydResult:
    """Iterate from the given centroids until convergence.

    Args:
        engine: a new engine.
        begin: centroids float32 [k, d], in the model's space; or the state to continue from.
        max_iter: the most iterations.
        tolerance: stop when the squared shift of the centroids is at most this.
        on_sphere: whether points and centroids have length 1; see `move_centroids`.
        on_iteration: called after each iteration.
    """
    state = begin
    if not isinstance(state, LloydState):
        state = LloydState(state, state, state, (), converged=False)
    elif len(state.history) < max_iter and not state.converged:
        # Repeated so that the engine has the assignments of the previous step.
        engine.step(state.before)
    while len(state.history) < max_iter and not state.converged:
        centroids = state.centroids
        step = engine.step(centroids)
        inertia = _expanded_inertia(engine.squares, step.clusters, centroids)
        if inertia is None:
            inertia = float(engine.finish(centroids).inertia.value)
        clusters = _relocate_empty(step.clusters, engine)
        sums, counts = clusters.points.value, clusters.weight.value[:, 0]
        moved = _move_graph(on_sphere=on_sphere)(*map(tf.constant, (centroids, sums, counts)))
        moved = moved.numpy()
        shift = float(np.square(np.subtract(moved, centroids, dtype=np.float64)).sum())
        state = LloydState(
            initial=state.initial,
            before=centroids,
            centroids=moved,
            history=(*state.history, Iteration(inertia, shift, counts)),
            converged=not step.has_changed or shift <= tolerance,
        )
        if on_iteration is not None:
            on_iteration(state)
    last = engine.finish(state.centroids)
    return LloydResult(
        initial_centroids=state.initial,
        centroids=state.centroids,
        assignments=last.assignments,
        inertia=float(last.inertia.value),
        history=state.history,
        converged=state.converged,
    )


def _expanded_inertia(squares: float, clusters: ClusterSums, centroids: Float32) -> float | None:
    """Return the weighted sum of squared distances to the centroids [k, d] of the step.

    ``sum w |x - c|^2 = sum w |x|^2 - 2 c.S + W |c|^2``, in float64. None if the result is so small
    relative to the norms that rounding matters.
    """
    wide = centroids.astype(np.float64)
    # Sums instead of dot products, because a BLAS library may use several threads for these.
    norms = squares + float((clusters.weight.value * np.square(wide)).sum())
    inertia = norms - 2.0 * float((wide * clusters.points.value).sum())
    return inertia if inertia > _CANCELLED * norms else None


def best_of_starts(
    starts: Iterable[Float32], run_start: Callable[[int, Float32], LloydResult]
) -> LloydResult:
    """Return the result with the lowest inertia; on ties the first.

    Args:
        starts: initial centroids; each is requested after the end of the previous start.
        run_start: runs a start, given its number, from 1, and its centroids.
    """
    results = (run_start(number, centroids) for number, centroids in enumerate(starts, 1))
    return min(results, key=lambda result: result.inertia)


def _relocate_empty(clusters: ClusterSums, engine: Engine) -> ClusterSums:
    """Assign to each empty cluster one of the points farthest from their centroids.

    This is like scikit-learn, but a point of weight 0 is never used, and a cluster that loses its
    last point becomes empty. The sums change, but not the assignments.
    """
    weight = clusters.weight.value[:, 0]
    (empty,) = np.nonzero(weight <= 0)
    if not len(empty):
        return clusters
    far = engine.farthest(len(empty))
    places = empty[: len(far.numbers)]
    taken, given = (
        sum_rows(far.points, far.weights, [where], len(weight), engine.scale)
        for where in (far.assignments, places)
    )
    return clusters.minus(taken).plus(given)


@synchronized_cache
def _move_graph(*, on_sphere: bool) -> Callable[..., Any]:
    """The graph of `move_centroids`."""
    return trace(
        lambda centroids, sums, counts: move_centroids(centroids, sums, counts, on_sphere),
        [TABLE, tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)],
    )
