"""The sums of clusters, in int64 fixed point (`fixed_point`).

The sum of integers does not depend on their order, so a fit gives the same bits for any number of
cores, blocks and machines, and the contribution of a row can be subtracted exactly when the row
leaves its cluster.

The scale. The sums are those of ``w x`` for each column, and of ``w``. Their largest magnitudes
follow from the largest |x| of each column and the largest weight. A centroid is the quotient of two
sums. Rounding changes the sum of a cluster of m rows by at most m / 2 units of the last limb, and
its weight is at least m times the smallest weight; so the mean changes by at most one such unit
over twice the smallest weight. The number of limbs keeps this below half an ulp of float32 at the
typical |x| of the column, ``2^-25`` of it: one limb for most data, two for distant outliers or very
different weights, more for weights that differ by more than 2^60. The typical |x| is exceeded by 99
of 100 rows of a sample; if all of the sample are 0, it is the smallest of the other |x|. Smaller
|x| contribute next to nothing.

Rounding never empties a cluster with a positive weight: each weight is at least ``2^25`` units of
the last limb.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aligned_window import Window, window_spec
from .array_types import Float32, Float64
from .blocks import Contribution, loop_blocks, power_of_two_rows
from .fixed_point import (
    FixedPoint,
    FixedSum,
    fixed_point,
    limb_tensors,
    without_subnormal,
    without_subnormal_tensor,
)
from .graphs import synchronized_cache, trace
from .quiet_tensorflow import tf

#: Numbers of a tile, which should fit in float64 in the cache of a core. For each tile the kernel
#: adds a table of all clusters to the sums, which should take less time than the rows; so a tile
#: also has a few rows per cluster and a minimum of rows, up to the larger number.
_TILE_NUMBERS: Final = 2**14
_LARGEST_TILE: Final = 2**19
_ROWS_FOR_EACH_CLUSTER: Final = 4
_ROWS_OF_TILE: Final = 512

#: Rows with at least this many numbers are added per stretch, if stretches have this many rows.
_WIDE: Final = 256
_LONG: Final = 8

#: Half an ulp of float32, relative.
_HALF_ULP: Final = 2.0**-25


class SumScale(NamedTuple):
    """The fixed-point scales of the sums of clusters, with the same number of limbs.

    Attributes:
        points: the scale of the d columns of ``w x``.
        weight: the scale of ``w``.
    """

    points: FixedPoint
    weight: FixedPoint

    @property
    def limbs(self) -> int:
        """The number of limbs of both."""
        return self.points.limbs

    def tensor(self) -> tf.Tensor:
        """The scale for kernels: float64 [d + 2], the inverse units of both, and the ratio of
        limbs.

        It is one tensor because a call of a graph takes 10 us for each.
        """
        worth = np.concatenate([self.points.worth, self.weight.worth])
        return tf.constant([*(1 / worth), self.points.finer])


def sum_scale(
    largest: Float64, typical: Float64, weight_range: tuple[float, float], n: int
) -> SumScale:
    """Return the scale for n rows of positive weight.

    Args:
        largest: float64 [d], an upper bound of |x| for each column.
        typical: float64 [d], a value that most of the nonzero |x| exceed.
        weight_range: the smallest and the largest positive weight.
        n: the number of rows.
    """
    light, heavy = weight_range
    points = fixed_point(largest * heavy, n, resolution=_HALF_ULP * typical * light)
    weight = fixed_point([heavy], n, resolution=_HALF_ULP * light, limbs=points.limbs)
    if weight.limbs > points.limbs:
        points = points.with_limbs(weight.limbs)
    return SumScale(points, weight)


class ClusterSums(NamedTuple):
    """Sums of rows by cluster.

    Attributes:
        points: [k, d], the sums of the weighted points.
        weight: [k, 1], the sums of the weights.
    """

    points: FixedSum
    weight: FixedSum

    @classmethod
    def of(cls, limbs: Sequence[tf.Tensor], scale: SumScale) -> "ClusterSums":
        """Make sums from the results of a kernel."""
        return cls(*map(FixedSum, (each.numpy() for each in limbs), scale))

    def plus(self, other: "ClusterSums") -> "ClusterSums":
        """Return the sums of the rows of both."""
        return ClusterSums(self.points + other.points, self.weight + other.weight)

    def equals(self, other: "ClusterSums") -> bool:
        """Whether the sums are exactly equal."""
        pairs = zip(self, other, strict=True)
        return all(np.array_equal(one.limbs, another.limbs) for one, another in pairs)

    def total(self) -> "ClusterSums":
        """Return the sums over all clusters, with k = 1."""
        return ClusterSums(
            *(FixedSum(each.limbs.sum(axis=1, keepdims=True), each.scale) for each in self)
        )

    def minus(self, other: "ClusterSums") -> "ClusterSums":
        """Subtract the rows of the other, exactly."""
        return ClusterSums(self.points - other.points, self.weight - other.weight)


class SumMemory:
    """Memory for `sum_rows` of at most m rows, used again by each call.

    New memory of this size costs more time than the sums.

    Args:
        m: the most rows.
        d: the width of a row.
        scale: the scale of the sums.

    Attributes:
        points: float32 [m, d], for the rows.
        limbs: float64 [limbs, m, d].
        ordered: int64 [m, d].
    """

    def __init__(self, m: int, d: int, scale: SumScale) -> None:
        self.points = np.empty((m, d), np.float32)
        self.limbs = np.empty((scale.limbs, m, d))
        self.ordered = np.empty((m, d), np.int64)


def sum_rows(
    points: Float32,
    weight: Float32,
    clusters: Sequence[NDArray[np.integer]],
    k: int,
    scale: SumScale,
    memory: SumMemory | None = None,
) -> ClusterSums:
    """Return the sums of a few rows; kernels do the same for many rows.

    Args:
        points: [m, d], in the model's space.
        weight: [m].
        clusters: int [m]; for a move, also the previous clusters of the rows.
        k: the number of clusters.
        scale: the scale of all rows.
        memory: for at least m rows, or None for new memory.
    """
    wide, is_even = weight.astype(np.float64)[:, None], bool((weight == 1).all())
    if not (is_even and scale.points.ignores_subnormal()):
        points = without_subnormal(points)
    # A row of weight 0 may be infinite.
    weighted = points if is_even else np.where(wide > 0, points.astype(np.float64), 0) * wide
    even = _count(clusters, k, scale.weight) if is_even else None
    return ClusterSums(
        sum_by_cluster(weighted, clusters, k, scale.points, memory),
        even or sum_by_cluster(wide, clusters, k, scale.weight),
    )


def sum_by_cluster(
    values: Float32 | Float64,
    clusters: Sequence[NDArray[np.integer]],
    k: int,
    scale: FixedPoint,
    memory: SumMemory | None = None,
) -> FixedSum:
    """Return the sums [k, width] of values [m, width] by cluster, int [m]; minus those by a second
    one.
    """
    m, width = values.shape
    limbs = scale.integers(values, None if memory is None else memory.limbs[:, :m])
    ordered = None if memory is None else memory.ordered[:m]
    sums = np.zeros((len(clusters), scale.limbs, k, width), np.int64)
    for number, each in enumerate(clusters):
        # Sorted by cluster, which makes the sum four times as fast.
        order = None if (np.diff(each) >= 0).all() else order_by_cluster(each, k)
        by_cluster = each if order is None else each[order]
        starts = np.flatnonzero(np.diff(by_cluster, prepend=-1))
        for total, limb in zip(sums[number], limbs, strict=True):
            # A mode other than "raise" writes to the memory directly.
            rows = limb if order is None else np.take(limb, order, 0, out=ordered, mode="clip")
            total[by_cluster[starts]] = _sum_stretches(rows, starts)
    return FixedSum(sums[0] if len(sums) == 1 else sums[0] - sums[1], scale)


def _count(clusters: Sequence[NDArray[np.integer]], k: int, scale: FixedPoint) -> FixedSum:
    """`sum_by_cluster` of one column of ones."""
    counts = [np.bincount(each, minlength=k) for each in clusters]
    rows = counts[0] if len(counts) == 1 else counts[0] - counts[1]
    return FixedSum(scale.integers(np.ones((1, 1))) * rows[:, None], scale)


def order_by_cluster(clusters: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """Return the places of rows sorted by their clusters, int [m], in a stable order: int64 [m]."""
    order: NDArray[np.int64] = np.argsort(clusters.astype(np.min_scalar_type(k - 1)), kind="stable")
    return order


def _sum_stretches(rows: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums [stretches, width] of stretches of rows [m, width], given their starts."""
    if rows.shape[1] < _WIDE or len(rows) < _LONG * len(starts):
        return np.add.reduceat(rows, starts, axis=0)
    # On wide rows NumPy adds one stretch four times as fast as it adds many in one call.
    return np.stack([part.sum(axis=0) for part in np.split(rows, starts[1:])])


