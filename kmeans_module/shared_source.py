"""The rows of several workers as one source: each reads its own, or the first reads all."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum

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


@contextmanager
def whole_source(source: RowSource, reducer: Reducer) -> Iterator[RowSource | None]:
    """The rows of all workers on the first of them, as `publish_fit` needs them.

    The others send it what it reads, until it leaves the block; theirs is None, and comes then.

    Args:
        source: the rows of this worker.
        reducer: how the workers come together.

    Yields:
        The rows of all workers on the first, None on the others.

    Raises:
        WorkersDiffer: rows of other widths or types.
        WorkerLost, WorkerFailed: as `connect_workers` says.

    Example:
        >>> from tfkmeans import RowSource, connect_workers, fit, whole_source
        >>> with connect_workers() as reducer:
        ...     source = RowSource.from_array([[0.0], [1.0], [9.0]])
        ...     result = fit(source, n_clusters=2, reducer=reducer)
        ...     with whole_source(source, reducer) as rows:
        ...         print(rows.shape)
        (3, 1)
    """
    if reducer.workers == 1:
        yield source
        return
    shared, share = share_rows(source, reducer)
    rows = _SentRows(shared, share)
    if reducer.worker == 0:
        yield rows
        rows.end()
    else:
        rows.send()
        yield None


class _Asked(IntEnum):
    """What the first worker asks of all."""

    NOTHING_MORE = 0
    ROWS = 1
    WEIGHTS = 2


class _SentRows(RowSource):
    """All rows: the first worker asks for some, and each sends those that are its own."""

    def __init__(self, shared: RowSource, share: RowShare) -> None:
        self.shape, self.dtype, self.is_weighted = shared.shape, shared.dtype, shared.is_weighted
        self._shared, self._share = shared, share
        # Of several threads that read, one asks at a time.
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> Array:
        return self._ask(_Asked.ROWS, start, stop)

    def read_weights(self, start: int, stop: int) -> Array:
        if not self.is_weighted:
            return super().read_weights(start, stop)
        return self._ask(_Asked.WEIGHTS, start, stop)

    def end(self) -> None:
        """Let the others go."""
        self._share.reducer.sum([_Asked.NOTHING_MORE, 0, 0])

    def send(self) -> None:
        """Send what is asked for, until there is nothing more."""
        while True:
            asked, start, stop = self._share.reducer.sum([0, 0, 0])
            if asked == _Asked.NOTHING_MORE:
                return
            self._answer(_Asked(asked), int(start), int(stop))

    def _ask(self, asked: _Asked, start: int, stop: int) -> Array:
        with self._lock:
            self._share.reducer.sum([asked, start, stop])
            return self._answer(asked, start, stop)

    def _answer(self, asked: _Asked, start: int, stop: int) -> Array:
        """The rows of all, of which this worker sends its own."""
        first = min(max(start, self._share.start), self._share.stop)
        last = max(min(stop, self._share.stop), first)
        read: Callable[[int, int], Array] = (
            self._shared.read
            if asked == _Asked.ROWS
            else lambda first, last: self._shared.weights[first:last]
        )
        return self._share.reducer.gather(read(first, last))
