"""What rows add to the sums of their clusters, in int64 fixed point (`fixed_point`).

Integers add up in any order, so that a fit ends in the same bits for any number of cores, blocks
and machines, and what a row has added is taken back exactly when it leaves its cluster.

The scale. A sum has ``w x`` of each row, for each column, and ``w``. Their largest magnitudes are
known: of a column the largest |x|, and the largest weight. A centroid is the quotient of two sums.
Rounding moves the sum of a cluster of m rows by at most m / 2 times the worth of 1 in the last
limb, and its weight is at least m times the smallest weight: so the mean moves by at most that
worth over twice the smallest weight. There are as many limbs as keep this below half an ulp of
float32 at the typical |x| of the column, ``2^-25`` of it: one for most data, two where a row is far
out or weights differ much, more for weights that differ by more than 2^60. Typical is what 99 of
100 rows of a sample exceed, or where all of the sample are 0, the least of the others; a row amid
the column adds next to nothing, and is no measure.

A cluster with a positive weight is never empty by rounding: each weight is at least ``2^25`` times
the worth of 1 in the last limb.
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

#: Numbers of a tile: in float64 they should stay in a core's own cache. But for each tile the
#: kernel makes a table of all clusters and adds it to the sums, which should cost less than the
#: rows do: so a tile has rows for each cluster, and more in any case, up to the larger number.
_TILE_NUMBERS: Final = 2**14
_LARGEST_TILE: Final = 2**18
_ROWS_FOR_EACH_CLUSTER: Final = 4
_ROWS_OF_TILE: Final = 256

#: Half an ulp of float32.
_HALF_ULP: Final = 2.0**-25


class SumScale(NamedTuple):
    """How the sums of clusters are written, with equally many limbs for both.

    Attributes:
        points: of the d columns of ``w x``.
        weight: of ``w``.
    """

    points: FixedPoint
    weight: FixedPoint

    @property
    def limbs(self) -> int:
        """How many limbs both have."""
        return self.points.limbs

    def tensor(self) -> tf.Tensor:
        """What the kernels take: float64 [d + 2], the inverse worths of both, and how much finer.

        One tensor: a call of a graph takes 10 us for each.
        """
        worth = np.concatenate([self.points.worth, self.weight.worth])
        return tf.constant([*(1 / worth), self.points.finer])


def sum_scale(
    largest: Float64, typical: Float64, weight_range: tuple[float, float], n: int
) -> SumScale:
    """The scale for n rows of positive weight.

    Args:
        largest: float64 [d], at least every |x| of the column.
        typical: float64 [d], what most of the |x| that are not 0 exceed.
        weight_range: the smallest and the largest of the positive weights.
        n: how many rows there are.
    """
    light, heavy = weight_range
    points = fixed_point(largest * heavy, n, resolution=_HALF_ULP * typical * light)
    weight = fixed_point([heavy], n, resolution=_HALF_ULP * light, limbs=points.limbs)
    if weight.limbs > points.limbs:
        points = points.with_limbs(weight.limbs)
    return SumScale(points, weight)


class ClusterSums(NamedTuple):
    """What rows add to their clusters.

    Attributes:
        points: [k, d], of the weighted points.
        weight: [k, 1], of the weights.
    """

    points: FixedSum
    weight: FixedSum

    @classmethod
    def of(cls, limbs: Sequence[tf.Tensor], scale: SumScale) -> "ClusterSums":
        """What a kernel gives."""
        return cls(*map(FixedSum, (each.numpy() for each in limbs), scale))

    def plus(self, other: "ClusterSums") -> "ClusterSums":
        """The sums of the rows of both."""
        return ClusterSums(self.points + other.points, self.weight + other.weight)

    def equals(self, other: "ClusterSums") -> bool:
        """Whether the sums are the same, exactly."""
        pairs = zip(self, other, strict=True)
        return all(np.array_equal(one.limbs, another.limbs) for one, another in pairs)

    def total(self) -> "ClusterSums":
        """The sums of all clusters together: k is 1."""
        return ClusterSums(
            *(FixedSum(each.limbs.sum(axis=1, keepdims=True), each.scale) for each in self)
        )

    def minus(self, other: "ClusterSums") -> "ClusterSums":
        """The sums without the rows of the other, exactly."""
        return ClusterSums(self.points - other.points, self.weight - other.weight)


def sum_rows(
    points: Float32,
    weight: Float32,
    clusters: Sequence[NDArray[np.integer]],
    k: int,
    scale: SumScale,
) -> ClusterSums:
    """The sums of a few rows, what the kernels give of many.

    Args:
        points: [m, d], in the model's space.
        weight: [m].
        clusters: int [m]; and if it is a move, the clusters that the rows have left.
        k: how many clusters there are.
        scale: that of all rows.
    """
    wide = weight.astype(np.float64)[:, None]
    weighted = without_subnormal(points).astype(np.float64)
    if not (weight == 1).all():
        # A row of weight 0 may be infinitely far away.
        weighted = np.where(wide > 0, weighted, 0) * wide
    return ClusterSums(
        sum_by_cluster(weighted, clusters, k, scale.points),
        sum_by_cluster(wide, clusters, k, scale.weight),
    )


def sum_by_cluster(
    values: Float64, clusters: Sequence[NDArray[np.integer]], k: int, scale: FixedPoint
) -> FixedSum:
    """The sums [k, width] of values [m, width] by cluster, int [m]; less those of a second one."""
    limbs = scale.integers(values)
    sums = np.zeros((len(clusters), scale.limbs, k, values.shape[1]), np.int64)
    for number, each in enumerate(clusters):
        # A cluster's rows side by side: so they are added up in a quarter of the time.
        order = np.argsort(each.astype(np.min_scalar_type(k - 1)), kind="stable")
        ordered = each[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        for total, limb in zip(sums[number], limbs, strict=True):
            rows = np.take(limb, order, axis=0)
            total[ordered[starts]] = np.add.reduceat(rows, starts, axis=0)
    return FixedSum(sums[0] if len(sums) == 1 else sums[0] - sums[1], scale)


@synchronized_cache
def cluster_sums(
    m: int, d: int, k: int, limbs: int, *, is_move: bool = False, has_inverse: bool = False
) -> Callable[..., Any]:
    """The compiled kernel that sums at most m rows by cluster.

    Returns:
        A function from a window of m rows; weight float32 [m], 0 where there is no row; the scale,
        `SumScale.tensor`; cluster int32 [m], of which a row with -1 is left out. It gives of each
        cluster int64 [limbs, k, d], the sum of its weighted points, and int64 [limbs, k, 1], its
        weight. With ``is_move`` it takes a cluster int32 [m] that each row has left, too, and gives
        the changes of both. ``has_inverse`` is as in `Window.tile`. O(m d) time, O(tile d) memory.
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
        limbs: those of the scale.
        clusters: int32 [m], of which a row with -1 is left out; and if it is a move, the cluster
            that each row has left.
        k: how many clusters there are.

    Returns:
        int64 [limbs, k, d] and [limbs, k, 1].
    """
    wide = tf.cast(weight, tf.float64)[:, None]

    def sum_limb(limb: tf.Tensor) -> tf.Tensor:
        sums = [tf.math.unsorted_segment_sum(limb, cluster, k) for cluster in clusters]
        return sums[0] - sums[1] if len(sums) == 2 else sums[0]

    # Apart: joined into one table of d + 1 columns they would cost twice as much.
    finer = scale[-1]
    points = limb_tensors(without_subnormal_tensor(points), wide, scale[:-2], finer, limbs)
    mass = limb_tensors(tf.ones_like(weight)[:, None], wide, scale[-2], finer, limbs)
    return [tf.stack([sum_limb(limb) for limb in parts]) for parts in (points, mass)]


def sums_shapes(d: int, k: int, limbs: int) -> tuple[list[int], ...]:
    """The shapes of what the kernel gives."""
    return [limbs, k, d], [limbs, k, 1]
