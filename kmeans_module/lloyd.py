"""Lloyd's algorithm (Lloyd 1982, written 1957): exact k-means on data in memory.

Stops as scikit-learn does: when no assignment changes (strict convergence), or when the squared
Frobenius norm of the centroids' move is at most the tolerance; then the assignments are taken
once more, so that they match the returned centroids.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .engines.engine import Engine, StepSums
from .graphs import TABLE, synchronized_cache, trace
from .model_space import unit_rows


@dataclass(frozen=True)
class Iteration:
    """One step of a fit, in the model's space.

    Attributes:
        inertia: weighted sum of squared distances to the centroids that the step began with.
        shift: squared Frobenius norm of the centroids' move in this step.
        cluster_sizes: float64 [k], the weight of each cluster's points in this step.
    """

    inertia: float
    shift: float
    cluster_sizes: Float64 = field(default_factory=lambda: np.zeros(0), compare=False, repr=False)


@dataclass(frozen=True)
class LloydResult:
    """Where one start began and ended.

    Attributes:
        initial_centroids: float32 [k, d], in the model's space.
        centroids: float32 [k, d], in the model's space.
        assignments: int32 [n], the nearest of ``centroids``.
        inertia: weighted sum of squared distances to the assigned centroids.
        history: the iterations.
        converged: whether nothing changed any more, or the move was within the tolerance.
    """

    initial_centroids: Float32
    centroids: Float32
    assignments: NDArray[np.int32]
    inertia: float
    history: tuple[Iteration, ...]
    converged: bool


def move_centroids(
    centroids: tf.Tensor, sums: tf.Tensor, counts: tf.Tensor, on_sphere: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """The centroids at the means of their clusters; an empty cluster keeps its own.

    Args:
        centroids: float32 [k, d].
        sums: float64 [k, d], of the weighted points.
        counts: float64 [k], of the weights.
        on_sphere: for points of length 1, take the direction of the mean, which has the highest
            sum of cosines (Dhillon and Modha 2001); where the points cancel out, it stays.

    Returns:
        The moved centroids float32 [k, d], and the squared Frobenius norm of the move, float64 [].
    """
    mean = tf.cast(tf.math.divide_no_nan(sums, counts[:, None]), tf.float32)
    has_mean = counts[:, None] > 0
    if on_sphere:
        mean = unit_rows(mean)
        has_mean &= tf.reduce_any(mean != 0, 1, keepdims=True)
    moved = tf.where(has_mean, mean, centroids)
    wide = tf.cast(moved, tf.float64) - tf.cast(centroids, tf.float64)
    return moved, tf.reduce_sum(tf.square(wide))


def run(
    engine: Engine,
    centroids: Float32,
    *,
    max_iter: int,
    tolerance: float,
    on_sphere: bool = False,
    on_iteration: Callable[[Iteration, int], None] | None = None,
) -> LloydResult:
    """Iterate from the given centroids until nothing changes.

    Args:
        engine: a new one.
        centroids: float32 [k, d], in the model's space.
        max_iter: iterations at most.
        tolerance: stop when the squared move of the centroids is at most this.
        on_sphere: whether points and centroids have the length 1; see `move_centroids`.
        on_iteration: called after each iteration with it and its number, from 1.
    """
    initial, history, converged = centroids, list[Iteration](), False
    while len(history) < max_iter and not converged:
        step = engine.step(centroids)
        inertia = step.inertia(centroids)
        if inertia is None:
            inertia = engine.finish(centroids).inertia
        step = _relocate_empty(step, engine)
        sums = tf.constant(centroids), tf.constant(step.sums), tf.constant(step.counts)
        moved, shift = _move_graph(on_sphere=on_sphere)(*sums)
        history.append(Iteration(inertia, float(shift), step.counts))
        if on_iteration is not None:
            on_iteration(history[-1], len(history))
        converged = not step.has_changed or float(shift) <= tolerance
        centroids = moved.numpy()
    inertia, assignments = engine.finish(centroids)
    return LloydResult(initial, centroids, assignments, inertia, tuple(history), converged)


def best_of_starts(
    starts: Iterable[Float32], run_start: Callable[[int, Float32], LloydResult]
) -> LloydResult:
    """The result of the lowest inertia, of equally low ones the first.

    Args:
        starts: initial centroids; each is asked for when the start before has ended.
        run_start: runs a start, given its number, from 1, and its centroids.
    """
    results = (run_start(number, centroids) for number, centroids in enumerate(starts, 1))
    return min(results, key=lambda result: result.inertia)


def _relocate_empty(step: StepSums, engine: Engine) -> StepSums:
    """Give each empty cluster one of the points farthest from their centroids.

    As scikit-learn does it, but a point of weight 0 is never taken, and a cluster that loses its
    last point becomes empty in its turn. The sums and counts change, not the assignments.
    """
    (empty,) = np.nonzero(step.counts <= 0)
    if not len(empty):
        return step
    far = engine.farthest(len(empty))
    empty = empty[: len(far.numbers)]
    sums, counts, members = step.sums.copy(), step.counts.copy(), far.members.copy()
    points = far.points * far.weights[:, None]
    np.subtract.at(sums, far.assignments, points)
    np.subtract.at(counts, far.assignments, far.weights)
    np.subtract.at(members, far.assignments, 1)
    # Exactly empty, not what rounding leaves of a difference.
    sums[members == 0] = 0
    counts[members == 0] = 0
    sums[empty] = points
    counts[empty] = far.weights
    return replace(step, sums=sums, counts=counts)


@synchronized_cache
def _move_graph(*, on_sphere: bool) -> Callable[..., Any]:
    """The graph of `move_centroids`."""
    return trace(
        lambda centroids, sums, counts: move_centroids(centroids, sums, counts, on_sphere),
        [TABLE, tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)],
    )
