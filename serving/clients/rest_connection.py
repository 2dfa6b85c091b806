"""HTTP exchanges with servers: attempts, pauses between them, and one deadline around all."""

import asyncio
import gzip
import itertools
import math
import os
import random
import socket
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import httpx

from ..errors import (
    DeadlineExceeded,
    ResourceExhausted,
    ServerError,
    ServerUnavailable,
)
from . import rest_messages
from .concurrency import LoopThread, gather_in_order
from .operations import Deadline, Operation, Predict
from .options import Limits, RestOptions, Tls, parse_headers
from .rest_messages import HttpRequest
from .target import Address, Target, parse_addresses

#: Seconds before the second attempt, the third, …: the rule of the gRPC client. Retries that were
#: in step would hit a server that has trouble all at once, so that each is varied by a fifth.
PAUSES: Final = (0.1, 0.2, 0.4, 0.8)
_JITTER: Final = 0.2

#: ssl.SSLError: what the other end complains of after the handshake comes through httpx as it is.
_CONNECTION_ERRORS: Final = (
    httpx.NetworkError,
    httpx.ConnectTimeout,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    ssl.SSLError,
)

# A connection whose other end is gone without a word is found out while it is idle.
_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # not on every system
    ),
]

#: The share of the time left that a connection may take to be made.
_CONNECT_SHARE: Final = 0.9

#: A smaller body would hardly become smaller.
_SMALLEST_COMPRESSED: Final = 1024
#: The fastest: what gzip is to save is mostly digits, where more effort saves little more.
_GZIP_LEVEL: Final = 1

#: Seconds that a server which did not answer is passed over, where there are others.
_SKIP_SECONDS: Final = 10.0

#: Bytes of values, or of JSON, that are written or read in less time than a thread takes to start.
_SMALLEST_IN_THREAD: Final = 4096

_T = TypeVar("_T")


