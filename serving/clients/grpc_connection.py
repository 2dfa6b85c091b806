"""Connections to the servers of a model over gRPC, async and sync."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import grpc

from ..errors import DeadlineExceeded, ServerUnavailable, ServingError
from . import grpc_messages
from .call_slots import CallSlots, slots_of
from .concurrency import gather_in_order
from .connection_failures import describe_failure, grpc_cause
from .connection_per_loop import ConnectionPerLoop
from .grpc_channel import channel_options, check_address
from .operations import Deadline, Operation
from .options import ClientOptions, Limits, parse_headers
from .retries import Retries
from .rotation import REFUSED_SECONDS, SILENT_SECONDS, Rotation
from .target import Address, Target, parse_addresses


@dataclass(frozen=True, eq=False)
class _Server:
    """One address: its channel, the methods of the channel by path, and the calls in progress to
    it.
    """

    address: str
    channel: Any
    methods: dict[str, Any]
    slots: CallSlots


class _ChannelSettings:
    """The settings of channels to the servers, for both libraries of gRPC."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: ClientOptions
    ) -> None:
        self.addresses = parse_addresses(address)
        for each in self.addresses:
            check_address(each, target)
        self.limits = limits
        self.headers = parse_headers(options.get("headers"))
        self.tls = options.get("tls")
        self._options = channel_options(self.tls, limits)
        self._credentials = self.tls and grpc.ssl_channel_credentials(*self.tls.pem())

    def open(self, library: Any) -> list[_Server]:
        """Open a channel of ``grpc`` or ``grpc.aio`` for each address.

        A single channel would take IP addresses, not names, and names would not be resolved again.
        """
        return [self._open_one(library, each) for each in self.addresses]

    def _open_one(self, library: Any, address: str) -> _Server:
        channel = (
            library.insecure_channel(address, self._options)
            if self._credentials is None
            else library.secure_channel(address, self._credentials, self._options)
        )
        methods = {
            path: channel.unary_unary(path, response_deserializer=read)
            for path, read in grpc_messages.METHODS.items()
        }
        return _Server(address, channel, methods, slots_of(address))


class _Attempts:
    """The attempts of one call, at each server in turn."""

    def __init__(
        self,
        settings: _ChannelSettings,
        rotation: Rotation[_Server],
        operation: Operation,
        deadline: Deadline,
    ) -> None:
        self._settings = settings
        self._rotation = rotation
        self._target = operation.target
        self._deadline = deadline
        self._retries = Retries(deadline)
        self._last: ServingError | None = None

    def next_pause(self, failure: grpc.RpcError, server: _Server) -> float:
        """Seconds to wait before the next attempt; raises if there is none."""
        error = self._error_of(failure, server)
        if isinstance(error, DeadlineExceeded):
            self._rotation.skip(server, SILENT_SECONDS)
        pause = self._retries.next_pause(error)
        self._last = error
        return pause

    def _error_of(self, failure: grpc.RpcError, server: _Server) -> ServingError:
        error = grpc_messages.error_of(failure, self._target)
        error.__cause__ = failure
        if isinstance(error, ServerUnavailable):
            cause = grpc_cause(error.message)
            if cause is None:
                return error
            self._rotation.skip(server, REFUSED_SECONDS)
            message = describe_failure(server.address, self._settings.tls, cause)
        elif error.message == grpc_messages.DEADLINE_EXCEEDED:
            message = f"no answer in {self._deadline.seconds:g} s"
            if self._last is not None:
                message += f"; last: {self._last.message}"
        else:
            return error
        described = self._target.error(type(error), message)
        described.__cause__ = failure
        return described


