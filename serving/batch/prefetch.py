"""Work done ahead in other threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")

_END: Final = object()


def prefetch(items: Generator[_A], count: int) -> Generator[_A]:
    """Yield the same items, made by a separate thread that is up to ``count`` items ahead.

    Exceptions of the thread are raised here. Closing this generator closes ``items``.
    """
    pool = ThreadPoolExecutor(1, "tfkmeans-reader")
    waiting: deque[Future[Any]] = deque()
    try:
        waiting.extend(pool.submit(next, items, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, items, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()


def map_in_order(
    function: Callable[[_A], _B], items: Iterable[_A], at_a_time: int, ahead: int = 1
) -> Generator[_B]:
    """``function`` of each item, in order, up to ``at_a_time`` of them in threads at once.

    Another thread takes the items and hands them to these, so that all go on while the consumer is
    busy. ``ahead`` more are taken, at most, than are answered at a time. What ``items`` raises is
    raised after what it made.
    """
    pool = ThreadPoolExecutor(at_a_time, "tfkmeans-scorer")
    handed = prefetch((pool.submit(function, item) for item in items), at_a_time + ahead)
    try:
        for answer in handed:
            yield answer.result()
    finally:
        handed.close()
        # A call that is under way may be one that waits for a server.
        pool.shutdown(wait=False, cancel_futures=True)
