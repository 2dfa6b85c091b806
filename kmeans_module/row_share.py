"""The share of rows that this process reads: all, or the range of one worker.

Row numbers are those of all rows. The results of a worker are reduced with those of the others, so
the code of a pass is the same for one process and for many.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .cores import core_ranges, run_in_parallel
from .workers import ALONE, Reducer

T = TypeVar("T")


@dataclass(frozen=True)
class RowShare:
    """The range of rows that this process reads.

    Attributes:
        start, stop: the range of rows; it may be empty.
        reducer: the reducer with the readers of the other rows.
    """

    start: int
    stop: int
    reducer: Reducer = ALONE

    @classmethod
    def whole(cls, n: int) -> "RowShare":
        """Return the share of all n rows."""
        return cls(0, n)

    def core_ranges(self) -> list[tuple[int, int]]:
        """Return the range of rows of each core."""
        return core_ranges(self.stop - self.start, self.start)

    def map_ranges(self, function: Callable[[int, int], T]) -> list[T]:
        """Call a function for the range of each core, in parallel; return nothing without rows."""
        return run_in_parallel(function, self.core_ranges())

    def part(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ascending row numbers that are in this range."""
        first, last = np.searchsorted(numbers, [self.start, self.stop])
        return numbers[first:last]