class _LoopConnection:
    """Channels for one event loop."""

    def __init__(self, settings: _ChannelSettings) -> None:
        self._settings = settings
        self._servers = settings.open(grpc.aio)
        self._rotation = Rotation(self._servers)
        self._closed = threading.Event()

    async def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        return await gather_in_order(
            partial(self._call, deadline=deadline), operations, self._settings.limits.in_flight
        )

    async def _call(self, operation: Operation, deadline: Deadline) -> Any:
        attempts = _Attempts(self._settings, self._rotation, operation, deadline)
        while True:
            server = self._rotation.next()
            try:
                answer = await self._attempt(server, operation, deadline)
            except grpc.RpcError as failure:
                if self._closed.is_set():
                    raise operation.target.closed_error() from failure
                pause = attempts.next_pause(failure, server)
            else:
                return grpc_messages.read_answer(operation, answer)
            await asyncio.sleep(pause)

    async def _attempt(self, server: _Server, operation: Operation, deadline: Deadline) -> Any:
        target, limit = operation.target, self._settings.limits.connection_in_flight
        path, request = grpc_messages.build_request(operation)
        async with server.slots.held_by_task(limit, deadline, target, self._closed):
            try:
                return await server.methods[path](
                    request, timeout=deadline.remaining(target), metadata=self._settings.headers
                )
            except grpc.aio.UsageError as failure:
                raise target.closed_error() from failure
            except asyncio.CancelledError as failure:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise target.closed_error() from failure

    async def close(self) -> None:
        """Close the channels; a call in progress ends with ServerError."""
        self._closed.set()
        for server in self._servers:
            server.slots.end_waits(self._closed)
            await server.channel.close()


class AsyncGrpcConnection(ConnectionPerLoop):
    """Channels for each event loop."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: ClientOptions
    ) -> None:
        super().__init__(
            partial(_LoopConnection, _ChannelSettings(address, target, limits, options))
        )


class GrpcConnection:
    """Channels that threads share."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: ClientOptions
    ) -> None:
        self._settings = _ChannelSettings(address, target, limits, options)
        self._servers = self._settings.open(grpc)
        self._rotation = Rotation(self._servers)
        self._closed = threading.Event()

    def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        if len(operations) == 1:
            # Without a future, gRPC answers in the waiting thread, which is faster.
            return [self._call(operations[0], deadline)]
        answers: list[Any] = []
        waiting: deque[tuple[Operation, _Server, Any]] = deque()
        rest = iter(operations)
        try:
            while len(answers) < len(operations):
                for operation in islice(rest, self._settings.limits.in_flight - len(waiting)):
                    waiting.append((operation, *self._start(operation, deadline)))
                operation, server, call = waiting[0]
                answers.append(self._call(operation, deadline, server, call.result))
                waiting.popleft()
        finally:
            for _, _, call in waiting:
                call.cancel()
        return answers

    def _call(
        self,
        operation: Operation,
        deadline: Deadline,
        server: _Server | None = None,
        first: Callable[[], Any] | None = None,
    ) -> Any:
        """The answer to an operation; its first attempt may have been started already."""
        attempts: _Attempts | None = None
        while True:
            server = server or self._rotation.next()
            try:
                answer = first() if first else self._attempt(server, operation, deadline)
            except grpc.FutureCancelledError as failure:
                raise operation.target.closed_error() from failure
            except grpc.RpcError as failure:
                if self._closed.is_set():
                    raise operation.target.closed_error() from failure
                attempts = attempts or self._attempts(operation, deadline)
                pause = attempts.next_pause(failure, server)
            else:
                return grpc_messages.read_answer(operation, answer)
            self._closed.wait(pause)
            server = first = None

    def _attempt(self, server: _Server, operation: Operation, deadline: Deadline) -> Any:
        target, limit = operation.target, self._settings.limits.connection_in_flight
        path, request = grpc_messages.build_request(operation)
        server.slots.take(limit, deadline, target, self._closed)
        try:
            return self._send(server.methods[path], request, target, deadline)
        finally:
            server.slots.release()

    def _attempts(self, operation: Operation, deadline: Deadline) -> _Attempts:
        return _Attempts(self._settings, self._rotation, operation, deadline)

    def _start(self, operation: Operation, deadline: Deadline) -> tuple[_Server, Any]:
        """Start the first attempt of an operation, as a future of its answer."""
        server = self._rotation.next()
        target, limit = operation.target, self._settings.limits.connection_in_flight
        server.slots.take(limit, deadline, target, self._closed)
        try:
            path, request = grpc_messages.build_request(operation)
            call = self._send(server.methods[path].future, request, target, deadline)
        except BaseException:
            server.slots.release()
            raise
        call.add_done_callback(lambda _: server.slots.release())
        return server, call

    def _send(
        self, method: Callable[..., Any], request: bytes, target: Target, deadline: Deadline
    ) -> Any:
        try:
            return method(
                request, timeout=deadline.remaining(target), metadata=self._settings.headers
            )
        except ValueError as error:  # gRPC raises it for a closed channel
            raise target.closed_error() from error

    def close(self) -> None:
        """Close the channels; a call in progress ends with ServerError."""
        self._closed.set()
        for server in self._servers:
            server.slots.end_waits(self._closed)
            server.channel.close()
