"""A client that speaks TensorFlow Serving's gRPC, and awaits. Imports no TensorFlow."""

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc

from . import grpc_messages
from .async_client import AsyncClient
from .call_flow import DEFAULT_TIMEOUT, Conversations
from .concurrency import gather_in_order
from .grpc_channel import channel_options, channel_target, credentials
from .operations import Ask, Deadline, Question
from .options import Limits, OnBadRow, Tls, checked_headers
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
        conversations = Conversations(
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
        super().__init__(conversations)
        self._headers = checked_headers(headers)
        self._place = channel_target(parse_addresses(address), conversations.target)
        self._options = channel_options(parse_addresses(address), tls, conversations.limits)
        self._credentials = None if tls is None else credentials(tls)
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}

    async def _answers(self, ask: Ask) -> list[Any]:
        def asking(question: Question) -> Any:
            return self._answer(question, ask.deadline)

        return await gather_in_order(asking, ask.questions, self._conversations.limits.in_flight)

    async def _answer(self, question: Question, deadline: Deadline) -> Any:
        path, request = grpc_messages.request_of(question)
        seconds = deadline.left(question.target)
        method = self._method(path)
        call: Any = None
        try:
            call = method(request, timeout=seconds, metadata=self._headers)
            answer = await call
        except grpc.RpcError as failure:
            raise grpc_messages.error_of(failure, question.target) from failure
        except grpc.aio.UsageError as failure:
            raise question.target.closed_error() from failure
        except asyncio.CancelledError as failure:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise question.target.closed_error() from failure
        return grpc_messages.answer_of(question, answer)

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
