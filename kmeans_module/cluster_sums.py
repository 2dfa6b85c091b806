"""Compiled kernel: what a window of rows adds to the sums of its clusters."""

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from .aligned_window import Window, window_spec
from .blocks import Contribution, loop_blocks, power_of_two_rows
from .graphs import synchronized_cache, trace

#: Numbers of a tile: in float64 they should stay in a core's own cache.
_TILE_NUMBERS: Final = 2**14


@synchronized_cache
def cluster_sums(m: int, d: int, k: int, *, is_move: bool = False) -> Callable[..., Any]:
    """The kernel that sums at most m rows by cluster, in float64.

    float32 would lose the digits of a tight cluster of many points.

    Returns:
        A function from a window of m rows; weight float32 [m], 0 where there is no row;
        cluster int32 [m]. It gives of each cluster float64 [k, d], the sum of
        its weighted points, and float64 [k, 2], its weight and how many of its rows have a
        positive weight; and float64 numbers whose sum is the weighted sum of the squared norms.
        With ``is_move`` it takes a cluster int32 [m] that each row has left, too, and gives the
        changes of the first two alone.
        O(m d) time, O(tile d) memory.
    """
    tile = _tile_rows(m, d)
    shapes = sums_shapes(m, d, k)[: 2 if is_move else 3]

    def kernel(window: Window, weight: tf.Tensor, *clusters: tf.Tensor) -> tuple[tf.Tensor, ...]:
        def sum_tile(i: tf.Tensor) -> Contribution:
            wide = tf.cast(tf.slice(weight, [i * tile], [tile]), tf.float64)[:, None]
            points = tf.cast(window.tile(i, tile), tf.float64)
            # A product with the weight 0 is 0, also where the row's square overflows.
            weighted = tf.math.multiply_no_nan(points, wide)
            member = tf.cast(wide > 0, tf.float64)
            mass = tf.concat([wide, member], 1)
            numbers = [tf.slice(cluster, [i * tile], [tile]) for cluster in clusters]
            # Apart: joined into one table of d + 2 columns they would cost twice as much.
            sums = [tf.math.unsorted_segment_sum(weighted, number, k) for number in numbers]
            counts = [tf.math.unsorted_segment_sum(mass, number, k) for number in numbers]
            if is_move:
                return [], [sums[0] - sums[1], counts[0] - counts[1]]
            squares = partial_sums(tf.math.multiply_no_nan(tf.square(points), wide))
            return [], [sums[0], counts[0], squares]

        tiles = (window.count + tile - 1) // tile
        zeros = [tf.zeros(shape, tf.float64) for shape in shapes]
        return tuple(loop_blocks(sum_tile, tiles, [], zeros)[1])

    signature = [
        window_spec(m, d),
        tf.TensorSpec([m], tf.float32),
        *[tf.TensorSpec([m], tf.int32)] * (2 if is_move else 1),
    ]
    return trace(kernel, signature, is_compiled=True)


def sums_shapes(m: int, d: int, k: int) -> tuple[list[int], ...]:
    """The shapes of what the kernel gives."""
    return [k, d], [k, 2], [partial_sums_size(_tile_rows(m, d), d)]


def partial_sums(numbers: tf.Tensor) -> tf.Tensor:
    """Sums float64 [`partial_sums_size`] whose sum is that of float64 [m, d], m a power of two.

    In one sum, each addition would wait for the one before: that took as long as all the rest.
    """
    return tf.reduce_sum(tf.reshape(numbers, [-1, partial_sums_size(*numbers.shape)]), 0)


def partial_sums_size(m: int, d: int) -> int:
    """How many numbers lie side by side: whole rows, enough to fill vector registers."""
    return power_of_two_rows(d, 128, least=1, most=m) * d


def _tile_rows(m: int, d: int) -> int:
    return power_of_two_rows(d, _TILE_NUMBERS, least=16, most=m)
