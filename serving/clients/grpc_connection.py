"""Connections to a model's servers over gRPC, async and sync."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

import grpc

from . import grpc_messages
from .concurrency import gather_in_order
from .grpc_channel import channel_options, channel_target
from .operations import Deadline, Operation
from .options import ClientOptions, Limits, parse_headers
from .target import Address, Target, parse_addresses


class _ChannelSettings:
    """What a channel to the servers needs, whichever of gRPC's two libraries opens it."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: ClientOptions
    ) -> None:
        addresses, tls = parse_addresses(address), options.get("tls")
        self._in_flight = limits.in_flight
        self._headers = parse_headers(options.get("headers"))
        self._place = channel_target(addresses, target)
        self._options = channel_options(addresses, tls, limits)
        self._credentials = tls and grpc.ssl_channel_credentials(*tls.pem())

    def _open(self, library: Any) -> tuple[Any, dict[str, Any]]:
        """A channel of ``grpc`` or ``grpc.aio``, and its methods by path."""
        channel = (
            library.insecure_channel(self._place, self._options)
            if self._credentials is None
            else library.secure_channel(self._place, self._credentials, self._options)
        )
        return channel, {
            path: channel.unary_unary(path, response_deserializer=read)
            for path, read in grpc_messages.METHODS.items()
        }


class AsyncGrpcConnection(_ChannelSettings):
    """A channel for one event loop."""

    # A channel belongs to the loop that runs when it is made, and a client may be made before.
    _channel: Any = None
    _methods: dict[str, Any]

    async def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        if self._channel is None:
            self._channel, self._methods = self._open(grpc.aio)
        return await gather_in_order(
            partial(self._call, deadline=deadline), operations, self._in_flight
        )

    async def _call(self, operation: Operation, deadline: Deadline) -> Any:
        path, request = grpc_messages.build_request(operation)
        seconds = deadline.remaining(operation.target)
        try:
            answer = await self._methods[path](request, timeout=seconds, metadata=self._headers)
        except grpc.RpcError as failure:
            raise grpc_messages.error_of(failure, operation.target) from failure
        except grpc.aio.UsageError as failure:
            raise operation.target.closed_error() from failure
        except asyncio.CancelledError as failure:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise operation.target.closed_error() from failure
        return grpc_messages.read_answer(operation, answer)

    async def close(self) -> None:
        """Close the channel; a call under way ends with ServerError."""
        if self._channel is not None:
            await self._channel.close()


class GrpcConnection(_ChannelSettings):
    """A channel that threads share."""

    def __init__(
        self, address: Address, target: Target, limits: Limits, options: ClientOptions
    ) -> None:
        super().__init__(address, target, limits, options)
        self._channel, self._methods = self._open(grpc)

    def send(self, operations: Sequence[Operation], deadline: Deadline) -> list[Any]:
        """The answers to the operations, in their order, within the deadline."""
        if len(operations) == 1:
            # Without a future: gRPC answers in the thread that waits, and that is quicker.
            (operation,) = operations
            return [_read_result(operation, partial(self._call, operation, deadline))]
        answers: list[Any] = []
        waiting: deque[tuple[Operation, Any]] = deque()
        rest = iter(operations)
        try:
            while len(answers) < len(operations):
                for operation in islice(rest, self._in_flight - len(waiting)):
                    waiting.append((operation, self._call(operation, deadline, future=True)))
                operation, call = waiting[0]
                answers.append(_read_result(operation, call.result))
                waiting.popleft()
        finally:
            for _, call in waiting:
                call.cancel()
        return answers

    def _call(self, operation: Operation, deadline: Deadline, *, future: bool = False) -> Any:
        path, request = grpc_messages.build_request(operation)
        call = self._methods[path].future if future else self._methods[path]
        seconds = deadline.remaining(operation.target)
        try:
            return call(request, timeout=seconds, metadata=self._headers)
        except ValueError as error:  # gRPC's word for a channel that is closed
            raise operation.target.closed_error() from error

    def close(self) -> None:
        """Close the channel; a call under way ends with ServerError."""
        self._channel.close()


def _read_result(operation: Operation, result: Callable[[], Any]) -> Any:
    try:
        answer = result()
    except grpc.FutureCancelledError as failure:
        raise operation.target.closed_error() from failure
    except grpc.RpcError as failure:
        raise grpc_messages.error_of(failure, operation.target) from failure
    return grpc_messages.read_answer(operation, answer)
