"""Lloyd steps for narrow rows and few clusters: the engine ``unrolled``.

Where k d is small a matrix product spends its time on packing. Here every centroid's score
``|c|^2 / 2 - x.c`` (Lloyd 1982) is written out, and the compiler makes one loop over the rows of
it, with nothing held but the best so far. The sums are taken in the same block, in float64.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..aligned_window import Window, read_window, window_spec
from ..blocks import Contribution, kernel_rows, loop_padded_blocks, pad_rows
from ..cluster_sums import partial_sums, partial_sums_size
from ..graphs import FLOATS, INT, INTS, TABLE, synchronized_cache, trace
from ..rows import ROWS_SPEC, RowTensors
from .engine import StepSums
from .sharded import Shard


class UnrolledShard(Shard):
    """Every distance and every sum in every step. k d is small."""

    def _assign(self, centroids: tf.Tensor) -> StepSums:
        start = tf.constant(self._start)
        self._assignments, sums, counts, squares, has_changed = _step_graph(*self._shape)(
            self._points.tensors, self._weight, self._assignments, centroids, start
        )
        squares = float(squares.numpy().sum())
        return StepSums(sums.numpy(), counts.numpy(), squares, bool(has_changed))


@synchronized_cache
def _step_graph(d: int, k: int) -> Any:
    m = kernel_rows(d)
    kernel = _assign_and_sum(m, d, k)

    def step(
        points: RowTensors,
        weight: tf.Tensor,
        before: tf.Tensor,
        centroids: tf.Tensor,
        start: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        n = tf.size(weight)
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            first, last = i * m, tf.minimum((i + 1) * m, n)
            index, *sums = kernel(
                read_window(points, start + first, start + last, m, d),
                pad_rows(weight[first:last], m),
                centroids,
            )
            return [index], sums

        shapes = [[k, d], [k], [partial_sums_size(m, d)]]
        (index,), totals = loop_padded_blocks(block, n, m, [tf.int32], shapes)
        return (index, *totals, tf.reduce_any(index != before))

    return trace(step, [ROWS_SPEC, FLOATS, INTS, TABLE, INT])


@synchronized_cache
def _assign_and_sum(m: int, d: int, k: int) -> Callable[..., Any]:
    """The compiled kernel for windows of m rows.

    Returns:
        A function from a window of m rows; weight float32 [m], 0 where there is no row;
        centroids float32 [k, d], in the model's space. It gives the index
        int32 [m] of the nearest centroid, of equally near ones the lowest; float64 [k, d], the
        sums of the weighted points of each cluster; float64 [k], its weight; and float64 numbers
        (`partial_sums`) whose sum is the weighted sum of the squared norms. O(m k d) time,
        O(m d) memory. Compiling takes time in proportion to k d too.
    """

    def kernel(window: Window, weight: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, ...]:
        points = window.tile(tf.constant(0), m)
        index = _nearest(points, centroids)
        mass = tf.cast(weight, tf.float64)[:, None]
        # A product with the weight 0 is 0, also where the row's square overflows.
        wide = tf.cast(points, tf.float64)
        weighted = tf.math.multiply_no_nan(wide, mass)
        # Where the width is odd, each sum waits for the one before: it took 5 ns a row, not 3.
        table = tf.concat([weighted, mass, mass][: 3 - d % 2], 1)
        table = tf.math.unsorted_segment_sum(table, index, k)
        square = partial_sums(tf.math.multiply_no_nan(tf.square(wide), mass))
        return index, table[:, :d], table[:, d], square

    signature = [
        window_spec(m, d),
        tf.TensorSpec([m], tf.float32),
        tf.TensorSpec([k, d], tf.float32),
    ]
    return trace(kernel, signature, is_compiled=True)


def _nearest(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The nearest centroid of each of the points: int32 [m]."""
    k, d = centroids.shape
    columns = [points[:, j] for j in range(d)]
    half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
    best, index = None, tf.zeros([points.shape[0]], tf.int32)
    for number in range(k):
        score = half_norm[number]
        for j in range(d):
            score -= columns[j] * centroids[number, j]
        if best is None:
            best = score
        else:
            nearer = score < best
            best = tf.where(nearer, score, best)
            index = tf.where(nearer, number, index)
    return index
