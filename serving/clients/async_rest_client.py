"""A client that speaks TensorFlow Serving's REST, and awaits. Imports no TensorFlow."""

from collections.abc import Awaitable, Mapping
from typing import Any

from . import rest_messages
from .async_client import AsyncClient
from .call_flow import DEFAULT_TIMEOUT, CallFlow
from .concurrency import gather_in_order
from .operations import Operation, Send
from .options import Limits, OnBadRow, Tls, parse_headers
from .rest_connection import RestConnection
from .target import Address, parse_addresses


class AsyncRestClient(AsyncClient):
    """``RestClient`` with methods to await, for one event loop.

        async with AsyncRestClient("localhost:8501", "customers") as client:
            answer = await client.assign(points)

    Args and errors are those of ``RestClient``.
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
        gzip: bool = False,
    ) -> None:
        flow = CallFlow(
            ", ".join(parse_addresses(address)),
            model,
            version=version,
            label=label,
            timeout=timeout,
            limits=limits,
            on_bad_row=on_bad_row,
            value_bytes=rest_messages.VALUE_BYTES,
            sends_no_rows=False,
        )
        super().__init__(flow)
        self._connection = RestConnection(
            address,
            flow.target,
            tls=tls,
            headers=parse_headers(headers),
            limits=flow.limits,
            gzip_bodies=gzip,
        )

    async def _answers(self, ask: Send) -> list[Any]:
        def answer(operation: Operation) -> Awaitable[Any]:
            return self._connection.answer(operation, ask.deadline)

        return await gather_in_order(answer, ask.operations, self._flow.limits.in_flight)

    async def _close(self) -> None:
        await self._connection.close()
