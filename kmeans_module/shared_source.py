"""The rows of several workers as one source: each reads its own, or the chief reads all."""

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
    """Return the rows of all workers as one source, and the share of this worker.

    Args:
        source: the rows of this worker.
        reducer: the reducer of the workers.

    Raises:
        WorkersDiffer: the rows differ in width or dtype.
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
    """The rows of all workers; only those of this worker can be read."""

    def __init__(self, source: RowSource, share: RowShare, n: int, is_weighted: bool) -> None:
        self.shape, self.dtype, self.is_weighted = (n, source.shape[1]), source.dtype, is_weighted
        self._source, self._first, self._reducer = source, share.start, share.reducer

    def read(self, start: int, stop: int) -> Array:
        # A pass can take long; it ends soon after a worker is lost.
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
    """Give the first worker access to the rows of all workers, for `publish_fit`.

    The other workers send the rows that the first one reads. They enter the block, with None, when
    the first worker leaves it.

    Args:
        source: the rows of this worker.
        reducer: the reducer of the workers.

    Yields:
        The rows of all workers on the first worker, None on the others.

    Raises:
        WorkersDiffer: the rows differ in width or dtype.
        WorkerLost, WorkerFailed: see `connect_workers`.

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
    """The requests of the first worker."""

    NOTHING_MORE = 0
    ROWS = 1
    WEIGHTS = 2


class _SentRows(RowSource):
    """All rows: the first worker requests ranges, and each worker sends its own rows."""

    def __init__(self, shared: RowSource, share: RowShare) -> None:
        self.shape, self.dtype, self.is_weighted = shared.shape, shared.dtype, shared.is_weighted
        self._shared, self._share = shared, share
        # Only one reading thread makes a request at a time.
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> Array:
        return self._ask(_Asked.ROWS, start, stop)

    def read_weights(self, start: int, stop: int) -> Array:
        if not self.is_weighted:
            return super().read_weights(start, stop)
        return self._ask(_Asked.WEIGHTS, start, stop)

    def end(self) -> None:
        """End the serving of the other workers."""
        self._share.reducer.sum([_Asked.NOTHING_MORE, 0, 0])

    def send(self) -> None:
        """Send the requested rows until the first worker ends."""
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
        """Gather the requested rows; this worker sends its own."""
        first = min(max(start, self._share.start), self._share.stop)
        last = max(min(stop, self._share.stop), first)
        read: Callable[[int, int], Array] = (
            self._shared.read
            if asked == _Asked.ROWS
            else lambda first, last: self._shared.weights[first:last]
        )
        return self._share.reducer.gather(read(first, last))
