"""Which of the rows this process reads: all, or as one of several workers a range of them.

Row numbers are those of all rows. What a worker finds of its range is reduced with what the others
find, so that the passes over rows are the same for one process and for many.
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
    """The range of the rows that this process reads.

    Attributes:
        start, stop: its rows; there may be none.
        reducer: how it comes together with those who read the others.
    """

    start: int
    stop: int
    reducer: Reducer = ALONE

    @classmethod
    def whole(cls, n: int) -> "RowShare":
        """All n rows."""
        return cls(0, n)

    def core_ranges(self) -> list[tuple[int, int]]:
        """The rows of each core."""
        return core_ranges(self.stop - self.start, self.start)

    def map_ranges(self, function: Callable[[int, int], T]) -> list[T]:
        """What the function gives for each core's range, in parallel; nothing without rows."""
        return run_in_parallel(function, self.core_ranges())

    def part(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the row numbers, which rise, that are of this range."""
        first, last = np.searchsorted(numbers, [self.start, self.stop])
        return numbers[first:last]
