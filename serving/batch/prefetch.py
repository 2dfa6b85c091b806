"""Work done ahead in other threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")

_END: Final = object()


def prefetch(items: Generator[_A], count: int) -> Generator[_A]:
    """The same items, made by a thread of its own that is up to ``count`` of them ahead.

    What the thread raises is raised here. When this generator is closed, so is ``items``.
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

    ``ahead`` more are handed to the threads, so that these go on while the consumer is busy. What
    ``items`` raises is raised after what it made.
    """

    def fail(error: Exception) -> _B:
        raise error

    pool = ThreadPoolExecutor(at_a_time, "tfkmeans-scorer")
    waiting: deque[Future[_B]] = deque()
    source = iter(items)
    is_over = False
    try:
        while not is_over:
            try:
                waiting.append(pool.submit(function, next(source)))
            except StopIteration:
                is_over = True
            except Exception as error:  # noqa: BLE001 - it is raised in its turn
                waiting.append(pool.submit(fail, error))
                is_over = True
            if len(waiting) >= at_a_time + ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # A call that is under way may be one that waits for a server.
        pool.shutdown(wait=False, cancel_futures=True)
