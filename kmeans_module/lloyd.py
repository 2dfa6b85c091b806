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

from .array_types import Float32, Float64
from .graphs import synchronized_cache, trace
from .model_space import unit_rows
from .numpy_rows import NumpyRows, as_numpy
from .rows import Rows


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


@synchronized_cache
def _moving(*, on_sphere: bool) -> Callable[..., Any]:
    """The graph of `move`."""
    return trace(
        lambda centroids, sums, counts: move(centroids, sums, counts, on_sphere),
        [_TABLE, tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)],
    )


def weighted_sum(squares: NDArray[Any], sample_weight: tf.Tensor) -> float:
    """The sum of weight times square, float [n]; in float64."""
    weight = as_numpy(sample_weight)
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
