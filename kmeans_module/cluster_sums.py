"""Compiled kernel: what a block of rows adds to the sums of its clusters."""

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
        cluster int32 [m]. It gives of each cluster float64 [k, d], the sum of its weighted points,
        and float64 [k, 2], its weight and how many of its rows have a positive weight.
        O(m d) time and memory.
    """

    def kernel(
        rows: tf.Tensor,
        weight: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
        cluster: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        wide = tf.cast(weight, tf.float64)[:, None]
        # A product with the weight 0 is 0, also where the row's square overflows.
        weighted = tf.math.multiply_no_nan(tf.cast((rows - shift) / scale, tf.float64), wide)
        member = tf.cast(wide > 0, tf.float64)
        # Apart: joined into one table of d + 2 columns they would cost twice as much.
        return (
            tf.math.unsorted_segment_sum(weighted, cluster, k),
            tf.math.unsorted_segment_sum(tf.concat([wide, member], 1), cluster, k),
        )

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
