"""One client for several event loops, each with its own connections."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from .operations import Deadline, Operation

if TYPE_CHECKING:
    from .async_client import AsyncConnection


class ConnectionPerLoop:
    """Connections for each event loop; no loop can use those of another.

    Args:
        connect: makes connections for the running loop.
    """

    def __init__(self, connect: Callable[[], "AsyncConnection"]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._connections: dict[asyncio.AbstractEventLoop, AsyncConnection] = {}
        self._closers: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
        self._closed = False

    async def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise operations[0].target.closed_error()
            connection = self._connections.get(loop)
            is_new = connection is None
            if connection is None:
                for each in [each for each in self._connections if each.is_closed()]:
                    del self._connections[each], self._closers[each]
                connection = self._connections[loop] = self._connect()
                self._closers[loop] = _close_with_loop(connection)
        if is_new:
            await anext(self._closers[loop])
        return await connection.send(operations, deadline)

    async def close(self) -> None:
        """Close the connections of all running loops; a call in progress ends with ServerError."""
        with self._lock:
            self._closed = True
        for loop, closer in self._closers.items():
            if loop is asyncio.get_running_loop():
                await closer.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_end(closer), loop))


async def _close_with_loop(connection: "AsyncConnection") -> AsyncGenerator[None]:
    """A generator that closes connections when it ends.

    ``asyncio.run`` ends the generators of its loop before it closes the loop.
    """
    try:
        yield
    finally:
        await connection.close()


async def _end(closer: AsyncGenerator[None]) -> None:
    await closer.aclose()