@synchronized_cache
def cluster_sums(
    m: int, d: int, k: int, limbs: int, *, is_move: bool = False, has_inverse: bool = False
) -> Callable[..., Any]:
    """Make the compiled kernel that sums at most m rows by cluster.

    Returns:
        A function of a window of m rows; weight float32 [m], 0 for absent rows; the scale,
        `SumScale.tensor`; and cluster int32 [m], where -1 excludes a row. It returns for each
        cluster int64 [limbs, k, d], the sum of its weighted points, and int64 [limbs, k, 1], its
        weight. With ``is_move`` it also takes the previous cluster int32 [m] of each row, and
        returns the changes of both. ``has_inverse``: see `Window.tile`. O(m d) time, O(tile d)
        memory.
    """
    numbers = d * max(_ROWS_FOR_EACH_CLUSTER * k, _ROWS_OF_TILE)
    numbers = min(max(numbers, _TILE_NUMBERS), _LARGEST_TILE)
    tile = power_of_two_rows(d, numbers, least=16, most=m)
    shapes = sums_shapes(d, k, limbs)

    def kernel(
        window: Window, weight: tf.Tensor, scale: tf.Tensor, *clusters: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        def sum_tile(i: tf.Tensor) -> Contribution:
            mass = tf.slice(weight, [i * tile], [tile])
            numbers = [tf.slice(cluster, [i * tile], [tile]) for cluster in clusters]
            points = window.tile(i, tile, has_inverse=has_inverse)
            return [], sums_by_cluster(points, mass, scale, limbs, numbers, k)

        tiles = (window.count + tile - 1) // tile
        zeros = [tf.zeros(shape, tf.int64) for shape in shapes]
        return tuple(loop_blocks(sum_tile, tiles, [], zeros)[1])

    signature = [
        window_spec(m, d),
        tf.TensorSpec([m], tf.float32),
        tf.TensorSpec([d + 2], tf.float64),
        *[tf.TensorSpec([m], tf.int32)] * (2 if is_move else 1),
    ]
    return trace(kernel, signature, is_compiled=True)


def sums_by_cluster(
    points: tf.Tensor,
    weight: tf.Tensor,
    scale: tf.Tensor,
    limbs: int,
    clusters: Sequence[tf.Tensor],
    k: int | tf.Tensor,
) -> list[tf.Tensor]:
    """`sum_rows` in a graph.

    Args:
        points: float32 [m, d], in the model's space.
        weight: float32 [m].
        scale: `SumScale.tensor`.
        limbs: the limbs of the scale.
        clusters: int32 [m], where -1 excludes a row; for a move, also the previous clusters.
        k: the number of clusters.

    Returns:
        int64 [limbs, k, d] and [limbs, k, 1].
    """
    wide = tf.cast(weight, tf.float64)[:, None]

    def sum_limb(limb: tf.Tensor) -> tf.Tensor:
        sums = [tf.math.unsorted_segment_sum(limb, cluster, k) for cluster in clusters]
        return sums[0] - sums[1] if len(sums) == 2 else sums[0]

    # Separate, because one table of d + 1 columns would take twice the time.
    finer = scale[-1]
    points = limb_tensors(without_subnormal_tensor(points), wide, scale[:-2], finer, limbs)
    mass = limb_tensors(tf.ones_like(weight)[:, None], wide, scale[-2], finer, limbs)
    return [tf.stack([sum_limb(limb) for limb in parts]) for parts in (points, mass)]


def sums_shapes(d: int, k: int, limbs: int) -> tuple[list[int], ...]:
    """The shapes of the results of the kernel."""
    return [limbs, k, d], [limbs, k, 1]
