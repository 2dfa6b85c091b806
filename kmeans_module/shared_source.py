"""The rows of several workers as one source, of which each reads its own."""

import numpy as np

from .array_types import Array, Float32
from .row_share import RowShare
from .row_source import RowSource
from .workers import Reducer


def share_rows(source: RowSource, reducer: Reducer) -> tuple[RowSource, RowShare]:
    """The rows of all workers as one source, and which of them this one reads.

    Args:
        source: its own rows.
        reducer: how the workers come together.

    Raises:
        WorkersDiffer: rows of other widths or types.
    """
    if reducer.workers == 1:
        return source, RowShare(0, len(source), reducer)
    reducer.agree({"features": source.shape[1], "dtype": source.dtype.str})
    counts = reducer.gather(np.array([len(source)], np.int64))
    is_weighted = bool(reducer.sum([source.is_weighted]).any())
    first = int(counts[: reducer.worker].sum())
    share = RowShare(first, first + len(source), reducer)
    return _SharedSource(source, share, int(counts.sum()), is_weighted), share


class _SharedSource(RowSource):
    """The rows of all workers, of which those of one can be read."""

    def __init__(self, source: RowSource, share: RowShare, n: int, is_weighted: bool) -> None:
        self.shape, self.dtype, self.is_weighted = (n, source.shape[1]), source.dtype, is_weighted
        self._source, self._first, self._reducer = source, share.start, share.reducer

    def read(self, start: int, stop: int) -> Array:
        # A pass may take long, and ends soon when a worker is lost.
        self._reducer.check()
        return self._source[start - self._first : stop - self._first]

    def read_into(self, start: int, rows: Float32) -> None:
        self._reducer.check()
        self._source.read_into(start - self._first, rows)

    def read_weights(self, start: int, stop: int) -> Array:
        self._reducer.check()
        return self._source.read_weights(start - self._first, stop - self._first)
