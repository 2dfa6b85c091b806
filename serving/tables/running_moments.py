"""Running moments of columns, from blocks of rows."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

#: Numbers of a part, which should fit in the cache of a core.
_PART_NUMBERS: Final = 2**16

#: Numbers of a line. NumPy is slow on narrow rows, so a line has several rows side by side.
_LINE_NUMBERS: Final = 1024


class RunningMoments:
    """Statistics of each of ``width`` columns; NaN is not a value.

    Attributes:
        counts: int64 [width], the numbers of values.
        low, high: float64 [width], the minimum and the maximum; infinite without values.
        mean: float64 [width].
    """

    def __init__(self, width: int) -> None:
        self.counts = np.zeros(width, np.int64)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.mean = np.zeros(width)
        self._squares = np.zeros(width)

    @property
    def variance(self) -> Float64:
        """The variance, float64 [width]."""
        return self._squares / np.maximum(self.counts, 1)

    def add(self, block: NDArray[np.float32]) -> None:
        """Add rows [n, width], finite or NaN."""
        for lines in _lines(block):
            self._add_lines(lines)

    def _add_lines(self, lines: NDArray[np.float32]) -> None:
        d = len(self.mean)
        has_missing = bool(np.isnan(lines).any())
        self.low = np.minimum(self.low, _by_column(np.fmin, lines, d, np.inf))
        self.high = np.maximum(self.high, _by_column(np.fmax, lines, d, -np.inf))
        apart = lines.astype(np.float64)
        if not self.counts.any():
            self.mean = np.nan_to_num(apart[0, :d])
        apart -= np.tile(self.mean, apart.shape[1] // d)
        added = np.full(d, lines.size // d)
        if has_missing:
            added -= _by_column(np.add, np.isnan(apart).astype(np.int64), d)
            np.nan_to_num(apart, copy=False)
        moved = _by_column(np.add, apart, d)
        self._squares += _by_column(np.add, np.multiply(apart, apart, out=apart), d)
        self.counts += added
        # The deviations of the previous values from their mean sum to 0 (Chan et al. 1979).
        step = moved / np.maximum(self.counts, 1)
        self._squares = np.maximum(self._squares - moved * step, 0)
        self.mean += step


def _lines(block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield the rows in parts, as lines with several rows each."""
    d = block.shape[1]
    side_by_side = max(1, _LINE_NUMBERS // d)
    rows = max(1, _PART_NUMBERS // (side_by_side * d)) * side_by_side
    for start in range(0, len(block), rows):
        part = block[start : start + rows]
        even = len(part) // side_by_side * side_by_side
        if even:
            yield np.ascontiguousarray(part[:even]).reshape(-1, side_by_side * d)
        if even < len(part):
            yield part[even:]


def _by_column(function: np.ufunc, lines: NDArray[Any], d: int, none: float = 0) -> Float64:
    """Reduce each of d columns with a function; a line has several rows side by side."""
    found: Float64 = function.reduce(function.reduce(lines, axis=0).reshape(-1, d), axis=0)
    return found if function is np.add else np.where(np.isnan(found), none, found)
