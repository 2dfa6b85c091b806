"""Compiled kernel: assign a block of narrow rows to few clusters and sum it, in one go.

Lloyd 1982. Where k d is small a matrix product spends its time on packing. Here every centroid's
score ``|c|^2 / 2 - x.c`` is written out, and the compiler makes one loop over the rows of it, with
nothing held but the best so far. The sums of each cluster are masked sums in float64, also along
the rows.
"""

from collections.abc import Callable
from functools import cache, reduce
from typing import Any

import tensorflow as tf

#: Partial sums that run beside each other, so that vector registers are used.
_LANES = 128


@cache
def nearest_of_few(m: int, d: int, k: int) -> Callable[..., Any]:
    """The kernel for blocks of one shape, m a multiple of 128; compiled when it is first called.

    Returns:
        A function from rows float32 [m, d], raw; weight float32 [m]; shift and scale float32 [d];
        centroids float32 [k, d], in the model's space. It gives the index int32 [m] of the nearest
        centroid, of equally near ones the lowest; float64 [k, d], the sums of the weighted points
        of each cluster; float64 [k], its weight; and float64 [], the weighted sum of the squared
        norms. O(m k d) time, O(m d) memory. Compiling takes time in proportion to k d too.
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
            score = reduce(
                lambda left, j, c=number: left - columns[j] * centroids[c, j],
                range(d),
                half_norm[number],
            )
            if best is None:
                best = score
            else:
                nearer = score < best
                best = tf.where(nearer, score, best)
                index = tf.where(nearer, number, index)

        def lanes(values: tf.Tensor) -> tf.Tensor:
            return tf.reshape(values, [m // _LANES, _LANES])

        cluster = lanes(index)
        mass = lanes(tf.cast(weight, tf.float64))
        # A product with the weight 0 is 0, also where the row's square overflows.
        weighted = [
            tf.math.multiply_no_nan(tf.cast(lanes(column), tf.float64), mass) for column in columns
        ]
        square = reduce(
            tf.add,
            [
                tf.math.multiply_no_nan(tf.cast(lanes(column), tf.float64), part)
                for column, part in zip(columns, weighted, strict=True)
            ],
        )
        sums = [
            tf.reduce_sum(tf.reduce_sum(tf.where(cluster == number, part, 0.0), 0))
            for number in range(k)
            for part in [*weighted, mass]
        ]
        table = tf.reshape(tf.stack(sums), [k, d + 1])
        return index, table[:, :d], table[:, d], tf.reduce_sum(tf.reduce_sum(square, 0))

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
