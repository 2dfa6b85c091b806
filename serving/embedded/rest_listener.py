"""The HTTP server under the REST API."""

import asyncio
import socket
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from serving.embedded.http_responses import RAW_TARGET, error_page
from serving.embedded.request_monitor import log_refusal, request_line

#: TF Serving closes no idle connection; uvicorn's default of 5 s would surprise pooling clients.
_KEEP_ALIVE = 3600
#: How long a stopping server waits for the rest of a body, seconds: such a request is not accepted
#: yet. One that was told to go on (100 Continue) is, and has the whole grace.
_BODY_GRACE = 3.0


class _Server(uvicorn.Server):
    """uvicorn's server, with an event for the moment from which it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepts = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepts.set()


class _Connection(h11.Connection):
    """h11's side of a connection, which remembers the target of the last request."""

    target = b""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.target = event.target
        return event


class _Protocol(H11Protocol):
    """uvicorn's protocol, with the raw target in the scope and the error page of TF Serving."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn: _Connection = _Connection(h11.SERVER, self.conn._max_incomplete_event_size)

    @property
    def scope(self) -> Any:
        return self._scope

    @scope.setter
    def scope(self, scope: Any) -> None:
        self._scope = scope
        if scope is not None:
            scope[RAW_TARGET] = self.conn.target

    def shutdown(self) -> None:
        """Let the answer under way be the last one, and wait for no body for long."""
        super().shutdown()
        cycle = self.cycle
        if cycle is None or not cycle.more_body or cycle.response_complete:
            return
        if not any(name == b"expect" for name, _ in cycle.scope["headers"]):
            self.loop.call_later(_BODY_GRACE, self._drop_without_body, cycle)

    def _drop_without_body(self, cycle: RequestResponseCycle) -> None:
        if cycle.more_body and not cycle.disconnected:
            line = request_line(cycle.scope["method"], self.conn.target)
            log_refusal(f"{line} was not whole when the server stopped", HTTPStatus.REQUEST_TIMEOUT)
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and close the connection."""
        log_refusal(msg, HTTPStatus.BAD_REQUEST)
        page = error_page(HTTPStatus.BAD_REQUEST)
        headers = [*page.raw_headers, (b"connection", b"close")]
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            events: list[Any] = [
                h11.Response(status_code=page.status_code, headers=headers, reason=b"Bad Request"),
                h11.Data(data=bytes(page.body)),
                h11.EndOfMessage(),
            ]
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class RestListener:
    """Serves an ASGI application on a bound socket, within a running event loop."""

    def __init__(self, application: ASGIApp, listening: socket.socket) -> None:
        config = uvicorn.Config(
            application,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # What is no HTTP is the caller's fault, and answered; it is no news.
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._server = _Server(config)
        self._socket = listening
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept connections."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        accepts = asyncio.create_task(self._server.accepts.wait())
        await asyncio.wait({self._task, accepts}, return_when=asyncio.FIRST_COMPLETED)
        accepts.cancel()
        if self._task.done():
            self._task.result()  # raises what went wrong

    async def stop(self, grace: float) -> None:
        """Accept nothing more, and wait up to ``grace`` seconds for the answers under way."""
        if self._task is None:
            self._socket.close()
            return
        self._server.should_exit = True
        await asyncio.wait({self._task}, timeout=grace)
        # The requests that are left are answered so, and their connections closed.
        for task in list(self._server.server_state.tasks):
            task.cancel()
        await self._task
