"""Blocks of one size, so that a compiled kernel is compiled once: the last is filled with zeros."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import tensorflow as tf

#: Numbers that a block has: launching a kernel takes 50 us, which a block must be worth, and two
#: blocks should fit the cache that the cores share.
_BLOCK_NUMBERS: Final = 2**20


def traced(
    function: Callable[..., Any], signature: Sequence[Any], *, compiled: bool = False
) -> Callable[..., Any]:
    """The function as a graph, traced now.

    It takes tensors alone, and is called in half the time of a `tf.function`, which would look for
    the graph that suits its arguments: that is 0.2 ms, several times a step.
    """
    graph = tf.function(function, signature, autograph=False, jit_compile=compiled or None)
    return graph.get_concrete_function()  # type: ignore[no-any-return]  # TensorFlow is untyped


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


def over_full_blocks(
    function: Callable[[tf.Tensor], tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]],
    count: tf.Tensor,
    m: int,
    dtypes: Sequence[tf.DType],
    shapes: Sequence[Sequence[int]],
) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
    """Join and sum what the function gives for each block, one after the other.

    Args:
        function: from the number of a block, int32 [], to one tensor [m] for each dtype, and one
            float64 tensor for each shape.
        count: rows in all, int32 [].
        m: rows of a block.
        dtypes: dtypes of what is joined.
        shapes: shapes of what is summed.

    Returns:
        One tensor [count] for each dtype, and one float64 tensor for each shape.
    """
    blocks = (count + m - 1) // m

    def body(
        i: tf.Tensor, parts: list[tf.TensorArray], totals: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.TensorArray], list[tf.Tensor]]:
        joined, summed = function(i)
        written = [part.write(i, each) for part, each in zip(parts, joined, strict=True)]
        return i + 1, written, [total + each for total, each in zip(totals, summed, strict=True)]

    parts = [tf.TensorArray(dtype, blocks, element_shape=[m]) for dtype in dtypes]
    totals = [tf.zeros(shape, tf.float64) for shape in shapes]
    _, parts, totals = tf.while_loop(
        lambda i, *_: i < blocks, body, (tf.constant(0), parts, totals), parallel_iterations=1
    )
    return tuple(tf.reshape(part.stack(), [-1])[:count] for part in parts), tuple(totals)


def map_full_blocks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    count: tf.Tensor,
    m: int,
    dtypes: Sequence[tf.DType],
) -> tuple[tf.Tensor, ...]:
    """`over_full_blocks` with nothing to sum."""
    return over_full_blocks(lambda i: (function(i), []), count, m, dtypes, [])[0]


def sum_full_blocks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    count: tf.Tensor,
    m: int,
    shapes: Sequence[Sequence[int]],
) -> tuple[tf.Tensor, ...]:
    """`over_full_blocks` with nothing to join."""
    return over_full_blocks(lambda i: ([], function(i)), count, m, [], shapes)[1]
