"""Compiled kernel: the nearest centroid of a block of rows, by one matrix product.

Lloyd 1982 in the expanded form, ``|x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x.c)``: the bracket, here the
score, is a product of ``[-c, |c|^2 / 2]`` with ``[x, 1]``, so that the norm costs no pass of its
own. The scores lie as [k, m]: a minimum over their first dimension runs along the rows in vector
registers, where ``argmin`` over the last does not.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf

from .hamerly_bounds import bounds_of_scores


@cache
def nearest_by_product(m: int, d: int, k: int, *, width: int, bounded: bool) -> Callable[..., Any]:
    """The kernel for blocks of one shape; compiled when it is first called.

    Returns:
        A function from lines float32 [m, width] with the raw rows [m, d] in them from column
        ``at``, int32 []; shift and scale float32 [d]; centroids float32 [k, d], in the model's
        space; and with ``bounded`` the rows' squared norms float32 [m]. It gives the index
        int32 [m] of the nearest centroid, of equally near ones the lowest. With ``bounded`` also
        float32 [m] each: at least the distance to it, and at most the distance to any other.
        O(m k d) time, a temporary of [k, m].
    """

    def kernel(
        lines: tf.Tensor,
        at: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
        *square: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        points = (tf.slice(lines, [0, at], [m, d]) - shift) / scale
        half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1, keepdims=True)
        scores = tf.matmul(
            tf.concat([-centroids, half_norm], 1),
            tf.concat([points, tf.ones([m, 1])], 1),
            transpose_b=True,
        )
        least = tf.reduce_min(scores, 0)
        number = tf.range(k)[:, None]
        index = tf.reduce_min(tf.where(scores == least, number, k), 0)
        # A row whose square overflows (of weight 0) has NaN for a score: any index will do.
        index = tf.minimum(index, k - 1)
        if not bounded:
            return (index,)
        second = tf.reduce_min(tf.where(number == index, float("inf"), scores), 0)
        return (index, *bounds_of_scores(*square, centroids, least, second))

    vector = tf.TensorSpec([d], tf.float32)
    signature = [
        tf.TensorSpec([m, width], tf.float32),
        tf.TensorSpec([], tf.int32),
        vector,
        vector,
        tf.TensorSpec([k, d], tf.float32),
        *[tf.TensorSpec([m], tf.float32)] * bounded,
    ]
    return tf.function(kernel, signature, autograph=False, jit_compile=True)  # type: ignore[no-any-return]
