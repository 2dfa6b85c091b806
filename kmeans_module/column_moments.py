"""Mean, variance and extent of each column, with the same bits for any number of cores."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from .array_types import Array, Float64, Table
from .blocks import block_ranges, rows_per_block
from .row_share import RowShare
from .rows import select_weighted

#: Numbers of a block, which in float64 nearly fits in the cache of a core.
_BLOCK_NUMBERS: Final = 2**16

#: The same for comparisons. Threads wait less for each other if each call of NumPy takes longer.
_EXTENT_NUMBERS: Final = 2**18

#: Numbers of a line. NumPy is slow on narrow rows, so a line has several rows side by side.
_LINE_NUMBERS: Final = 1024

#: Terms are at most 2^45; a block has at most 2^16 terms, and 2^61 does not overflow.
_BITS: Final = 45

#: After each block, the bits above this number are carried, which suffices for 2^38 rows.
_CARRY_BITS: Final = 20


class Extent(NamedTuple):
    """The minimum and the maximum of each column, float64 [d]; NaN if the column has NaN."""

    low: Float64
    high: Float64


class Moments(NamedTuple):
    """Mean and variance of each column, float64 [d]."""

    mean: Float64
    variance: Float64


def column_extent(points: Table, sample_weight: Table, share: RowShare | None = None) -> Extent:
    """Return the extent of the rows of positive weight of points [n, d].

    Each worker reads its share, by default all rows.
    """
    n, d = points.shape
    share = share or RowShare.whole(n)

    def find_extent(start: int, stop: int) -> Extent:
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        for lines in _lines(points, sample_weight, start, stop, _EXTENT_NUMBERS):
            least, most = (_fold_twice(function, lines) for function in (np.minimum, np.maximum))
            np.minimum(low, _by_column(np.minimum, least, d), out=low)
            np.maximum(high, _by_column(np.maximum, most, d), out=high)
        return Extent(low, high)

    nothing = np.full((2, d), -np.inf)
    parts = [nothing, *(np.stack([-low, high]) for low, high in share.map_ranges(find_extent))]
    negative, high = share.reducer.maximum(np.max(parts, axis=0))
    # The sign of a zero would depend on the blocks.
    return Extent(0.0 - negative, high + 0.0)


def column_moments(
    points: Table,
    sample_weight: Table,
    extent: Extent,
    pivot: Float64,
    share: RowShare | None = None,
) -> Moments:
    """Return the moments of the rows of positive weight of points [n, d], each counted once.

    They are sums of integers, which do not depend on the order. The deviations are from a pivot
    float64 [d], a number inside the range of the column, so no digits are lost far from the origin
    (Chan, Golub and LeVeque 1983). A deviation is rounded to 2^-45 of the largest, and its square
    to 2^-45 of the largest square. The moments of a column with infinite extent are undefined. Each
    worker reads its share, by default all rows.
    """
    n, d = points.shape
    share = share or RowShare.whole(n)
    with np.errstate(over="ignore", invalid="ignore"):
        farthest = np.maximum(extent.high - pivot, pivot - extent.low)
    _, exponent = np.frexp(np.where(np.isfinite(farthest), farthest, 1))
    factor = np.ldexp(1.0, _BITS - exponent)

    def add_up(start: int, stop: int) -> tuple[_ColumnSum, _ColumnSum, int]:
        total, square, rows = _ColumnSum(d), _ColumnSum(d), 0
        with np.errstate(over="ignore", invalid="ignore"):
            for lines in _lines(points, sample_weight, start, stop):
                side_by_side = lines.shape[1] // d
                rows += len(lines) * side_by_side
                deviation = lines.astype(np.float64)
                deviation -= np.tile(pivot, side_by_side)
                deviation *= np.tile(factor, side_by_side)
                total.add(deviation)
                deviation *= deviation
                deviation *= 2.0**-_BITS
                square.add(deviation)
        return total, square, rows

    parts = [(_ColumnSum(d), _ColumnSum(d), 0), *share.map_ranges(add_up)]
    totals, squares, rows = zip(*parts, strict=True)
    total, square = (_ColumnSum.join(each).reduce(share) for each in (totals, squares))
    (counted,) = share.reducer.sum([sum(rows)])
    # Relative to the largest deviation: from -1 to 1.
    moment = total.value() / counted
    variance = np.maximum(square.value() / counted - np.square(moment), 0)
    with np.errstate(over="ignore"):
        return Moments(pivot + np.ldexp(moment, exponent), np.ldexp(variance, 2 * exponent))


class _ColumnSum:
    """Sums of integers for each of d columns, in two parts."""

    def __init__(self, d: int) -> None:
        self._high, self._low = np.zeros(d, np.int64), np.zeros(d, np.int64)

    def add(self, lines: Float64) -> None:
        """Add numbers up to 2^45, rounded; a line may have several rows of d columns."""
        d = len(self._low)
        self._low += _by_column(np.add, np.rint(lines).astype(np.int64), d)
        self._high += self._low >> _CARRY_BITS
        self._low &= 2**_CARRY_BITS - 1

    @classmethod
    def join(cls, parts: Sequence["_ColumnSum"]) -> "_ColumnSum":
        """The sum of the parts."""
        whole = cls(len(parts[0]._low))
        whole._high = np.sum([part._high for part in parts], axis=0)
        whole._low = np.sum([part._low for part in parts], axis=0)
        return whole

    def reduce(self, share: RowShare) -> "_ColumnSum":
        """Return the sum over the workers."""
        whole = _ColumnSum(len(self._low))
        whole._high, whole._low = share.reducer.sum([self._high, self._low])
        return whole

    def value(self) -> Float64:
        """The sum, in units of 2^45."""
        high = np.ldexp(self._high.astype(np.float64), _CARRY_BITS - _BITS)
        return high + np.ldexp(self._low.astype(np.float64), -_BITS)


def _lines(
    points: Table, sample_weight: Table, start: int, stop: int, numbers: int = _BLOCK_NUMBERS
) -> Iterator[Array]:
    """Yield the rows of positive weight of a range in blocks of lines with several rows each."""
    d = points.shape[1]
    side_by_side = rows_per_block(d, _LINE_NUMBERS)
    for first, last in block_ranges(start, stop, rows_per_block(d, numbers)):
        rows = select_weighted(points[first:last], sample_weight[first:last])
        even = len(rows) // side_by_side * side_by_side
        if even:
            yield np.ascontiguousarray(rows[:even]).reshape(-1, side_by_side * d)
        if even < len(rows):
            yield rows[even:]


def _fold_twice(function: np.ufunc, lines: Array) -> Array:
    """Reduce lines to a quarter of them by np.minimum or np.maximum, half with half, twice.

    NumPy takes two thirds of the time that it takes to reduce line by line.
    """
    for _ in range(2):
        half = (len(lines) + 1) // 2
        # Where the number of lines is odd, the middle one is in both halves.
        lines = function(lines[:half], lines[-half:])
    return lines


def _by_column(function: np.ufunc, lines: Array, d: int) -> Array:
    """Reduce each of d columns with a function; a line has several rows side by side."""
    found: Array = function.reduce(function.reduce(lines, axis=0).reshape(-1, d), axis=0)
    return found
