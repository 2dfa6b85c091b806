"""The rows of a source that a fit uses."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_module.blocks import block_ranges, rows_per_block
from kmeans_module.row_source import RowSource

#: The rows per stride; for each stride, the number of kept rows before it is stored.
_STRIDE: Final = 2**12


class KeptRows(RowSource):
    """The rows without missing numbers or weights, optionally without rows of zeros.

    The memory is one bit per row of the source.

    Attributes:
        source: the source of the rows.
        kept: the kept rows, one bit per row, uint8 [n / 8].
        zero_rows: the number of omitted rows of zeros.
    """

    def __init__(self, source: RowSource, kept: NDArray[np.uint8], zero_rows: int) -> None:
        """Keep the rows whose bits are set in uint8 [n / 8]."""
        self.source, self.kept, self.zero_rows = source, kept, zero_rows
        counts = [int(np.count_nonzero(np.unpackbits(part))) for part in _strides(kept)]
        #: The number of kept rows before each stride, and in all.
        self._before = np.cumsum([0, *counts])
        self.shape = int(self._before[-1]), source.shape[1]
        self.dtype, self.is_weighted = source.dtype, source.is_weighted

    @classmethod
    def find(cls, source: RowSource, *, skip_zero_rows: bool) -> Self:
        """Read a source to find the rows to keep, perhaps none. Raises UnreadableRows."""
        bits, zero_rows = [np.empty(0, np.uint8)], 0
        rows = max(1, rows_per_block(source.shape[1]) // 8) * 8
        for start, stop in block_ranges(0, len(source), rows):
            block = source[start:stop]
            is_kept = ~np.isnan(block).any(axis=1)
            if source.is_weighted:
                is_kept &= ~np.isnan(source.read_weights(start, stop))
            if skip_zero_rows:
                is_zero = is_kept & ~block.any(axis=1)
                zero_rows += int(np.count_nonzero(is_zero))
                is_kept &= ~is_zero
            bits.append(np.packbits(is_kept))
        return cls(source, np.concatenate(bits), zero_rows)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        return self._select(self.source.read, start, stop)

    def read_weights(self, start: int, stop: int) -> NDArray[Any]:
        if not self.is_weighted:
            return super().read_weights(start, stop)
        return self._select(self.source.read_weights, start, stop)

    def _select(
        self, read: Callable[[int, int], NDArray[Any]], start: int, stop: int
    ) -> NDArray[Any]:
        """Return the kept rows ``start`` to ``stop`` (exclusive)."""
        first, last = np.searchsorted(self._before, [start, stop], side="right") - 1
        from_row = int(first) * _STRIDE
        to_row = min((int(last) + 1) * _STRIDE, len(self.source))
        is_kept = np.unpackbits(self.kept[from_row // 8 : -(-to_row // 8)])[: to_row - from_row]
        places = np.flatnonzero(is_kept)[start - self._before[first] :][: stop - start]
        if not len(places):
            return read(from_row, from_row)
        begin, end = int(places[0]), int(places[-1]) + 1
        block = read(from_row + begin, from_row + end)
        return block if len(block) == len(places) else block[places - begin]


def _strides(kept: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (kept[start : start + _STRIDE // 8] for start in range(0, len(kept), _STRIDE // 8))
