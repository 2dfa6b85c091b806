"""Lloyd's algorithm (Lloyd 1982, written 1957): exact k-means on data in memory.

Stops as scikit-learn does: when no assignment changes (strict convergence), or when the squared
Frobenius norm of the centroids' move is at most the tolerance; then the assignments are taken
once more, so that they match the returned centroids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .assignment import nearest_in_block, rows_per_block
from .model_space import ROWS_SPEC, Float32, Float64, Rows, unit_rows

ReadBlock = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


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
    """Where one start ended: float32 [k, d] in the model's space, int32 [n]."""

    centroids: Float32
    assignments: NDArray[np.int32]
    inertia: float
    history: tuple[Iteration, ...]
    converged: bool


@dataclass
class _Step:
    """What one pass over the points gives; the sums are of weighted points."""

    assignments: NDArray[np.int32]
    squared_distance: Float32
    sums: Float64
    counts: Float64
    inertia: float


def assign_and_sum(
    block_of_points: ReadBlock, sample_weight: tf.Tensor, centroids: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Assign each point, and sum the weighted points of each cluster, in one pass over blocks.

    Args:
        block_of_points: gives rows ``start`` to ``stop`` of the points, float32 [m, d], in the
            model's space.
        sample_weight: float32 [n].
        centroids: float32 [k, d], in the model's space.

    Returns:
        assignments int32 [n]; squared_distance float32 [n]; sums float64 [k, d]; counts
        float64 [k]; inertia float64 [].
    """
    k, d = tf.shape(centroids)[0], tf.shape(centroids)[1]
    block = rows_per_block(tf.maximum(k, d))
    blocks = tf.maximum((tf.size(sample_weight) + block - 1) // block, 1)

    def body(
        i: tf.Tensor,
        assignments: tf.TensorArray,
        distances: tf.TensorArray,
        sums: tf.Tensor,
        counts: tf.Tensor,
        inertia: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        rows = block_of_points(i * block, (i + 1) * block)
        weight = sample_weight[i * block : (i + 1) * block]
        index, squared = nearest_in_block(rows, centroids)
        wide = tf.cast(weight, tf.float64)
        # In float64: float32 would lose the digits of a tight cluster of many points. A product
        # with the weight 0 is 0, also where the row is so far away that its square overflows.
        weighted = tf.math.multiply_no_nan(tf.cast(rows, tf.float64), wide[:, None])
        return (
            i + 1,
            assignments.write(i, index),
            distances.write(i, squared),
            sums + tf.math.unsorted_segment_sum(weighted, index, k),
            counts + tf.math.unsorted_segment_sum(wide, index, k),
            inertia + tf.reduce_sum(tf.math.multiply_no_nan(tf.cast(squared, tf.float64), wide)),
        )

    _, assignments, distances, sums, counts, inertia = tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (
            tf.constant(0),
            tf.TensorArray(tf.int32, blocks, infer_shape=False),
            tf.TensorArray(tf.float32, blocks, infer_shape=False),
            tf.zeros([k, d], tf.float64),
            tf.zeros([k], tf.float64),
            tf.constant(0.0, tf.float64),
        ),
        parallel_iterations=2,
    )
    return assignments.concat(), distances.concat(), sums, counts, inertia


def move(
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
    points: Rows,
    sample_weight: tf.Tensor,
    centroids: Float32,
    *,
    max_iter: int,
    tolerance: float,
    on_sphere: bool = False,
    on_iteration: Callable[[Iteration, int], None],
) -> LloydResult:
    """Iterate from the given centroids until nothing changes.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        centroids: float32 [k, d], in the model's space.
        max_iter: iterations at most.
        tolerance: stop when the squared move of the centroids is at most this.
        on_sphere: whether points and centroids have the length 1; see `move`.
        on_iteration: called after each iteration with it and its number, from 1.
    """
    history: list[Iteration] = []
    assignments: NDArray[np.int32] | None = None
    converged = settled = False
    while len(history) < max_iter and not converged:
        step = _step(points, sample_weight, centroids)
        _relocate_empty(points, sample_weight, step)
        moving = _move_on_sphere if on_sphere else _move
        moved, shift = moving(centroids, step.sums, step.counts)
        history.append(Iteration(step.inertia, float(shift), step.counts))
        on_iteration(history[-1], len(history))
        unchanged = assignments is not None and np.array_equal(step.assignments, assignments)
        settled = np.array_equal(moved, centroids)
        converged = unchanged or float(shift) <= tolerance
        assignments, centroids = step.assignments, moved.numpy()
    if not settled:
        # The centroids moved after the last assignment: take it once more, so that they match.
        step = _step(points, sample_weight, centroids)
    return LloydResult(
        centroids, step.assignments, step.inertia, tuple(history), converged=converged
    )


_TABLE = tf.TensorSpec([None, None], tf.float32)
_COLUMN = tf.TensorSpec([None], tf.float32)
_assign_and_sum = tf.function(
    lambda points, weight, centroids: assign_and_sum(points.block, weight, centroids),
    [ROWS_SPEC, _COLUMN, _TABLE],
)
_MOVED = [_TABLE, tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)]
_move = tf.function(move, _MOVED)
_move_on_sphere = tf.function(
    lambda centroids, sums, counts: move(centroids, sums, counts, on_sphere=True), _MOVED
)


def _step(points: Rows, sample_weight: tf.Tensor, centroids: Float32) -> _Step:
    assignments, distances, sums, counts, inertia = _assign_and_sum(
        points, sample_weight, tf.constant(centroids)
    )
    # Tensors of n numbers are looked at where they lie; `numpy()` would copy them.
    return _Step(
        np.asarray(memoryview(assignments)),
        np.asarray(memoryview(distances)),
        sums.numpy(),
        counts.numpy(),
        float(inertia),
    )


def _relocate_empty(points: Rows, sample_weight: tf.Tensor, step: _Step) -> None:
    """Give each empty cluster one of the points farthest from their centroids.

    As scikit-learn does it, but a point of weight 0 is never taken, and a cluster that loses its
    last point becomes empty in its turn. Changes the sums and counts, not the assignments.
    """
    (empty,) = np.nonzero(step.counts <= 0)
    if not len(empty):
        return
    weight = sample_weight.numpy()
    distance = np.where(weight > 0, step.squared_distance, 0)
    # A stable order makes the choice among equally far points the same on every machine.
    far = np.argsort(-distance, kind="stable")[: len(empty)]
    far = far[distance[far] > 0]
    empty = empty[: len(far)]
    if not len(far):
        return
    rows = points.gather(far).numpy().astype(np.float64) * weight[far, None]
    losers = step.assignments[far]
    np.subtract.at(step.sums, losers, rows)
    np.subtract.at(step.counts, losers, weight[far])
    members = np.bincount(step.assignments[weight > 0], minlength=len(step.counts))
    np.subtract.at(members, losers, 1)
    # Exactly empty, not what rounding leaves of a difference.
    step.sums[members == 0] = 0
    step.counts[members == 0] = 0
    step.sums[empty] = rows
    step.counts[empty] = weight[far]
