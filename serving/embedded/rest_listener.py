"""The HTTP server of the REST API."""

import asyncio
import errno
import re
import socket
from functools import partial
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.embedded.http_responses import RAW_TARGET, error_page
from serving.embedded.request_monitor import RequestMonitor, request_line
from serving.embedded.throttled_log import ThrottledLog

#: TF Serving does not close idle connections; uvicorn's default of 5 s would break pooled
#: connections.
_KEEP_ALIVE = 3600
#: Seconds that a stopping server waits for the rest of a body, because such a request is not yet
#: accepted. A request that got 100 Continue is accepted, and has the whole grace period.
_BODY_GRACE = 3.0
#: Input that the parser accepts but TF Serving does not: no method, or wrong white space.
_NO_REQUEST_LINE = re.compile(rb"(?![!#$%&'*+.^_`|~0-9A-Za-z]+ [^ ]+ [^ ]+\n)[^\n]*\n")
_UPGRADE = re.compile(rb"\nupgrade:", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)(?=\r\n|$)", re.IGNORECASE)
#: The backlog of connections in the kernel, and the number that the loop accepts at a time. Without
#: free descriptors, it fails this many times per second.
_BACKLOG, _ACCEPTS_AT_ONCE = 2048, 16
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
#: The most bytes of the request line and headers.
_MAX_HEAD = 64 * 2**10


class _Server(uvicorn.Server):
    """uvicorn's server, with an event that is set when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()


class _JoiningTransport:
    """A transport that sends the head of an answer together with its body.

    uvicorn writes them separately: the client would receive two packets.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle
        self._head = b""
        self._has_head = False

    def write(self, data: bytes) -> None:
        """Send the data, or keep it if it is a head with a following body."""
        cycle = self._cycle
        is_head = cycle.response_started and not self._has_head
        self._has_head = cycle.response_started
        if is_head and cycle.expected_content_length and cycle.scope["method"] != "HEAD":
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with the raw target in the scope and the error page of TF Serving."""

    def __init__(
        self,
        *arguments: Any,
        monitor: RequestMonitor,
        max_connections: int,
        too_many: ThrottledLog,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._monitor = monitor
        self._max_connections = max_connections
        self._too_many = too_many
        self._is_reading_head = False
        self._head_size = 0
        # HTTP/1.2 is treated as 1.1. Data after the last request of a connection are ignored.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)

    # Parser callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_reading_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        self._is_reading_head = False
        scope: Any = self.scope
        scope[RAW_TARGET] = self.url
        # The application routes by the raw target, which uvicorn may not be able to parse.
        self.url = b"/"
        super().on_headers_complete()
        joining: Any = _JoiningTransport(self.transport, self.cycle)
        self.cycle.transport = joining
        if self.parser.should_upgrade():
            # The parser reads nothing after CONNECT.
            self.cycle.keep_alive = False

    # Transport callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self._too_many.tell(f"more than {self._max_connections} connections")
            self._close_with_page(HTTPStatus.SERVICE_UNAVAILABLE)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if not self._is_in_body():
            if not self._is_reading_head:
                if _NO_REQUEST_LINE.match(data):
                    self._refuse(HTTPStatus.BAD_REQUEST, "no HTTP request line")
                    return
                data = _as_one_reads_it(data)
            data = _without_upgrade(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserInvalidMethodError:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "a method that HTTP does not have")
            return
        except httptools.HttpParserError as error:
            is_relative = "in url schema" in str(error)
            status = HTTPStatus.NOT_FOUND if is_relative else HTTPStatus.BAD_REQUEST
            self._refuse(status, f"no HTTP request: {error}")
            return
        self._head_size += len(data)
        if self._is_reading_head and self._head_size > _MAX_HEAD:
            self._refuse(HTTPStatus.BAD_REQUEST, f"a request head of more than {_MAX_HEAD} bytes")

    def _is_in_body(self) -> bool:
        return not self._is_reading_head and self.cycle is not None and self.cycle.more_body

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio keeps the transport for True
        """Answer a complete request even if the sender has closed its side; then close ours."""
        cycle = self.cycle
        is_owed = cycle is not None and not cycle.more_body and not cycle.response_complete
        if is_owed:
            cycle.keep_alive = False
        return is_owed

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer input that is not HTTP, and close the connection."""
        self._monitor.log_refusal(reason, status)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # A previous request has not been answered yet.
                cycle.keep_alive = False
                self.flow.pause_reading()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self._close_with_page(status)

    def _close_with_page(self, status: HTTPStatus) -> None:
        page = error_page(status)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        head += [name + b": " + value for name, value in page.raw_headers]
        self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(page.body)]))
        self.transport.close()

    # uvicorn's server

    def shutdown(self) -> None:
        """Make the answer in progress the last one, and limit the wait for a body."""
        super().shutdown()
        cycle = self.cycle
        if cycle is None or not cycle.more_body or cycle.response_complete:
            return
        if not any(name == b"expect" for name, _ in cycle.scope["headers"]):
            self.loop.call_later(_BODY_GRACE, self._drop_without_body, cycle)

    def _drop_without_body(self, cycle: RequestResponseCycle) -> None:
        if cycle.more_body and not cycle.disconnected:
            scope: Any = cycle.scope
            line = request_line(scope["method"], scope[RAW_TARGET])
            reason = f"{line} was not whole when the server stopped"
            self._monitor.log_refusal(reason, HTTPStatus.REQUEST_TIMEOUT)
            self.transport.abort()


