"""HTTP exchanges with servers: attempts and pauses within one deadline."""

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

#: ssl.SSLError: httpx passes on TLS errors after the handshake unchanged.
_CONNECTION_ERRORS: Final = (
    httpx.NetworkError,
    httpx.ConnectTimeout,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
    ssl.SSLError,
)

# Keep-alive probes find a dead connection while it is idle.
_KEEPALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)  # not on every system
    ),
]

#: The share of the remaining time for making a connection.
_CONNECT_SHARE: Final = 0.9

#: Compression hardly shrinks a smaller body.
_SMALLEST_COMPRESSED: Final = 1024
#: The fastest level: bodies are mostly digits, where higher levels save little more.
_GZIP_LEVEL: Final = 1

#: Bytes of values or of JSON that take less time to write or read than a thread to start.
_SMALLEST_IN_THREAD: Final = 4096

_T = TypeVar("_T")


class _RestSettings:
    """The settings of connections to the servers, for any event loop."""

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
        # Loading the authorities of the system is slow; plain HTTP needs none.
        self._verify = (self.tls or Tls()).context() if self.is_encrypted else False

    def open(self) -> httpx.AsyncClient:
        """Create an HTTP client, without a connection yet."""
        transport = httpx.AsyncHTTPTransport(
            verify=self._verify,
            proxy=self.proxy,
            socket_options=_KEEPALIVE,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        # The deadline covers a whole exchange. The time limits of httpx cover single steps, and a
        # server that sends a byte now and then would never exceed them.
        return httpx.AsyncClient(transport=transport, headers=self.headers, timeout=None)

    def place(self, url: str) -> tuple[str, Tls | None]:
        """The name of a server and its proxy for errors, and the TLS settings."""
        place = without_password(url)
        if self.proxy is not None:
            place += f" by the proxy {self.proxy.url}"  # without its password
        return place, (self.tls or Tls()) if url.startswith("https:") else None

    @property
    def extensions(self) -> dict[str, Any]:
        """The extensions of httpx for each request."""
        if self.tls is None or self.tls.server_name is None:
            return {}
        return {"sni_hostname": self.tls.server_name}


class _LoopConnection:
    """Connections to servers that are used in turn, for one event loop."""

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

        No operation changes the server, so each can be repeated.

        Raises:
            ServingError: any class of ``serving.errors``.
        """
        target = operation.target
        if self._closed:
            raise target.closed_error()
        asked: str | None = None  # the server whose answer is missing
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
        """A time limit that ``close`` ends early."""
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
        """Send a request once; return the response and its body."""
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
        """The seconds for making a connection.

        This leaves time for the other servers if a server accepts no connection. The limit of httpx
        must end before ours: cancelling a handshake leaves its socket open.
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
        """Close the connections; calls in progress end with ServerError."""
        self._closed = True
        for timeout in self._under_way:
            if not timeout.expired():
                timeout.reschedule(0)
        await self._idle.wait()
        await self._http.aclose()


class AsyncRestConnection(ConnectionPerLoop):
    """Connections for each event loop."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        super().__init__(partial(_LoopConnection, _RestSettings(address, target, limits, options)))


class RestConnection:
    """Connections that threads share, on an event loop in its own thread.

    A forked process has only one thread, and continues with its own loop and connections.
    """

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: RestOptions
    ) -> None:
        self._settings = _RestSettings(address, target, limits, options)
        self.open()
        _CONNECTIONS.add(self)

    def open(self) -> None:
        """Start a loop and connections for this process."""
        self._connection = _LoopConnection(self._settings)
        self.loop = LoopThread("RestClient")

    def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        try:
            return self.loop.run(self._connection.send(operations, deadline))
        except CancelledError:
            raise operations[0].target.closed_error() from None

    def close(self) -> None:
        """Close the connections; calls in progress end with ServerError."""
        self.loop.run(self._connection.close())
        self.loop.stop()


_CONNECTIONS: Final[weakref.WeakSet[RestConnection]] = weakref.WeakSet()


def _reopen_after_fork() -> None:
    """Replace the loops and connections of the parent process, whose threads do not exist here."""
    for connection in list(_CONNECTIONS):
        connection.loop.abandon()
        connection.open()


if hasattr(os, "register_at_fork"):  # not on every system
    os.register_at_fork(after_in_child=_reopen_after_fork)


def _acknowledge_at_once(response: httpx.Response) -> None:
    """Acknowledge received data at once, not up to 40 ms later.

    TensorFlow Serving writes an answer over HTTP in pieces of 16 KiB, and Nagle's algorithm delays
    a piece until the previous one is acknowledged. The system resets the option, so it is set for
    each piece.
    """
    option = getattr(socket, "TCP_QUICKACK", None)  # exists on Linux only
    connection = response.extensions["network_stream"].get_extra_info("socket")
    if option is not None and connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, 1)


async def _run_in_thread(act: Callable[..., _T], *values: Any, size: int) -> _T:
    """Call ``act`` with values of ``size`` bytes.

    Large JSON is processed in a thread, so that the loop is not blocked; small JSON is not, as it
    is faster than the start of a thread.
    """
    if size < _SMALLEST_IN_THREAD:
        return act(*values)
    return await asyncio.to_thread(act, *values)
