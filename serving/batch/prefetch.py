"""Work done ahead in other threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Semaphore
from typing import Any, Final, TypeVar

from kmeans_module.signal_waits import result_of

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
        while (item := result_of(waiting.popleft())) is not _END:
            waiting.append(pool.submit(next, items, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()


def map_in_order(
    function: Callable[[_A], _B],
    items: Iterable[_A],
    at_a_time: int,
    ahead: int = 1,
    unanswered: int | None = None,
) -> Generator[_B]:
    """``function`` of each item, in order, up to ``at_a_time`` of them in threads at once.

    Another thread takes the items and hands them to these, so that all go on while the consumer is
    busy. ``ahead`` more are taken, at most, than are answered at a time, and of these at most
    ``unanswered`` before they are answered; None is all. What ``items`` raises is raised after
    what it made.
    """
    pool = ThreadPoolExecutor(at_a_time, "tfkmeans-scorer")
    room = Semaphore(at_a_time + (ahead if unanswered is None else unanswered))

    def hand() -> Generator[Future[_B]]:
        room.acquire()
        for item in items:
            answer = pool.submit(function, item)
            answer.add_done_callback(lambda _: room.release())
            yield answer
            room.acquire()

    handed = prefetch(hand(), at_a_time + ahead)
    try:
        for answer in handed:
            yield result_of(answer)
    finally:
        room.release()  # for the thread that takes the items, which may wait for it
        handed.close()
        # A call that is under way may be one that waits for a server.
        pool.shutdown(wait=False, cancel_futures=True)
