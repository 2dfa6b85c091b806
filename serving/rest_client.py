"""A client that speaks TensorFlow Serving's REST, and waits. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from . import rest_messages
from .addresses import Address, named
from .calls import closed
from .client import Client
from .conversations import DEFAULT_TIMEOUT, Conversations
from .in_order import in_order
from .loop_thread import LoopThread
from .options import Limits, OnBadRow, Tls, checked_headers
from .questions import Ask
from .rest_connection import RestConnection
from .rest_messages import HttpRequest


class RestClient(Client):
    """Asks a model over REST; NumPy in and out.

    A call that finds the server unavailable is repeated, up to five attempts, within its deadline.
    Threads may share a client. An answer does not tell its version: ``version`` of a result is the
    version that was asked for, or None. gRPC is several times faster on many rows.

        with RestClient("localhost:8501", "customers") as client:
            client.wait_until_ready()
            client.assign(points).cluster_index

    Args:
        address: ``host:port``, ``http://host:port`` or ``https://host:port``, or several, which
            take turns.
        model: the model's name on the server.
        version: the version to ask; None is the latest that is loaded.
        label: the label to ask, instead of a version.
        timeout: seconds that a call may take, unless the call says otherwise.
        tls: an encrypted connection; with ``https://`` and None, the authorities that the system
            trusts.
        headers: headers of every request, for proxies that ask who is there.
        limits: how much goes at once; a call beyond them is sent in parts.
        on_bad_row: ``"answer"`` sends rows with NaN or infinity, which are answered with -1;
            ``"raise"`` refuses them, before anything is sent.
        gzip: send bodies compressed; worth it where the network is slower than the processor.

    Raises:
        InvalidInput: an address of another kind, version and label at once, or files of ``tls``
            that cannot be used.
    """

    sends_no_rows = False

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
        conversations = Conversations(
            named(address),
            model,
            version=version,
            label=label,
            timeout=timeout,
            limits=limits,
            on_bad_row=on_bad_row,
            value_bytes=rest_messages.VALUE_BYTES,
        )
        super().__init__(conversations)
        self._connection = RestConnection(
            address,
            conversations.target,
            tls=tls,
            headers=checked_headers(headers),
            limits=conversations.limits,
            zipped=gzip,
        )
        self._loop = LoopThread("RestClient")

    def _answers(self, ask: Ask) -> list[Any]:
        # JSON is written and read in the thread that waits, so that no other call waits for it.
        requests = [rest_messages.request_of(question) for question in ask.questions]
        bodies = self._bodies(requests, ask)
        return [
            rest_messages.answer_of(question, body)
            for question, body in zip(ask.questions, bodies, strict=True)
        ]

    def _bodies(self, requests: Sequence[HttpRequest | None], ask: Ask) -> Sequence[bytes | None]:
        if not any(requests):
            return [None] * len(requests)

        async def exchange(request: HttpRequest | None) -> bytes | None:
            if request is None:
                return None
            return await self._connection.exchange(request, ask.deadline)

        exchanges = in_order(exchange, requests, self._conversations.limits.in_flight)
        try:
            return self._loop.run(exchanges)
        except CancelledError:
            raise closed(ask.questions[0].target) from None

    def _close(self) -> None:
        self._loop.run(self._connection.close())
        self._loop.stop()
