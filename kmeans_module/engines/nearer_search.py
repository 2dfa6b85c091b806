"""Compiled kernel: which rows may be nearer to one of some centroids than to their own."""

from collections.abc import Callable
from typing import Any

from ..aligned_window import Window, window_spec
from ..blocks import Contribution, loop_blocks, power_of_two_rows
from ..graphs import synchronized_cache, trace
from ..quiet_tensorflow import tf
from .hamerly_bounds import upper_of_score
from .score_rounding import SAMPLE_SPEC, score_errors


def tile_rows(m: int, d: int) -> int:
    """Rows of a tile of m rows of d numbers, whose points and scores should be 128 KiB or so."""
    return min(power_of_two_rows(max(d, 64), 2**15, least=64, most=256), m)


@synchronized_cache
def nearer_search(m: int, d: int, k: int, chunk: int) -> Callable[..., Any]:
    """The kernel that compares m rows with the first of k centroids.

    Returns:
        A function from a window of m rows; the centroid of each, float32 [m d], and its place among
        the centroids, int32 [m]; how many chunks of so many centroids each tile of the rows is
        compared with, int32 [m / tile]; the rows' norms float32 [m]; `sample_norms`; the centroids
        float32 [k, d]. It gives bool [m]: whether all of these but its own are farther from the
        row, by more than rounding (`score_rounding`); and at least the distance to its own, float32
        [m].
        O(m chunks d) time, a temporary of [chunk, tile].
    """
    tile = tile_rows(m, d)
    missing = -k % chunk

    def kernel(
        window: Window,
        own: tf.Tensor,
        place: tf.Tensor,
        most: tf.Tensor,
        norms: tf.Tensor,
        sample: tf.Tensor,
        centroids: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        squares = tf.reduce_sum(tf.square(centroids), 1)
        errors, spreads = score_errors(norms, centroids, d, sample)
        highest = tf.gather(0.5 * (squares + spreads), place)
        # Lowered by half of their errors; and none beyond the last is near.
        lowest = tf.pad(0.5 * (squares - spreads), [[0, missing]], constant_values=float("inf"))
        padded = tf.pad(centroids, [[0, missing], [0, 0]])
        weights = tf.concat([-padded, lowest[:, None]], 1)

        def search_tile(i: tf.Tensor) -> Contribution:
            points = window.tile_by_product(i, tile)
            mine = tf.reshape(tf.slice(own, [i * tile * d], [tile * d]), [tile, d])
            error, norm, high, position = (
                tf.slice(each, [i * tile], [tile]) for each in (errors, norms, highest, place)
            )
            score = high - tf.reduce_sum(points * mine, 1)
            limit = score + error
            columns = tf.concat([points, tf.ones([tile, 1])], 1)

            def count_chunk(j: tf.Tensor) -> Contribution:
                part = tf.slice(weights, [j * chunk, 0], [chunk, d + 1])
                scores = tf.matmul(part, columns, transpose_b=True)
                return [], [tf.reduce_sum(tf.cast(scores <= limit, tf.float32), 0)]

            _, (count,) = loop_blocks(count_chunk, most[i], [], [tf.zeros([tile])])
            expected = tf.cast(position < most[i] * chunk, tf.float32)
            return [count <= expected, upper_of_score(norm, error, score)], []

        parts = [tf.TensorArray(t, m // tile, element_shape=[tile]) for t in (tf.bool, tf.float32)]
        parts, _ = loop_blocks(search_tile, (window.count + tile - 1) // tile, parts, [])
        return tuple(tf.reshape(part.stack(), [m]) for part in parts)

    column = tf.TensorSpec([m], tf.float32)
    signature = [
        window_spec(m, d),
        tf.TensorSpec([m * d], tf.float32),
        tf.TensorSpec([m], tf.int32),
        tf.TensorSpec([m // tile], tf.int32),
        column,
        SAMPLE_SPEC,
        tf.TensorSpec([k, d], tf.float32),
    ]
    return trace(kernel, signature, is_compiled=True)
