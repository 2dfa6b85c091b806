"""The mean, the variance and the extent of each column, in one pass over the points."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from .array_types import Array, Float32, Float64
from .blocks import block_ranges, rows_per_block
from .cores import core_ranges, run_in_parallel
from .rows import select_weighted

#: Numbers of a block: in float64 it should stay in a core's own cache, or nearly.
_BLOCK_NUMBERS: Final = 2**17

#: Numbers of a line. NumPy goes along a row, which is slow where it is narrow: so as many rows lie
#: side by side.
_LINE_NUMBERS: Final = 1024


class Moments(NamedTuple):
    """Of each column, over the rows of positive weight: float64 [d].

    The mean is not finite where a number is not, or where float64 cannot hold the sum.
    """

    mean: Float64
    variance: Float64
    low: Float64
    high: Float64


def column_moments(points: Array, sample_weight: Float32) -> Moments:
    """The moments of points [n, d], of which the rows of positive weight count, each once.

    They are summed in float64 about a pivot, the mean of a first block, so that far from the
    origin no digits are lost: by the factor ``1 + (mean - pivot)^2 / variance``, at most the number
    of blocks, less than could be kept (Chan, Golub and LeVeque 1983). Each core takes a range.
    """
    n, d = points.shape
    # What is no number, or beyond float64, is told by the result.
    with np.errstate(over="ignore", invalid="ignore"):
        first = next(_weighted_blocks(points, sample_weight, 0, n), np.zeros((1, d)))
        pivot = first.mean(axis=0, dtype=np.float64)
    pivot = np.where(np.isfinite(pivot), pivot, 0)

    rows_per_line = rows_per_block(d, _LINE_NUMBERS)

    def sum_range(start: int, stop: int) -> list[tuple[Float64, ...]]:
        lines, rest = _RangeSums(pivot, rows_per_line), _RangeSums(pivot, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            for rows in _weighted_blocks(points, sample_weight, start, stop):
                even = len(rows) // rows_per_line * rows_per_line
                if even:
                    lines.add(rows[:even])
                if even < len(rows):
                    rest.add(rows[even:])
        return [lines.by_column(d), rest.by_column(d)]

    parts = [sums for both in run_in_parallel(sum_range, core_ranges(n)) for sums in both]
    totals, squares, lows, highs = (np.stack(each) for each in zip(*parts, strict=True))
    counted = np.count_nonzero(sample_weight)
    with np.errstate(over="ignore", invalid="ignore"):
        moment = totals.sum(axis=0) / counted
        variance = np.maximum(squares.sum(axis=0) / counted - np.square(moment), 0)
        return Moments(pivot + moment, variance, lows.min(axis=0), highs.max(axis=0))


class _RangeSums:
    """What is summed of one range of the rows, so many of which lie side by side."""

    def __init__(self, pivot: Float64, rows_per_line: int) -> None:
        width = rows_per_line * len(pivot)
        self._pivot = np.tile(pivot, rows_per_line)
        self._room = np.empty(max(_BLOCK_NUMBERS, width))
        self._total, self._square = np.zeros(width), np.zeros(width)
        self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)

    def add(self, rows: Array) -> None:
        """Add rows [m, d] of one block, m a multiple of those side by side."""
        lines = np.ascontiguousarray(rows).reshape(-1, len(self._pivot))
        wide = self._room[: lines.size].reshape(lines.shape)
        np.subtract(lines, self._pivot, out=wide)
        self._total += np.add.reduce(wide, axis=0)
        np.square(wide, out=wide)
        self._square += np.add.reduce(wide, axis=0)
        np.minimum(self._low, np.minimum.reduce(lines, axis=0), out=self._low)
        np.maximum(self._high, np.maximum.reduce(lines, axis=0), out=self._high)

    def by_column(self, d: int) -> tuple[Float64, ...]:
        """Sum, sum of squares, least and largest of each column, float64 [d]."""
        sums = self._total, self._square, self._low, self._high
        functions = np.add, np.add, np.minimum, np.maximum
        return tuple(
            function.reduce(each.reshape(-1, d), axis=0)
            for function, each in zip(functions, sums, strict=True)
        )


def _weighted_blocks(
    points: Array, sample_weight: Float32, start: int, stop: int
) -> Iterator[Array]:
    """The rows of positive weight of each block of a range: blocks of whole lines."""
    rows_per_line = rows_per_block(points.shape[1], _LINE_NUMBERS)
    lines = rows_per_block(rows_per_line * points.shape[1], _BLOCK_NUMBERS)
    block = lines * rows_per_line
    for first, last in block_ranges(start, stop, block):
        rows = select_weighted(points[first:last], sample_weight[first:last])
        if len(rows):
            yield rows
