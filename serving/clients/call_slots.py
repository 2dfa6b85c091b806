"""How many calls of this process are under way to a server at a time."""

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from ..errors import DeadlineExceeded
from .operations import Deadline
from .target import Target


class CallSlots:
    """The calls of this process that are under way to one address, of all threads and tasks.

    Each call says how many it lets be under way with itself among them; those that wait are served
    in the order in which they came.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all calls, in a process that was forked and has none of them."""
        self._lock = threading.Lock()
        self._taken = 0
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def take(self, limit: int, deadline: Deadline, target: Target) -> None:
        """Wait until fewer than ``limit`` calls are under way, and count one more.

        Raises:
            DeadlineExceeded: there were so many until the deadline.
        """
        turn = self._queue(limit)
        if turn is None:
            return
        try:
            turn.result(deadline.remaining(target))
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                raise _full_error(limit, deadline, target) from None
            raise

    def release(self) -> None:
        """Count one call less."""
        with self._lock:
            self._taken -= 1
            while self._waiting and self._taken < self._waiting[0][0]:
                _, turn = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    self._taken += 1
                    turn.set_result(None)

    @contextmanager
    def held(self, limit: int, deadline: Deadline, target: Target) -> Iterator[None]:
        """One call, for a thread; as ``take`` and ``release``."""
        self.take(limit, deadline, target)
        try:
            yield
        finally:
            self.release()

    @asynccontextmanager
    async def held_by_task(
        self, limit: int, deadline: Deadline, target: Target
    ) -> AsyncIterator[None]:
        """One call, for a task of an event loop; as ``take`` and ``release``."""
        turn = self._queue(limit)
        if turn is not None:
            try:
                async with asyncio.timeout(deadline.remaining(target)):
                    await asyncio.wrap_future(turn)
            except BaseException as error:
                self._leave(turn)
                if isinstance(error, TimeoutError):
                    raise _full_error(limit, deadline, target) from None
                raise
        try:
            yield
        finally:
            self.release()

    def _queue(self, limit: int) -> Future[None] | None:
        """Take a slot that is free, or give the future that ends when one was taken."""
        with self._lock:
            if self._taken < limit and not self._waiting:
                self._taken += 1
                return None
            turn: Future[None] = Future()
            self._waiting.append((limit, turn))
            return turn

    def _leave(self, turn: Future[None]) -> None:
        """Wait no longer; the turn may have come in this moment."""
        if not turn.cancel():
            self.release()


def _full_error(limit: int, deadline: Deadline, target: Target) -> Exception:
    return target.error(
        DeadlineExceeded,
        f"no answer in {deadline.seconds:g} s; all of connection_in_flight={limit} calls to the "
        "server were under way",
    )


_SLOTS: Final[weakref.WeakValueDictionary[str, CallSlots]] = weakref.WeakValueDictionary()
_SLOTS_LOCK = threading.Lock()


def slots_of(address: str) -> CallSlots:
    """The slots that all calls of this process to this address share."""
    with _SLOTS_LOCK:
        slots = _SLOTS.get(address)
        if slots is None:
            slots = _SLOTS[address] = CallSlots()
        return slots


def _reset_after_fork() -> None:
    global _SLOTS_LOCK  # noqa: PLW0603 - a thread of the parent may have held it
    _SLOTS_LOCK = threading.Lock()
    for slots in list(_SLOTS.values()):
        slots.reset()


if hasattr(os, "register_at_fork"):  # not on every system
    os.register_at_fork(after_in_child=_reset_after_fork)
