"""HTTP exchanges with servers: attempts, pauses between them, and one deadline around all."""

import asyncio
import gzip
import os
import socket
import ssl
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
    ServingError,
)
from . import rest_messages
from .call_slots import slots_of
from .concurrency import LoopThread, gather_in_order
from .connection_failures import describe_failure, exception_cause, timeout_cause
from .connection_per_loop import ConnectionPerLoop
from .operations import Deadline, Operation, Predict
from .options import Limits, RestOptions, Tls, parse_headers
from .rest_messages import HttpRequest
from .retries import Retries
from .rotation import REFUSED_SECONDS, SILENT_SECONDS, Rotation
from .target import Address, Target, parse_addresses, without_password

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

#: Bytes of values, or of JSON, that are written or read in less time than a thread takes to start.
_SMALLEST_IN_THREAD: Final = 4096

_T = TypeVar("_T")


class _RestSettings:
    """What connections to the servers need, of whichever event loop they are."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        self.limits = limits
        self.tls = options.get("tls")
        self.gzip_bodies = options.get("gzip", False)
        self.headers = parse_headers(options.get("headers"))
        self.proxy = rest_messages.parse_proxy(options.get("proxy"), target)
        scheme = "http" if self.tls is None else "https"
        self.urls = [
            rest_messages.base_url(each, scheme, target) for each in parse_addresses(address)
        ]
        self.is_encrypted = any(url.startswith("https:") for url in self.urls)
        # Reading the authorities that the system trusts takes a while; plain HTTP needs none.
        self._verify = (self.tls or Tls()).context() if self.is_encrypted else False

    def open(self) -> httpx.AsyncClient:
        """A client of HTTP, without a connection yet."""
        transport = httpx.AsyncHTTPTransport(
            verify=self._verify,
            proxy=self.proxy,
            socket_options=_KEEPALIVE,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        # The deadline is around a whole exchange. httpx has time limits for each step of it only,
        # and a server that sends a byte now and then would never meet them.
        return httpx.AsyncClient(transport=transport, headers=self.headers, timeout=None)

    def place(self, url: str) -> tuple[str, Tls | None]:
        """How errors name a server and the way to it, and its TLS."""
        place = without_password(url)
        if self.proxy is not None:
            place += f" by the proxy {self.proxy.url}"  # without its password
        return place, (self.tls or Tls()) if url.startswith("https:") else None

    @property
    def extensions(self) -> dict[str, Any]:
        """What httpx is told with each request besides."""
        if self.tls is None or self.tls.server_name is None:
            return {}
        return {"sni_hostname": self.tls.server_name}


class _LoopConnection:
    """Connections to servers that take turns, for one event loop."""

    def __init__(self, settings: _RestSettings) -> None:
        self._settings = settings
        self._limits = settings.limits
        self._rotation = Rotation(settings.urls)
        self._slots = {url: slots_of(url) for url in settings.urls}
        self._under_way: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._http = settings.open()

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
        failure: ServingError | None = None
        retries = Retries(deadline)
        try:
            async with self._timeout(deadline.remaining(target)):
                size = operation.size if isinstance(operation, Predict) else 0
                request = await _run_in_thread(rest_messages.build_request, operation, size=size)
                while True:
                    asked = self._rotation.next()
                    try:
                        response, body = await self._attempt(request, asked, deadline)
                    except ServerUnavailable as error:
                        failure, pause = error, retries.next_pause(error)
                    else:
                        if response.is_success:
                            return await _run_in_thread(
                                rest_messages.read_answer, operation, body, size=len(body)
                            )
                        failure = rest_messages.error_of(
                            response.status_code, response.reason_phrase, body, target
                        )
                        seconds = rest_messages.retry_after(response.headers)
                        pause = retries.next_pause(failure, asked=seconds)
                    asked = None
                    await asyncio.sleep(pause)
        except TimeoutError as late:
            if self._closed:
                raise target.closed_error() from None
            waits = getattr(late.__cause__, "__notes__", [])  # for a slot
            if asked is not None and not waits:
                self._rotation.skip(asked, SILENT_SECONDS)
            message = "; ".join([f"no answer in {deadline.seconds:g} s", *waits])
            if failure is not None:
                message += f"; last: {failure.message}"
            raise target.error(DeadlineExceeded, message) from failure

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

    async def _attempt(
        self, request: HttpRequest, url: str, deadline: Deadline
    ) -> tuple[httpx.Response, bytes]:
        """What a server answers, and the body."""
        target = request.target
        headers, body = {}, request.body
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._settings.gzip_bodies and len(body) >= _SMALLEST_COMPRESSED:
                headers["Content-Encoding"] = "gzip"
                body = await asyncio.to_thread(gzip.compress, body, _GZIP_LEVEL)
        slots, limit = self._slots[url], self._limits.connection_in_flight
        seconds = self._connect_seconds(deadline, target)
        try:
            async with (
                slots.held_by_task(limit, deadline, target),
                self._http.stream(
                    request.method,
                    url + request.path,
                    content=body,
                    headers=headers,
                    extensions=self._settings.extensions,
                    timeout=httpx.Timeout(None, connect=seconds),
                ) as response,
            ):
                return response, await self._read(response, target)
        except _CONNECTION_ERRORS as error:
            is_silent = isinstance(error, httpx.ConnectTimeout)
            self._rotation.skip(url, SILENT_SECONDS if is_silent else REFUSED_SECONDS)
            place, tls = self._settings.place(url)
            cause = exception_cause(error)
            if is_silent:
                cause = f"{timeout_cause(error)} in {seconds:.2g} s"
            message = describe_failure(place, tls, cause)
            raise target.error(ServerUnavailable, message) from error
        except httpx.HTTPError as error:
            message = f"{type(error).__name__}: {error}"
            raise target.error(ServerError, message) from error

    def _connect_seconds(self, deadline: Deadline, target: Target) -> float:
        """The seconds that a connection may take to be made.

        Leaves time for the other servers when one takes no connection. The limit of httpx comes
        before ours: a handshake that we cancel leaves its socket open.
        """
        return min(
            deadline.seconds / len(self._rotation), _CONNECT_SHARE * deadline.remaining(target)
        )

    async def _read(self, response: httpx.Response, target: Target) -> bytes:
        blocks, size = [], 0
        _acknowledge_at_once(response)
        async for block in response.aiter_bytes():
            _acknowledge_at_once(response)
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


class AsyncRestConnection(ConnectionPerLoop):
    """Connections for each event loop that asks."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        super().__init__(partial(_LoopConnection, _RestSettings(address, target, limits, options)))


class RestConnection:
    """The same for threads, which share it: an event loop in a thread of its own.

    A forked process, which has no thread but one, goes on with a loop and connections of its own.
    """

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        self._settings = _RestSettings(address, target, limits, options)
        self.open()
        _CONNECTIONS.add(self)

    def open(self) -> None:
        """A loop and connections, of this process."""
        self._connection = _LoopConnection(self._settings)
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


def _acknowledge_at_once(response: httpx.Response) -> None:
    """Acknowledge what has come of an answer now, and not up to 40 ms later.

    TensorFlow Serving's HTTP writes an answer in pieces of 16 KiB, and Nagle's algorithm holds one
    back until that before it was acknowledged. The system forgets the option, which is therefore
    set for each piece.
    """
    option = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
    connection = response.extensions["network_stream"].get_extra_info("socket")
    if option is not None and connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)


async def _run_in_thread(act: Callable[..., _T], *values: Any, size: int) -> _T:
    """What ``act`` makes of values of so many bytes.

    JSON takes its time: in a thread, so that the loop goes on, unless a thread would take longer.
    """
    if size < _SMALLEST_IN_THREAD:
        return act(*values)
    return await asyncio.to_thread(act, *values)