def _without_upgrade(data: bytes) -> bytes:
    """Return received data with a neutralised Upgrade header.

    The header is optional for the server, and Java's client sends it in its first request. The
    parser would not read a body after it.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    return _UPGRADE.sub(b"\nIgnored:", head) + data[len(head) :]


def _as_one_reads_it(data: bytes) -> bytes:
    """Return the head of a request in the form that the parser accepts, if it is unambiguous.

    All lines may end without a carriage return, and the length may occur twice with the same value.
    """
    line_end = data.find(b"\n")
    if line_end > 0 and data[line_end - 1 : line_end] != b"\r":
        head, blank, body = data.partition(b"\n\n")
        if blank and b"\r" not in head:
            data = head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body
    head, blank, body = data.partition(b"\r\n\r\n")
    lengths = list(_LENGTH.finditer(head)) if blank else []
    if len(lengths) > 1 and len({length[1] for length in lengths}) == 1:
        kept = lengths[0].end()
        head = head[:kept] + _LENGTH.sub(b"", head[kept:])
    return head + blank + body


class RestListener:
    """Serves an ASGI application on a bound socket, within a running event loop."""

    def __init__(
        self,
        application: ASGIApp,
        listening: socket.socket,
        monitor: RequestMonitor,
        max_connections: int,
    ) -> None:
        """Create a listener that accepts no connections before ``start``.

        Args:
            application: the ASGI application.
            listening: the bound socket.
            monitor: the monitor of refused requests.
            max_connections: the most concurrent connections.
        """
        self._throttled = ThrottledLog(
            lambda reason: monitor.log_refusal(reason, HTTPStatus.SERVICE_UNAVAILABLE)
        )
        protocol: Any = partial(
            _Protocol, monitor=monitor, max_connections=max_connections, too_many=self._throttled
        )
        config = uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # Input that is not HTTP is a fault of the caller, and is answered; it is not logged as
            # a warning.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            backlog=_ACCEPTS_AT_ONCE,
        )
        self._server = _Server(config)
        self._socket = listening
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to accept connections."""
        asyncio.get_running_loop().set_exception_handler(self._handle_loop_error)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        accepts = asyncio.create_task(self._server.accepts.wait())
        await asyncio.wait({self._task, accepts}, return_when=asyncio.FIRST_COMPLETED)
        accepts.cancel()
        if self._task.done():
            self._task.result()  # raises the error
        self._socket.listen(_BACKLOG)

    def _handle_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES:
            self._throttled.tell(f"a connection can't be accepted: {error.strerror}")
        elif not (self._server.should_exit and "_start_serving" in context["message"]):
            # The retry of accept has found the socket closed.
            loop.default_exception_handler(context)

    async def stop(self, grace: float) -> None:
        """Refuse new requests, and wait up to ``grace`` seconds for the answers in progress."""
        if self._task is None:
            self._socket.close()
            return
        self._server.should_exit = True
        await asyncio.wait({self._task}, timeout=grace)
        # This answers the remaining requests, and closes their connections.
        for task in list(self._server.server_state.tasks):
            task.cancel()
        await self._task
