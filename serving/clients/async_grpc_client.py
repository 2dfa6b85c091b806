"""A client that speaks TensorFlow Serving's gRPC, and awaits. Imports no TensorFlow."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from . import grpc_messages
from .async_client import AsyncClient
from .call_flow import DEFAULT_TIMEOUT, CallFlow
from .concurrency import gather_in_order
from .grpc_channel import channel_options, channel_target, credentials
from .operations import Deadline, Operation, Send
from .options import Limits, OnBadRow, Tls, parse_headers
from .target import Address, parse_addresses


class AsyncGrpcClient(AsyncClient):
    """``GrpcClient`` with methods to await, for one event loop.

        async with AsyncGrpcClient("localhost:8500", "customers") as client:
            answer = await client.assign(points)

    Args and errors are those of ``GrpcClient``.
    """

    def __init__(
        self,
        address: Address,
        model: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        on_bad_row: OnBadRow = "answer",
    ) -> None:
        flow = CallFlow(
            ", ".join(parse_addresses(address)),
            model,
            version=version,
            label=label,
            timeout=timeout,
            limits=limits,
            on_bad_row=on_bad_row,
            value_bytes=grpc_messages.VALUE_BYTES,
            sends_no_rows=True,
        )
        super().__init__(flow)
        self._headers = parse_headers(headers)
        self._place = channel_target(parse_addresses(address), flow.target)
        self._options = channel_options(parse_addresses(address), tls, flow.limits)
        self._credentials = None if tls is None else credentials(tls)
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}

    async def _answers(self, ask: Send) -> list[Any]:
        def asking(operation: Operation) -> Any:
            return self._answer(operation, ask.deadline)

        return await gather_in_order(asking, ask.operations, self._flow.limits.in_flight)

    async def _answer(self, operation: Operation, deadline: Deadline) -> Any:
        path, request = grpc_messages.build_request(operation)
        seconds = deadline.left(operation.target)
        method = self._method(path)
        call: Any = None
        try:
            call = method(request, timeout=seconds, metadata=self._headers)
            answer = await call
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

    def _method(self, path: str) -> Any:
        # A channel belongs to the loop that runs when it is made, and a client may be made before.
        if self._channel is None:
            self._channel = (
                grpc.aio.insecure_channel(self._place, self._options)
                if self._credentials is None
                else grpc.aio.secure_channel(self._place, self._credentials, self._options)
            )
            self._methods = {
                path: self._channel.unary_unary(path, response_deserializer=read)
                for path, read in grpc_messages.METHODS.items()
            }
        return self._methods[path]

    async def _close(self) -> None:
        if self._channel is not None:
            await self._channel.close()
