"""Lloyd's algorithm (Lloyd 1982, written 1957): exact k-means on data in memory.

Stops as scikit-learn does: when no assignment changes (strict convergence), or when the squared
Frobenius norm of the centroids' move is at most the tolerance; then the assignments are taken
once more, so that they match the returned centroids.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .assignment import nearest_in_block, rows_per_block
from .cores import built_once
from .model_space import ROWS_SPEC, Float32, Float64, Rows, unit_rows
from .numpy_rows import NumpyRows, looked_at
from .padded_blocks import traced

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
class Step:
    """What one pass over the points gives.

    Attributes:
        sums: float64 [k, d], of each cluster's weighted points.
        counts: float64 [k], its weight.
        inertia: weighted sum of squared distances to the centroids of the step.
        changed: whether an assignment is another than that of the step before.
    """

    sums: Float64
    counts: Float64
    inertia: float
    changed: bool


class Engine(Protocol):
    """What takes the steps of one start; it may keep what it knows from one to the next."""

    @property
    def assignments(self) -> NDArray[np.int32]:
        """The nearest centroid of each point in the last step, int32 [n]."""

    def step(self, centroids: Float32) -> Step:
        """Assign each point to the nearest of the centroids [k, d], and sum the clusters."""

    def squared_distances(self) -> Float32:
        """To the assigned centroids of the last step, float32 [n]."""


class PlainEngine:
    """Every distance in every step, by stock TensorFlow: short, and the oracle of the others."""

    def __init__(self, points: Rows, sample_weight: tf.Tensor) -> None:
        self._points, self._weight = points, sample_weight
        self.assignments: NDArray[np.int32] = np.full(sample_weight.shape, -1, np.int32)
        self._squared_distances: Float32

    def step(self, centroids: Float32) -> Step:
        """See `Engine`."""
        assignments, distances, sums, counts, inertia = _assign_and_sum(
            self._points, self._weight, tf.constant(centroids)
        )
        before, self.assignments = self.assignments, assignments.numpy()
        self._squared_distances = looked_at(distances)
        changed = not np.array_equal(before, self.assignments)
        return Step(sums.numpy(), counts.numpy(), float(inertia), changed)

    def squared_distances(self) -> Float32:
        """See `Engine`."""
        return self._squared_distances


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
    engine: Engine,
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
        engine: a new one, that of these points.
        points: [n, d].
        sample_weight: float32 [n].
        centroids: float32 [k, d], in the model's space.
        max_iter: iterations at most.
        tolerance: stop when the squared move of the centroids is at most this.
        on_sphere: whether points and centroids have the length 1; see `move`.
        on_iteration: called after each iteration with it and its number, from 1.
    """
    history: list[Iteration] = []
    converged = settled = False
    while len(history) < max_iter and not converged:
        step = engine.step(centroids)
        _relocate_empty(points, sample_weight, engine, step)
        given = tf.constant(centroids), tf.constant(step.sums), tf.constant(step.counts)
        moved, shift = _moving(on_sphere=on_sphere)(*given)
        history.append(Iteration(step.inertia, float(shift), step.counts))
        on_iteration(history[-1], len(history))
        settled = np.array_equal(moved, centroids)
        converged = not step.changed or float(shift) <= tolerance
        centroids = moved.numpy()
    if not settled:
        # The centroids moved after the last assignment: take it once more, so that they match.
        step = engine.step(centroids)
    return LloydResult(
        centroids, engine.assignments, step.inertia, tuple(history), converged=converged
    )


def inertia_of_sums(
    centroids: Float32,
    sums: Float64,
    counts: Float64,
    square: float,
    squared_distances: Callable[[], Float32],
    sample_weight: tf.Tensor,
) -> float:
    """The inertia, by way of what an engine has summed already.

    ``sum w |x - c|^2 = sum w |x|^2 - 2 c.S + W |c|^2``, in float64. Where so little is left of the
    norms that rounding could show, the distances are summed.

    Args:
        centroids: float32 [k, d], of the step.
        sums, counts: S float64 [k, d] and W float64 [k], of its clusters.
        square: the weighted sum of the points' squared norms.
        squared_distances: gives those of the step, float32 [n].
        sample_weight: float32 [n].
    """
    wide = centroids.astype(np.float64)
    norms = square + float(counts @ np.square(wide).sum(1))
    inertia = norms - 2.0 * float(np.vdot(wide, sums))
    if inertia > _CANCELLED * norms:
        return inertia
    return weighted_sum(squared_distances(), sample_weight)


#: Less than this share of the norms has fewer than seven digits that float64 can vouch for.
_CANCELLED: Final = 1e-8

_TABLE = tf.TensorSpec([None, None], tf.float32)
_COLUMN = tf.TensorSpec([None], tf.float32)
_assign_and_sum = tf.function(
    lambda points, weight, centroids: assign_and_sum(points.block, weight, centroids),
    [ROWS_SPEC, _COLUMN, _TABLE],
    autograph=False,
)


@built_once
def _moving(*, on_sphere: bool) -> Callable[..., Any]:
    """The graph of `move`."""
    return traced(
        lambda centroids, sums, counts: move(centroids, sums, counts, on_sphere),
        [_TABLE, tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)],
    )


def weighted_sum(squares: NDArray[Any], sample_weight: tf.Tensor) -> float:
    """The sum of weight times square, float [n]; in float64."""
    weight = looked_at(sample_weight)
    # A row of weight 0 may be infinitely far away.
    counted = np.where(weight > 0, squares, 0)
    return float(np.einsum("n,n->", counted, weight, dtype=np.float64))


def _relocate_empty(points: Rows, sample_weight: tf.Tensor, engine: Engine, step: Step) -> None:
    """Give each empty cluster one of the points farthest from their centroids.

    As scikit-learn does it, but a point of weight 0 is never taken, and a cluster that loses its
    last point becomes empty in its turn. Changes the sums and counts, not the assignments.
    """
    (empty,) = np.nonzero(step.counts <= 0)
    if not len(empty):
        return
    weight, assignments = sample_weight.numpy(), engine.assignments
    distance = np.where(weight > 0, engine.squared_distances(), 0)
    # A stable order makes the choice among equally far points the same on every machine.
    far = np.argsort(-distance, kind="stable")[: len(empty)]
    far = far[distance[far] > 0]
    empty = empty[: len(far)]
    if not len(far):
        return
    rows = NumpyRows(points).gather(far).astype(np.float64) * weight[far, None]
    losers = assignments[far]
    np.subtract.at(step.sums, losers, rows)
    np.subtract.at(step.counts, losers, weight[far])
    members = np.bincount(assignments[weight > 0], minlength=len(step.counts))
    np.subtract.at(members, losers, 1)
    # Exactly empty, not what rounding leaves of a difference.
    step.sums[members == 0] = 0
    step.counts[members == 0] = 0
    step.sums[empty] = rows
    step.counts[empty] = weight[far]
