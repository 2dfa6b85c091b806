"""Round rows to float32 in blocks, and find columns that lose digits by it."""

from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .columns import to_float32

#: A column has lost digits if float32 changes its values by more than this share of its spread.
_MOST_ERROR: Final = 1e-3


class Float32Rounding:
    """The statistics of rounding rows with ``width`` columns."""

    def __init__(self, width: int) -> None:
        self._rows = 0
        self._error = np.zeros(width)
        self._low = np.full(width, np.inf)
        self._high = np.full(width, -np.inf)
        self._mean = np.zeros(width)
        self._squares = np.zeros(width)

    @classmethod
    def of(cls, numbers: ArrayLike) -> Self:
        """Create from saved ``numbers``."""
        known = np.array(numbers, np.float64)
        rounding = cls(known.shape[1])
        rounding._rows = int(known[0].max(initial=0))
        rounding._error, rounding._low, rounding._high = known[1:4]
        rounding._mean, rounding._squares = known[4:]
        return rounding

    @property
    def numbers(self) -> NDArray[np.float64]:
        """All statistics, float64 [6, width], the argument of ``of``."""
        rows = np.full_like(self._mean, self._rows)
        return np.array([rows, self._error, self._low, self._high, self._mean, self._squares])

    def merge(self, other: Self) -> None:
        """Add the statistics of other rows of the same columns."""
        if other._rows:
            self._error = np.maximum(self._error, other._error)
            self._low = np.minimum(self._low, other._low)
            self._high = np.maximum(self._high, other._high)
            self._add_to_spread(other._rows, other._mean, other._squares)

    def round(self, block: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Round rows [n, width] of finite numbers to float32."""
        rounded = to_float32(block)
        if rounded is not block and len(block):
            self._error = np.maximum(self._error, np.abs(block - rounded).max(axis=0))
            self._low = np.minimum(self._low, block.min(axis=0))
            self._high = np.maximum(self._high, block.max(axis=0))
            mean = block.mean(axis=0)
            self._add_to_spread(len(block), mean, np.square(block - mean).sum(axis=0))
        return rounded

    def has_lost_digits(self) -> NDArray[np.bool_]:
        """Return for each column whether it has lost at least a thousandth of its standard
        deviation.
        """
        spread = np.sqrt(self._squares / max(1, self._rows))
        return (self._high > self._low) & (self._error > _MOST_ERROR * spread)

    def _add_to_spread(
        self, rows: int, mean: NDArray[np.floating[Any]], squares: NDArray[np.floating[Any]]
    ) -> None:
        """Combine means and squared differences of two parts of rows (Chan et al. 1979)."""
        before, self._rows = self._rows, self._rows + rows
        apart = mean - self._mean
        self._squares += squares + np.square(apart) * (before * rows / self._rows)
        self._mean += apart * (rows / self._rows)
