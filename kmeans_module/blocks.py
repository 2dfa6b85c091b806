"""Passes over rows in blocks: how many rows a block has, and the loops over blocks.

Every pass bounds its memory by the size of a block, whatever the number of rows. In a graph there
is one loop, `loop_blocks`; the functions after it say how blocks are cut and joined.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from .array_types import Array, Float32
from .quiet_tensorflow import tf

#: Numbers of the largest temporary of a block. In float32 that is 4 MiB, so that two blocks fit the
#: cache that the cores share; and a block is worth the 50 us that launching a kernel takes.
BLOCK_NUMBERS: Final = 2**20

#: What a block adds: tensors that are joined along the rows, and tensors that are summed.
Contribution = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]


def rows_per_block(width: int | tf.Tensor, numbers: int = BLOCK_NUMBERS) -> Any:
    """How many rows of a temporary of ``width`` numbers a row make ``numbers``; at least 1.

    An int for an int, and int32 [] for a tensor.
    """
    if isinstance(width, int):
        return max(numbers // max(width, 1), 1)
    return tf.maximum(numbers // tf.maximum(width, 1), 1)


def power_of_two_rows(width: int, numbers: int, *, least: int, most: int) -> int:
    """`rows_per_block`, rounded down to a power of two, from ``least`` to ``most``.

    For compiled kernels: few shapes are compiled, and each block begins at an aligned address.
    """
    rows: int = rows_per_block(width, numbers)
    return min(max(1 << (rows.bit_length() - 1), least), most)


def kernel_rows(d: int) -> int:
    """How many rows of d numbers a compiled kernel takes: a power of two from 128 to 65,536."""
    return power_of_two_rows(max(d, 16), BLOCK_NUMBERS, least=128, most=65_536)


def block_ranges(start: int, stop: int, block: int) -> Iterator[tuple[int, int]]:
    """Cut the rows ``start`` to ``stop`` into blocks: the first row of each, and that after it."""
    for first in range(start, stop, block):
        yield first, min(first + block, stop)


def map_array(function: Callable[[Array], Array], points: Array) -> Float32:
    """The function of points [n, d], taken block by block: float32 [n, d]."""
    mapped = np.empty(points.shape, np.float32)
    # A row of weight 0 may be beyond float32.
    with np.errstate(over="ignore"):
        for start, stop in block_ranges(0, len(points), rows_per_block(2 * points.shape[1])):
            mapped[start:stop] = function(points[start:stop])
    return mapped


def loop_blocks(
    function: Callable[[tf.Tensor], Contribution],
    blocks: tf.Tensor,
    parts: Sequence[tf.TensorArray],
    totals: Sequence[tf.Tensor],
    *,
    first: tf.Tensor | int = 0,
    parallel_iterations: int = 1,
) -> tuple[list[tf.TensorArray], list[tf.Tensor]]:
    """Parts and totals: what the function gives for each block, written and added in their order.

    Args:
        function: from the number of a block, int32 [], to what is written to each of ``parts`` and
            what is added to each of ``totals``.
        blocks: int32 [], the number after that of the last block.
        parts: one element a block.
        totals: where the sums begin.
        first: int32 [], the number of the first block.
        parallel_iterations: how many blocks may be worked on, and held, at the same time.
    """

    def body(
        i: tf.Tensor, parts: list[tf.TensorArray], totals: list[tf.Tensor]
    ) -> tuple[tf.Tensor, list[tf.TensorArray], list[tf.Tensor]]:
        values, terms = function(i)
        written = [part.write(i - first, value) for part, value in zip(parts, values, strict=True)]
        return i + 1, written, [total + term for total, term in zip(totals, terms, strict=True)]

    _, parts, totals = tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (tf.convert_to_tensor(first), list(parts), list(totals)),
        parallel_iterations=parallel_iterations,
    )
    return list(parts), list(totals)


def block_parts(blocks: tf.Tensor, dtypes: Sequence[tf.DType]) -> list[tf.TensorArray]:
    """Parts for `loop_blocks` to be joined by ``concat``: the last may have fewer rows."""
    return [tf.TensorArray(dtype, blocks, infer_shape=False) for dtype in dtypes]


def map_rows(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    points: tf.Tensor,
    *,
    width: tf.Tensor,
    specs: Sequence[tf.TensorSpec],
) -> tuple[tf.Tensor, ...]:
    """Map a function over blocks of rows, and join what it gives along dimension 0.

    Args:
        function: from rows [m, d] to one tensor [m, ...] for each of ``specs``.
        points: float32 [n, d].
        width: numbers a row that the function's largest temporary holds.
        specs: what is returned, one tensor [n, ...] each.
    """
    n = tf.shape(points)[0]
    block = rows_per_block(tf.maximum(width, tf.shape(points)[1]))
    blocks = (n + block - 1) // block
    half = (blocks + 1) // 2

    def chain(first: tf.Tensor, last: tf.Tensor) -> list[tf.Tensor]:
        parts, _ = loop_blocks(
            lambda i: (function(points[i * block : (i + 1) * block]), []),
            last,
            block_parts(last - first, [spec.dtype for spec in specs]),
            [],
            first=first,
        )
        return [part.concat() for part in parts]

    def two_chains() -> list[tf.Tensor]:
        # Within one loop the blocks seldom run beside each other; two loops do.
        pairs = zip(chain(tf.constant(0), half), chain(half, blocks), strict=True)
        return [tf.concat(pair, 0) for pair in pairs]

    results = tf.cond(blocks > 1, two_chains, lambda: list(function(points)))
    # A joined array does not know its rank.
    return tuple(
        tf.ensure_shape(result, spec.shape) for result, spec in zip(results, specs, strict=True)
    )


def loop_padded_blocks(
    function: Callable[[tf.Tensor], Contribution],
    n: tf.Tensor,
    m: int,
    dtypes: Sequence[tf.DType],
    shapes: Sequence[Sequence[int]],
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """`loop_blocks` of m rows each, the last of them padded, so that a kernel is compiled once.

    Args:
        function: from the number of a block, int32 [], to one tensor [m] for each dtype, and one
            int64 tensor for each shape.
        n: rows in all, int32 [].
        m: rows of a block.
        dtypes: of what is joined, and returned first: one tensor [n] each.
        shapes: of what is summed, and returned second.
    """
    blocks = (n + m - 1) // m
    parts, totals = loop_blocks(
        function,
        blocks,
        [tf.TensorArray(dtype, blocks, element_shape=[m]) for dtype in dtypes],
        [tf.zeros(shape, tf.int64) for shape in shapes],
    )
    return [tf.reshape(part.stack(), [-1])[:n] for part in parts], totals


def pad_rows(values: tf.Tensor, m: int) -> tf.Tensor:
    """The values [<= m, ...] with zeros after them: [m, ...]."""
    missing = m - tf.shape(values)[0]
    widths = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    whole = tf.cond(missing > 0, lambda: tf.pad(values, widths), lambda: values)
    return tf.ensure_shape(whole, [m, *values.shape[1:]])
