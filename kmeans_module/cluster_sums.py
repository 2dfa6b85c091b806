"""Compiled kernels: what a block of rows adds to its clusters, and how far it is from them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import tensorflow as tf


@cache
def cluster_sums(m: int, d: int, k: int) -> Callable[..., Any]:
    """The kernel that sums m rows by cluster, in float64.

    float32 would lose the digits of a tight cluster of many points.

    Returns:
        A function from rows float32 [m, d], raw; weight float32 [m]; shift and scale float32 [d];
        cluster int32 [m]. It gives float64 [k, d + 2], of each cluster: the sum of its weighted
        points, its weight, and how many of its rows have a positive weight; and float64 [], the
        weighted sum of the squared norms. O(m d) time and memory.
    """

    def kernel(
        rows: tf.Tensor,
        weight: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
        cluster: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        points = tf.cast((rows - shift) / scale, tf.float64)
        wide = tf.cast(weight, tf.float64)[:, None]
        # A product with the weight 0 is 0, also where the row's square overflows.
        weighted = tf.math.multiply_no_nan(points, wide)
        member = tf.cast(wide > 0, tf.float64)
        sums = tf.math.unsorted_segment_sum(tf.concat([weighted, wide, member], 1), cluster, k)
        return sums, tf.reduce_sum(tf.math.multiply_no_nan(points, weighted))

    vector = tf.TensorSpec([d], tf.float32)
    return tf.function(  # type: ignore[no-any-return]  # TensorFlow is untyped
        kernel,
        [
            tf.TensorSpec([m, d], tf.float32),
            tf.TensorSpec([m], tf.float32),
            vector,
            vector,
            tf.TensorSpec([m], tf.int32),
        ],
        autograph=False,
        jit_compile=True,
    )
