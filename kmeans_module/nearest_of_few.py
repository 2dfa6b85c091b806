"""Compiled kernel: assign a block of narrow rows to few clusters and sum it, in one go.

Lloyd 1982. Where k d is small a matrix product spends its time on packing. Here every centroid's
score ``|c|^2 / 2 - x.c`` is written out, and the compiler makes one loop over the rows of it, with
nothing held but the best so far. The sums are taken in the same block, in
float64.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf


@cache
def nearest_of_few(m: int, d: int, k: int) -> Callable[..., Any]:
    """The kernel for blocks of one shape; compiled when it is first called.

    Returns:
        A function from rows float32 [m, d], raw; weight float32 [m]; shift and scale float32 [d];
        centroids float32 [k, d], in the model's space. It gives the index int32 [m] of the nearest
        centroid, of equally near ones the lowest; float64 [k, d], the sums of the weighted points
        of each cluster; and float64 [k], its weight. O(m k d) time, O(m d) memory. Compiling
        takes time in proportion to k d too.
    """

    def kernel(
        rows: tf.Tensor,
        weight: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        points = (rows - shift) / scale
        columns = [points[:, j] for j in range(d)]
        half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
        best, index = None, tf.zeros([m], tf.int32)
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

        mass = tf.cast(weight, tf.float64)
        # A product with the weight 0 is 0, also where the row's square overflows.
        wide = tf.cast(points, tf.float64)
        weighted = tf.math.multiply_no_nan(wide, mass[:, None])
        table = tf.math.unsorted_segment_sum(tf.concat([weighted, mass[:, None]], 1), index, k)
        return index, table[:, :d], table[:, d]

    vector = tf.TensorSpec([d], tf.float32)
    return tf.function(  # type: ignore[no-any-return]  # TensorFlow is untyped
        kernel,
        [
            tf.TensorSpec([m, d], tf.float32),
            tf.TensorSpec([m], tf.float32),
            vector,
            vector,
            tf.TensorSpec([k, d], tf.float32),
        ],
        autograph=False,
        jit_compile=True,
    )
