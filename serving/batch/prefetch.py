"""Work that goes on in other threads while the rows before it are dealt with, in bounded memory."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")

#: Seconds after which a thread that waits for room looks whether it is still wanted.
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True)
class _Failure:
    error: BaseException


_END: Final = object()


def prefetch(items: Generator[_A], count: int) -> Generator[_A]:
    """The same items, made by a thread of its own that is up to ``count`` of them ahead.

    What the thread raises is raised here. When this generator is closed, so is ``items``.
    """
    ready: queue.Queue[Any] = queue.Queue(count)
    is_over = threading.Event()

    def offer(item: Any) -> bool:
        while not is_over.is_set():
            try:
                ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            with closing(items):
                if all(offer(item) for item in items):
                    offer(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are wanted
            offer(_Failure(error))

    maker = threading.Thread(target=make, name="tfkmeans-reader", daemon=True)
    maker.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        is_over.set()
        maker.join()


def map_in_order(
    function: Callable[[_A], _B], items: Iterable[_A], at_a_time: int
) -> Generator[_B]:
    """``function`` of each item, in order, up to ``at_a_time`` of them in threads at once."""
    pool = ThreadPoolExecutor(at_a_time, "tfkmeans-scorer")
    waiting: deque[Future[_B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            # One more than there are threads, so that none of them waits for the consumer.
            if len(waiting) > at_a_time:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # A call that is under way may be one that waits for a server.
        pool.shutdown(wait=False, cancel_futures=True)
