"""Compiled kernel: assign a window of narrow rows to few clusters and sum it, in one go.

Lloyd 1982. Where k d is small a matrix product spends its time on packing. Here every centroid's
score ``|c|^2 / 2 - x.c`` is written out, and the compiler makes one loop over the rows of it, with
nothing held but the best so far. The sums are taken in the same block, in float64.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..aligned_window import Window, window_spec
from ..cluster_sums import partial_sums
from ..graphs import synchronized_cache, trace


@synchronized_cache
def assign_and_sum_unrolled(m: int, d: int, k: int) -> Callable[..., Any]:
    """The kernel for windows of m rows; compiled when it is first called.

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
