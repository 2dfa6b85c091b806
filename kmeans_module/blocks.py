"""Passes over rows in blocks: sizes of blocks, and loops over them.

The memory of a pass depends on the size of a block, not on the number of rows. Graphs use a single
loop, `loop_blocks`; the functions after it cut and join blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from .array_types import Array, Float32
from .quiet_tensorflow import tf

#: Numbers of the largest temporary of a block: 4 MiB in float32, so two blocks fit in the cache
#: that the cores share, and the launch of a kernel (50 us) takes a small share of the time of a
#: block.
BLOCK_NUMBERS: Final = 2**20

#: The result of a block: tensors that are joined along the rows, and tensors that are summed.
Contribution = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]


def rows_per_block(width: int | tf.Tensor, numbers: int = BLOCK_NUMBERS) -> Any:
    """Return the rows of a temporary with ``width`` numbers per row and ``numbers`` in all; at
    least 1.

    The result is an int for an int, and int32 [] for a tensor.
    """
    if isinstance(width, int):
        return max(numbers // max(width, 1), 1)
    return tf.maximum(numbers // tf.maximum(width, 1), 1)


def power_of_two_rows(width: int, numbers: int, *, least: int, most: int) -> int:
    """`rows_per_block`, rounded down to a power of two, from ``least`` to ``most``.

    For compiled kernels: few shapes need compilation, and each block begins at an aligned address.
    """
    rows: int = rows_per_block(width, numbers)
    return min(max(1 << (rows.bit_length() - 1), least), most)


def kernel_rows(d: int) -> int:
    """Return the rows of d numbers for a compiled kernel: a power of two from 128 to 65,536."""
    return power_of_two_rows(max(d, 16), BLOCK_NUMBERS, least=128, most=65_536)


def block_ranges(start: int, stop: int, block: int) -> Iterator[tuple[int, int]]:
    """Cut the rows ``start`` to ``stop`` into blocks; yield the start and the stop of each."""
    for first in range(start, stop, block):
        yield first, min(first + block, stop)


def map_array(function: Callable[[Array], Array], points: Array) -> Float32:
    """Apply a function to points [n, d] block by block: float32 [n, d]."""
    mapped = np.empty(points.shape, np.float32)
    # A row of weight 0 may exceed float32.
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
    """Call a function for each block, and collect its results in the order of the blocks.

    Args:
        function: takes the number of a block, int32 []; returns the elements to write to ``parts``
            and the values to add to ``totals``.
        blocks: int32 [], the number after the last block.
        parts: arrays with one element per block.
        totals: the initial values of the sums.
        first: int32 [], the number of the first block.
        parallel_iterations: the most blocks that are computed, and in memory, at the same time.
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
    """Make parts for `loop_blocks` that ``concat`` joins: the last may have fewer rows."""
    return [tf.TensorArray(dtype, blocks, infer_shape=False) for dtype in dtypes]


def map_rows(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    points: tf.Tensor,
    *,
    width: tf.Tensor,
    specs: Sequence[tf.TensorSpec],
) -> tuple[tf.Tensor, ...]:
    """Map a function over blocks of rows, and join its results along dimension 0.

    Args:
        function: takes rows [m, d]; returns one tensor [m, ...] for each of ``specs``.
        points: float32 [n, d].
        width: numbers per row of the largest temporary of the function.
        specs: the specifications of the results [n, ...].
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
        # Blocks of one loop seldom run in parallel; two loops do.
        pairs = zip(chain(tf.constant(0), half), chain(half, blocks), strict=True)
        return [tf.concat(pair, 0) for pair in pairs]

    results = tf.cond(blocks > 1, two_chains, lambda: list(function(points)))
    # A joined array has no static rank.
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
    """`loop_blocks` with m rows each, the last block padded, so that a kernel is compiled once.

    Args:
        function: takes the number of a block, int32 []; returns one tensor [m] for each dtype, and
            one int64 tensor for each shape.
        n: the number of rows, int32 [].
        m: rows of a block.
        dtypes: the dtypes of the joined results [n], which are returned first.
        shapes: the shapes of the summed results, which are returned second.
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
    """Pad values [<= m, ...] with zeros to [m, ...]."""
    missing = m - tf.shape(values)[0]
    widths = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    whole = tf.cond(missing > 0, lambda: tf.pad(values, widths), lambda: values)
    return tf.ensure_shape(whole, [m, *values.shape[1:]])
