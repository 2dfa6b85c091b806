"""Compiled kernel: what a window of rows adds to the sums of its clusters."""

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from .aligned_window import Window, window_spec
from .cores import built_once
from .padded_blocks import traced

#: Numbers of a tile: in float64 they should stay in a core's own cache.
_TILE_NUMBERS: Final = 2**14


@built_once
def cluster_sums(m: int, d: int, k: int, *, moved: bool = False) -> Callable[..., Any]:
    """The kernel that sums at most m rows by cluster, in float64.

    float32 would lose the digits of a tight cluster of many points.

    Returns:
        A function from a window of m rows; weight float32 [m], 0 where there is no row; shift and
        scale float32 [d]; cluster int32 [m]. It gives of each cluster float64 [k, d], the sum of
        its weighted points, and float64 [k, 2], its weight and how many of its rows have a
        positive weight; and float64 numbers whose sum is the weighted sum of the squared norms.
        With ``moved`` it takes a cluster int32 [m] that each row has left, too, and gives the
        changes of the first two alone.
        O(m d) time, O(tile d) memory.
    """
    tile = _tile_rows(m, d)
    shapes = sums_shapes(m, d, k)[: 2 if moved else 3]

    def kernel(
        window: Window,
        weight: tf.Tensor,
        shift: tf.Tensor,
        scale: tf.Tensor,
        *clusters: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        def one(i: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
            wide = tf.cast(tf.slice(weight, [i * tile], [tile]), tf.float64)[:, None]
            points = tf.cast((window.tile(i, tile, d) - shift) / scale, tf.float64)
            # A product with the weight 0 is 0, also where the row's square overflows.
            weighted = tf.math.multiply_no_nan(points, wide)
            member = tf.cast(wide > 0, tf.float64)
            mass = tf.concat([wide, member], 1)
            numbers = [tf.slice(cluster, [i * tile], [tile]) for cluster in clusters]
            # Apart: joined into one table of d + 2 columns they would cost twice as much.
            sums = [tf.math.unsorted_segment_sum(weighted, number, k) for number in numbers]
            counts = [tf.math.unsorted_segment_sum(mass, number, k) for number in numbers]
            if moved:
                added = [sums[0] - sums[1], counts[0] - counts[1]]
            else:
                square = beside_sums(tf.math.multiply_no_nan(tf.square(points), wide))
                added = [sums[0], counts[0], square]
            return (i + 1, *[total + each for total, each in zip(totals, added, strict=True)])

        _, *totals = tf.while_loop(
            lambda i, *_: i * tile < window.count,
            one,
            (tf.constant(0), *[tf.zeros(shape, tf.float64) for shape in shapes]),
        )
        return tuple(totals)

    vector = tf.TensorSpec([d], tf.float32)
    return traced(
        kernel,
        [
            window_spec(m, d),
            tf.TensorSpec([m], tf.float32),
            vector,
            vector,
            *[tf.TensorSpec([m], tf.int32)] * (2 if moved else 1),
        ],
        compiled=True,
    )


def sums_shapes(m: int, d: int, k: int) -> tuple[list[int], ...]:
    """The shapes of what the kernel gives."""
    return [k, d], [k, 2], [sums_beside(_tile_rows(m, d), d)]


def beside_sums(numbers: tf.Tensor) -> tf.Tensor:
    """Sums float64 [`sums_beside`] that together are the sum of float64 [m, d], m a power of two.

    In one sum, each addition would wait for the one before: that took as long as all the rest.
    """
    return tf.reduce_sum(tf.reshape(numbers, [-1, sums_beside(*numbers.shape)]), 0)


def sums_beside(m: int, d: int) -> int:
    """How many numbers lie side by side: whole rows, enough to fill vector registers."""
    return min(m, 1 << (max(128 // d, 1).bit_length() - 1)) * d


def _tile_rows(m: int, d: int) -> int:
    rows = max(_TILE_NUMBERS // d, 16)
    return min(m, 1 << (rows.bit_length() - 1))