class _Rotation:
    """Servers that take turns; one that did not answer is passed over while others do."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._last = dict.fromkeys(urls, -math.inf)  # when it did not answer
        self._cycle = itertools.cycle(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def next(self) -> str:
        since = time.monotonic() - _SKIP_SECONDS
        turn = itertools.islice(self._cycle, len(self))
        return next((url for url in turn if self._last[url] <= since), None) or next(self._cycle)

    def skip(self, url: str) -> None:
        self._last[url] = time.monotonic()


class AsyncRestConnection:
    """Connections to servers that take turns, for an event loop."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        tls = options.get("tls")
        headers = parse_headers(options.get("headers"))
        scheme = "http" if tls is None else "https"
        urls = [rest_messages.base_url(each, scheme, target) for each in parse_addresses(address)]
        self._rotation = _Rotation(urls)
        self._limits = limits
        self._gzip_bodies = options.get("gzip", False)
        self._extensions = (
            {} if tls is None or tls.server_name is None else {"sni_hostname": tls.server_name}
        )
        https = any(url.startswith("https:") for url in urls)
        transport = httpx.AsyncHTTPTransport(
            # Reading the authorities that the system trusts takes a while; plain HTTP needs none.
            verify=(tls or Tls()).context() if https else False,
            socket_options=_KEEPALIVE,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        self._under_way: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        # The deadline is around a whole exchange. httpx has time limits for each step of it only,
        # and a server that sends a byte now and then would never meet them.
        self._http = httpx.AsyncClient(transport=transport, headers=headers, timeout=None)

    async def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        return await gather_in_order(
            partial(self._call, deadline=deadline), operations, self._limits.in_flight
        )

    async def _call(self, operation: Operation, deadline: Deadline) -> Any:
        """The answer to an operation.

        No operation changes anything on the server, so that each may be repeated.

        Raises:
            ServingError: any class of ``serving.errors``.
        """
        target = operation.target
        if self._closed:
            raise target.closed_error()
        asked: str | None = None  # the server that has not answered yet
        failure: ServerUnavailable | None = None
        try:
            async with self._timeout(deadline.remaining(target)):
                size = operation.size if isinstance(operation, Predict) else 0
                request = await _run_in_thread(rest_messages.build_request, operation, size=size)
                for pause in (0.0, *PAUSES):
                    await asyncio.sleep(pause * random.uniform(1 - _JITTER, 1 + _JITTER))
                    # Leaves time for the other servers when one takes no connection. The limit of
                    # httpx comes before ours: a handshake that we cancel leaves its socket open.
                    connect = min(
                        deadline.seconds / len(self._rotation),
                        _CONNECT_SHARE * deadline.remaining(target),
                    )
                    asked = self._rotation.next()
                    try:
                        body = await self._attempt(request, asked, connect)
                    except ServerUnavailable as error:
                        asked, failure = None, error
                        continue
                    return await _run_in_thread(
                        rest_messages.read_answer, operation, body, size=len(body)
                    )
        except TimeoutError:
            if self._closed:
                raise target.closed_error() from None
            if asked is not None:
                self._rotation.skip(asked)
            message = f"no answer in {deadline.seconds:g} s"
            if failure is not None:
                message += f"; last: {failure.message}"
            raise target.error(DeadlineExceeded, message) from failure
        assert failure is not None
        raise failure

    @asynccontextmanager
    async def _timeout(self, seconds: float) -> AsyncIterator[None]:
        """A time limit, which ``close`` brings forward."""
        async with asyncio.timeout(seconds) as timeout:
            self._under_way.add(timeout)
            self._idle.clear()
            try:
                yield
            finally:
                self._under_way.remove(timeout)
                if not self._under_way:
                    self._idle.set()

    async def _attempt(self, request: HttpRequest, url: str, connect: float) -> bytes:
        target = request.target
        headers, body = {}, request.body
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._gzip_bodies and len(body) >= _SMALLEST_COMPRESSED:
                headers["Content-Encoding"] = "gzip"
                body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        try:
            async with self._http.stream(
                request.method,
                url + request.path,
                content=body,
                headers=headers,
                extensions=self._extensions,
                timeout=httpx.Timeout(None, connect=connect),
            ) as response:
                content = await self._read(response, target)
        except _CONNECTION_ERRORS as error:
            self._rotation.skip(url)
            message = f"{type(error).__name__}: {error}"
            raise target.error(ServerUnavailable, message) from error
        except httpx.HTTPError as error:
            message = f"{type(error).__name__}: {error}"
            raise target.error(ServerError, message) from error
        if not response.is_success:
            raise rest_messages.error_of(
                response.status_code, response.reason_phrase, content, target
            )
        return content

    async def _read(self, response: httpx.Response, target: Target) -> bytes:
        blocks, size = [], 0
        async for block in response.aiter_bytes():
            size += len(block)
            if size > self._limits.answer_bytes:
                raise target.error(
                    ResourceExhausted,
                    f"the answer is larger than answer_bytes={self._limits.answer_bytes}; "
                    "send fewer rows in one call, or raise the limit",
                )
            blocks.append(block)
        return b"".join(blocks)

    async def close(self) -> None:
        """Close the connections; what is under way ends with ServerError."""
        self._closed = True
        for timeout in self._under_way:
            if not timeout.expired():
                timeout.reschedule(0)
        await self._idle.wait()
        await self._http.aclose()


class RestConnection:
    """The same for threads, which share it: an event loop in a thread of its own.

    A forked process, which has no thread but one, goes on with a loop and connections of its own.
    """

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        self._connect = partial(AsyncRestConnection, address, target, limits, options)
        self.open()
        _CONNECTIONS.add(self)

    def open(self) -> None:
        """A loop and connections, of this process."""
        self._connection = self._connect()
        self.loop = LoopThread("RestClient")

    def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        try:
            return self.loop.run(self._connection.send(operations, deadline))
        except CancelledError:
            raise operations[0].target.closed_error() from None

    def close(self) -> None:
        """Close the connections; what is under way ends with ServerError."""
        self.loop.run(self._connection.close())
        self.loop.stop()


_CONNECTIONS: Final[weakref.WeakSet[RestConnection]] = weakref.WeakSet()


def _reopen_after_fork() -> None:
    """Leave the loops and the connections to the process that has their threads."""
    for connection in list(_CONNECTIONS):
        connection.loop.abandon()
        connection.open()


if hasattr(os, "register_at_fork"):  # not on every system
    os.register_at_fork(after_in_child=_reopen_after_fork)


async def _run_in_thread(act: Callable[..., _T], *values: Any, size: int) -> _T:
    """What ``act`` makes of values of so many bytes.

    JSON takes its time: in a thread, so that the loop goes on, unless a thread would take longer.
    """
    if size < _SMALLEST_IN_THREAD:
        return act(*values)
    return await asyncio.to_thread(act, *values)
