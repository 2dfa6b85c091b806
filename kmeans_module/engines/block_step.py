"""The step of a block of rows without any state before or after it.

The kernels are those of the engines in memory. The norms, which these engines keep, and the sums of
all rows are computed again in the same graph.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ..aligned_window import Window, has_inverse, read_window, window_spec
from ..array_types import Float32
from ..blocks import Contribution, kernel_rows, loop_padded_blocks, pad_rows
from ..cluster_sums import cluster_sums, sums_shapes
from ..graphs import FLOATS, TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf
from ..rows import ROWS_SPEC, Rows, RowTensors, as_numpy
from ..source_rows import SourceRows
from ..weighted_rows import SAMPLE_NORMS
from .engine import StepSums
from .matmul import MatmulShard, search_by_matmul
from .score_rounding import has_far_centroid
from .sharded import Shard
from .unrolled import UnrolledShard, assign_and_sum

#: From a window, its weights, norms, their sample, the scale and the centroids to the clusters and
#: the sums of the rows.
_Kernel = Callable[..., tuple[tf.Tensor, ...]]

_SMALLEST: Final = 2.0**-126


class BlockShard(Shard):
    """Compute the step of one block after another.

    Args:
        rows: all rows.
        n_clusters: k.
    """

    def __init__(self, rows: SourceRows, n_clusters: int) -> None:
        self.scale, self.squares = rows.scale, rows.squares
        self._totals, self._start = rows, 0
        self._scale_tensor = rows.scale.tensor()
        self._shape = rows.source.shape[1], n_clusters
        self._is_weighted, self._ones = rows.source.is_weighted, tf.ones(0)

    def hold(self, points: Rows, weight: Float32) -> None:
        """Replace the block: points [m, d], and weight float32 [m]."""
        self._points, self._weight = points, self._as_tensor(weight)
        self._centroids = np.empty((0, 0), np.float32)

    def _as_tensor(self, weight: Float32) -> tf.Tensor:
        if self._is_weighted:
            return tf.constant(weight)
        if len(self._ones) != len(weight):
            self._ones = tf.ones(len(weight))
        return self._ones

    def _assign(self, centroids: Float32) -> StepSums:
        index, *limbs = self._step_graph(centroids)(
            self._points.tensors, self._weight, self._scale_tensor, tf.constant(centroids)
        )
        undecided, decided, sums = self._decide(index, limbs, centroids)
        self._assignments = as_numpy(index)
        if len(undecided):
            self._assignments = self._assignments.copy()
            self._assignments[undecided] = decided
        return StepSums(sums, has_changed=True)

    def _step_graph(self, centroids: Float32) -> Callable[..., Any]:
        raise NotImplementedError


class MatmulBlock(BlockShard):
    """Compute by a matrix product, like `MatmulShard`."""

    def _step_graph(self, centroids: Float32) -> Callable[..., Any]:
        return _matmul_graph(
            *self._shape,
            self.scale.limbs,
            has_far=has_far_centroid(centroids),
            has_inverse=has_inverse(self._points.scale),
        )


class UnrolledBlock(BlockShard):
    """Compute by unrolled code, like `UnrolledShard`."""

    def _step_graph(self, centroids: Float32) -> Callable[..., Any]:
        return _unrolled_graph(*self._shape, self.scale.limbs)


#: The class for blocks of each engine for rows in memory.
BLOCK_SHARDS: Final[dict[object, type[BlockShard]]] = {
    MatmulShard: MatmulBlock,
    UnrolledShard: UnrolledBlock,
}


@synchronized_cache
def _matmul_graph(
    d: int, k: int, limbs: int, *, has_far: bool, has_inverse: bool
) -> Callable[..., Any]:
    m = kernel_rows(d)
    search = search_by_matmul(m, d, k, with_bounds=False, has_far=has_far)
    sum_clusters = cluster_sums(m, d, k, limbs, has_inverse=has_inverse)

    def kernel(
        window: Window,
        weight: tf.Tensor,
        norms: tf.Tensor,
        sample: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        (index,) = search(window, centroids, norms, sample)
        return index, *sum_clusters(window, weight, scale, index)

    return _trace_step(kernel, m, d, k, limbs)


@synchronized_cache
def _unrolled_graph(d: int, k: int, limbs: int) -> Callable[..., Any]:
    m = kernel_rows(d)
    return _trace_step(assign_and_sum(m, d, k, limbs), m, d, k, limbs)


def _trace_step(kernel: _Kernel, m: int, d: int, k: int, limbs: int) -> Callable[..., Any]:
    """The graph of a step.

    Returns:
        A function from points; weight float32 [n]; the scale; centroids float32 [k, d]. It gives
        the index int32 [n] of the nearest centroid, -1 where it is undecided; and of the decided
        rows the sums int64 [limbs, k, d] and [limbs, k, 1].
    """
    norms_of = row_norms(m, d)

    def step(
        points: RowTensors, weight: tf.Tensor, scale: tf.Tensor, centroids: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        n = tf.size(weight)
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            first, last = i * m, tf.minimum((i + 1) * m, n)
            window = read_window(points, first, last, m, d)
            mass = pad_rows(weight[first:last], m)
            index, *sums = kernel(window, mass, *norms_of(window), scale, centroids)
            return [index], sums

        shapes = sums_shapes(d, k, limbs)
        (index,), totals = loop_padded_blocks(block, n, m, [tf.int32], shapes)
        return index, *totals

    return trace(step, [ROWS_SPEC, FLOATS, tf.TensorSpec([d + 2], tf.float64), TABLE])


@synchronized_cache
def row_norms(m: int, d: int) -> Callable[..., Any]:
    """Make the compiled kernel of upper bounds of the norms of m rows: float32 [m]; and a sample of
    them.

    A sum of d squares in float32 has a relative error of at most (d + 1) 2^-24, plus 2^-126 for
    each square that is too small.
    """

    def kernel(window: Window) -> tuple[tf.Tensor, tf.Tensor]:
        squared = tf.reduce_sum(tf.square(window.tile(tf.constant(0), m)), 1)
        norms = tf.sqrt((squared + d * _SMALLEST) * (1 + (d + 4) * 2.0**-23))
        # A window has at most 2^16 rows, and those beyond its own are undefined.
        places = tf.range(SAMPLE_NORMS) * window.count // SAMPLE_NORMS
        return norms, tf.gather(norms, places)

    return trace(kernel, [window_spec(m, d)], is_compiled=True)
