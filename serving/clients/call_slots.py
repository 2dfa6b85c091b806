"""Limit the concurrent calls of this process to a server."""

import asyncio
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from ..errors import DeadlineExceeded
from .operations import Deadline
from .target import Target

#: Seconds after which a waiting call looks for closed event loops. No event announces that a loop
#: was closed.
_LOOK_SECONDS: Final = 0.25


@dataclass(eq=False)
class _Waiter:
    """A waiting call, of a task of an event loop or of a thread."""

    limit: int
    loop: asyncio.AbstractEventLoop | None
    closed: threading.Event | None
    #: Result: True when the call got a slot, False when its client was closed.
    turn: Future[bool] = field(default_factory=Future)

    def end(self, *, has_slot: bool) -> bool:
        """Set the outcome; return False if the call no longer waits."""
        if not self.turn.set_running_or_notify_cancel():
            return False
        self.turn.set_result(has_slot)
        return True


class CallSlots:
    """The concurrent calls of this process to one address, from all threads and tasks.

    Each call gives its limit of concurrent calls, itself included; waiting calls are served in the
    order of their arrival. Calls of a closed event loop do not count.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all calls, in a forked process, which has none of them."""
        self._lock = threading.Lock()
        self._taken = 0
        # The key is a loop, or None for all threads.
        self._taken_of: dict[asyncio.AbstractEventLoop | None, int] = {}
        self._waiting: deque[_Waiter] = deque()

    def take(
        self,
        limit: int,
        deadline: Deadline,
        target: Target,
        closed: threading.Event | None = None,
    ) -> None:
        """Wait until fewer than ``limit`` calls are in progress, and count one more.

        Args:
            limit: the most calls, this one among them.
            deadline: the end of the call.
            target: the model and the address, for errors.
            closed: set when the client is closed; ``end_waits`` then ends the wait.

        Raises:
            DeadlineExceeded: no slot became free before the deadline.
            ServerError: the client was closed.
        """
        waiter = self._enter(limit, target, None, closed)
        if waiter is None:
            return
        try:
            while not waiter.turn.done():
                try:
                    waiter.turn.result(_seconds_to_look(limit, deadline, target))
                except TimeoutError:
                    self._free_closed_loops()
            if not waiter.turn.result():
                raise target.closed_error()
        except BaseException:
            self._leave(waiter)
            raise

    def release(self) -> None:
        """Release the slot of a call of a thread."""
        self._release(None)

    @contextmanager
    def held(self, limit: int, deadline: Deadline, target: Target) -> Iterator[None]:
        """Hold a slot for a call of a thread, by ``take`` and ``release``."""
        self.take(limit, deadline, target)
        try:
            yield
        finally:
            self.release()

    @asynccontextmanager
    async def held_by_task(
        self,
        limit: int,
        deadline: Deadline,
        target: Target,
        closed: threading.Event | None = None,
    ) -> AsyncIterator[None]:
        """Hold a slot for a call of a task of an event loop, by ``take`` and ``release``."""
        loop = asyncio.get_running_loop()
        waiter = self._enter(limit, target, loop, closed)
        if waiter is not None:
            try:
                turn = asyncio.wrap_future(waiter.turn)
                while not turn.done():
                    await asyncio.wait([turn], timeout=_seconds_to_look(limit, deadline, target))
                    self._free_closed_loops()
                if not turn.result():
                    raise target.closed_error()
            except BaseException as error:
                self._leave(waiter)
                # A time limit around the call may end the wait first, without its cause.
                error.add_note(full_message(limit))
                raise
        try:
            yield
        finally:
            # The garbage collector may end a task of a closed loop in a thread that holds the lock.
            # Waiting calls free the slots of such loops.
            if not loop.is_closed():
                self._release(loop)

    def end_waits(self, closed: threading.Event) -> None:
        """End the waits of a closed client, whose event is set."""
        with self._lock:
            ended = [each for each in self._waiting if each.closed is closed]
            for each in ended:
                self._waiting.remove(each)
                each.end(has_slot=False)
            self._serve()

    def _enter(
        self,
        limit: int,
        target: Target,
        loop: asyncio.AbstractEventLoop | None,
        closed: threading.Event | None,
    ) -> _Waiter | None:
        """Take a free slot, or return a place in the queue."""
        with self._lock:
            if closed is not None and closed.is_set():
                raise target.closed_error()
            if self._taken < limit and not self._waiting:
                self._count(loop, 1)
                return None
            waiter = _Waiter(limit, loop, closed)
            self._waiting.append(waiter)
        self._free_closed_loops()
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        """Leave the queue; the slot may have been granted at this moment."""
        with self._lock:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            if not waiter.turn.cancel() and waiter.turn.result():
                self._count(waiter.loop, -1)
            self._serve()

    def _release(self, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            self._count(loop, -1)
            self._serve()

    def _free_closed_loops(self) -> None:
        """Remove the calls of closed loops, because nothing ends these calls."""
        with self._lock:
            for loop in [each for each in self._taken_of if each is not None and each.is_closed()]:
                self._count(loop, -self._taken_of[loop])
            self._serve()

    def _serve(self) -> None:
        """Give free slots to waiting calls, in their order; the caller holds the lock."""
        while self._waiting:
            first = self._waiting[0]
            is_gone = first.loop is not None and first.loop.is_closed()
            if not is_gone and self._taken >= first.limit:
                return
            self._waiting.popleft()
            if not is_gone and first.end(has_slot=True):
                self._count(first.loop, 1)

    def _count(self, loop: asyncio.AbstractEventLoop | None, calls: int) -> None:
        """Add ``calls`` to the calls of a loop; the caller holds the lock."""
        self._taken += calls
        self._taken_of[loop] = self._taken_of.get(loop, 0) + calls
        if not self._taken_of[loop]:
            del self._taken_of[loop]


def _seconds_to_look(limit: int, deadline: Deadline, target: Target) -> float:
    """Seconds until a waiting call looks again. Raises DeadlineExceeded when none are left."""
    left = deadline.left()
    if left <= 0:
        raise target.error(
            DeadlineExceeded, f"no answer in {deadline.seconds:g} s; {full_message(limit)}"
        )
    return min(left, _LOOK_SECONDS)


def full_message(limit: int) -> str:
    """The message of a call that got no slot before its deadline."""
    return f"all of connection_in_flight={limit} calls to the server were under way"


_SLOTS: Final[weakref.WeakValueDictionary[str, CallSlots]] = weakref.WeakValueDictionary()
_SLOTS_LOCK = threading.Lock()


def slots_of(address: str) -> CallSlots:
    """The slots that all calls of this process to an address share."""
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
