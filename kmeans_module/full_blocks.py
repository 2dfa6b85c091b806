"""Blocks of one size, so that a compiled kernel is compiled once: the last is filled with zeros."""

from collections.abc import Callable, Sequence
from typing import Final

import tensorflow as tf

#: Numbers that a block has: launching a kernel takes 50 us, which a block must be worth, and two
#: blocks should fit the cache that the cores share.
_BLOCK_NUMBERS: Final = 2**20


def block_rows(width: int) -> int:
    """How many rows of ``width`` numbers a block has: a power of two from 128 to 65,536."""
    rows = _BLOCK_NUMBERS // max(width, 1)
    return min(max(1 << (rows.bit_length() - 1), 128), 65_536) if rows else 128


def filled(values: tf.Tensor, m: int) -> tf.Tensor:
    """The values [<= m, ...] with zeros after them: [m, ...]."""
    missing = m - tf.shape(values)[0]
    widths = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    whole = tf.cond(missing > 0, lambda: tf.pad(values, widths), lambda: values)
    return tf.ensure_shape(whole, [m, *values.shape[1:]])


def map_full_blocks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    count: tf.Tensor,
    m: int,
    dtypes: Sequence[tf.DType],
) -> tuple[tf.Tensor, ...]:
    """Join what the function gives for each block.

    Args:
        function: from the number of a block, int32 [], to one tensor [m] for each dtype.
        count: rows in all, int32 [].
        m: rows of a block.
        dtypes: dtypes of the results.

    Returns:
        One tensor [count] for each dtype. Two blocks are worked on at a time.
    """
    blocks = (count + m - 1) // m

    def body(i: tf.Tensor, *parts: tf.TensorArray) -> tuple[tf.Tensor, ...]:
        results = function(i)
        return (
            i + 1,
            *[part.write(i, result) for part, result in zip(parts, results, strict=True)],
        )

    parts = [tf.TensorArray(dtype, blocks, element_shape=[m]) for dtype in dtypes]
    _, *parts = tf.while_loop(
        lambda i, *_: i < blocks, body, (tf.constant(0), *parts), parallel_iterations=2
    )
    return tuple(tf.reshape(part.stack(), [-1])[:count] for part in parts)


def sum_full_blocks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    count: tf.Tensor,
    m: int,
    shapes: Sequence[Sequence[int]],
) -> tuple[tf.Tensor, ...]:
    """The sum of what the function gives for each block, always in the same order.

    Args:
        function: from the number of a block, int32 [], to one float64 tensor for each shape.
        count, m: as in `map_full_blocks`.
        shapes: shapes of the results.
    """
    blocks = (count + m - 1) // m

    def body(i: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
        results = function(i)
        return (i + 1, *[total + result for total, result in zip(totals, results, strict=True)])

    zeros = [tf.zeros(shape, tf.float64) for shape in shapes]
    _, *totals = tf.while_loop(
        lambda i, *_: i < blocks, body, (tf.constant(0), *zeros), parallel_iterations=2
    )
    return tuple(totals)
