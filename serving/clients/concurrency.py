"""Await several coroutines concurrently, and run an event loop in its own thread."""

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_V = TypeVar("_V")

#: Event loops that a forked process has from its parent, with all that they hold. They share
#: sockets with the parent, so closing them here would disturb it.
_ABANDONED: Final[list[asyncio.AbstractEventLoop]] = []


async def gather_in_order(
    act: Callable[[_V], Awaitable[_T]], values: Sequence[_V], limit: int
) -> list[_T]:
    """Return the results of ``act`` for the values, with at most ``limit`` concurrent calls.

    The first failure cancels the others and is raised.
    """
    if len(values) == 1:
        return [await act(values[0])]
    slots = asyncio.Semaphore(limit)

    async def act_in_turn(value: _V) -> _T:
        async with slots:
            return await act(value)

    tasks = [asyncio.create_task(act_in_turn(value)) for value in values]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _UnwaitedThreads(ThreadPoolExecutor):
    """Threads that a loop does not wait for when it ends: resolving a name can take long."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)


class LoopThread:
    """Runs coroutines for callers of any thread.

    It starts with the first coroutine, and ends with ``stop`` or when it is garbage collected.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: weakref.finalize[..., LoopThread] | None = None
        self._stopped = False

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine and return its result; cancel it when the caller is interrupted.

        Raises:
            CancelledError: ``stop`` was called before or meanwhile.
        """
        with self._lock:
            if self._stopped:
                coroutine.close()
                raise CancelledError
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop or self._start())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(_UnwaitedThreads(thread_name_prefix=self._name))
        # A daemon thread: a client that is not closed must not keep the program running.
        thread = threading.Thread(target=_run, args=(self._loop,), name=self._name, daemon=True)
        thread.start()
        self._stopping = weakref.finalize(self, _stop, self._loop, thread)
        return self._loop

    def stop(self) -> None:
        """End the thread and close the loop; a second call has no effect."""
        with self._lock:
            self._stopped = True
        if self._stopping is not None:
            self._stopping()

    def abandon(self) -> None:
        """Forget the thread, in a forked process, which does not have it."""
        if self._loop is not None and self._stopping is not None:
            self._stopping.detach()
            _ABANDONED.append(self._loop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    # When the loop stops, the runner ends its remaining tasks and closes it.
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    # The garbage collector may run this in the very thread that is to end.
    if thread is not threading.current_thread():
        thread.join()
