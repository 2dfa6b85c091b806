"""Compiled kernel: the nearest centroid of a block of rows, by one matrix product.

Lloyd 1982 in the expanded form, ``|x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x.c)``: the bracket, here the
score, is a product of ``[-c, |c|^2 / 2]`` with ``[x, 1]``, so that the norm costs no pass of its
own. The scores lie as [k, rows]: a minimum over their first dimension runs along the rows in
vector registers, where ``argmin`` over the last does not. The block is worked on in tiles whose
scores stay in a core's own cache while they are read again.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ..aligned_window import Window, window_spec
from ..blocks import Contribution, over_blocks, power_of_two_rows
from ..graphs import synchronized_cache, trace
from .hamerly_bounds import bounds_of_scores


@synchronized_cache
def search_by_matmul(m: int, d: int, k: int, *, with_bounds: bool) -> Callable[..., Any]:
    """The kernel for blocks of one shape; compiled when it is first called.

    Returns:
        A function from a window of m rows; centroids float32 [k, d], in the model's space; and with
        ``with_bounds`` the rows' squared norms float32 [m]. It gives the index int32 [m] of the
        nearest centroid, of equally near ones the lowest. With ``with_bounds`` also float32 [m]
        each: at least the distance to it, and at most the distance to any other. Beyond the
        window's rows they are undefined. O(m k d) time, a temporary of [k, tile].
    """

    def kernel(window: Window, centroids: tf.Tensor, *square: tf.Tensor) -> tuple[tf.Tensor, ...]:
        half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1, keepdims=True)
        weights = tf.concat([-centroids, half_norm], 1)

        def search_tile(i: tf.Tensor) -> Contribution:
            points = tf.concat([window.tile(i, tile), tf.ones([tile, 1])], 1)
            index, least, second = _least_two(tf.matmul(weights, points, transpose_b=True))
            results = [index]
            if with_bounds:
                norms = tf.slice(square[0], [i * tile], [tile])
                results += bounds_of_scores(norms, centroids, least, second)
            return results, []

        dtypes = [tf.int32, tf.float32, tf.float32][: 3 if with_bounds else 1]
        parts = [tf.TensorArray(dtype, m // tile, element_shape=[tile]) for dtype in dtypes]
        parts, _ = over_blocks(search_tile, (window.count + tile - 1) // tile, parts, [])
        return tuple(tf.reshape(part.stack(), [m]) for part in parts)

    tile = _tile_rows(m, d, k)
    signature = [
        window_spec(m, d),
        tf.TensorSpec([k, d], tf.float32),
        *[tf.TensorSpec([m], tf.float32)] * with_bounds,
    ]
    return trace(kernel, signature, is_compiled=True)


def _least_two(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each column of [k, m]: the place of the least, the lowest of equal ones; it; the next."""
    k = scores.shape[0]
    least = tf.reduce_min(scores, 0)
    number = tf.range(k)[:, None]
    index = tf.reduce_min(tf.where(scores == least, number, k), 0)
    # A row whose square overflows (of weight 0) has NaN for a score: any index will do.
    index = tf.minimum(index, k - 1)
    second = tf.reduce_min(tf.where(number == index, float("inf"), scores), 0)
    return index, least, second


def _tile_rows(m: int, d: int, k: int) -> int:
    """Rows of a tile, a power of two: its scores, and its points, should be 128 KiB or so."""
    return power_of_two_rows(max(k, d), 2**15, least=64, most=min(m, 512))
