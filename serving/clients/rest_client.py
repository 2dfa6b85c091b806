"""A client that speaks TensorFlow Serving's REST, and waits. Imports no TensorFlow."""

import os
import weakref
from collections.abc import Awaitable, Mapping
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Final

from . import rest_messages
from .call_flow import DEFAULT_TIMEOUT, CallFlow
from .client import Client
from .concurrency import LoopThread, gather_in_order
from .operations import Operation, Send
from .options import Limits, OnBadRow, Tls, parse_headers
from .rest_connection import RestConnection
from .target import Address, parse_addresses


class RestClient(Client):
    """Asks a model over REST; NumPy in and out.

    A call that finds the server unavailable is repeated, up to five attempts, within its deadline.
    Threads may share a client; a process that is forked may go on with it, on connections of its
    own. An answer does not tell its version: ``version`` of a result is the version that was asked
    for, or None. gRPC is several times faster on many rows.

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
        flow = CallFlow(
            ", ".join(parse_addresses(address)),
            model,
            version=version,
            label=label,
            timeout=timeout,
            limits=limits,
            on_bad_row=on_bad_row,
            value_bytes=rest_messages.VALUE_BYTES,
            sends_no_rows=self.sends_no_rows,
        )
        super().__init__(flow)
        self._connect = partial(
            RestConnection,
            address,
            flow.target,
            tls=tls,
            headers=parse_headers(headers),
            limits=flow.limits,
            gzip_bodies=gzip,
        )
        self._connection = self._connect()
        self._loop = LoopThread("RestClient")
        _CLIENTS.add(self)

    def _answers(self, ask: Send) -> list[Any]:
        def answer(operation: Operation) -> Awaitable[Any]:
            return self._connection.answer(operation, ask.deadline)

        try:
            return self._loop.run(
                gather_in_order(answer, ask.operations, self._flow.limits.in_flight)
            )
        except CancelledError:
            raise ask.operations[0].target.closed_error() from None

    def _close(self) -> None:
        self._loop.run(self._connection.close())
        self._loop.stop()

    def _after_fork(self) -> None:
        self._loop.abandon()
        self._connection = self._connect()
        self._loop = LoopThread("RestClient")


_CLIENTS: Final[weakref.WeakSet[RestClient]] = weakref.WeakSet()


def _after_fork() -> None:
    """In a forked process, which has no thread but one: give each client a loop of its own."""
    for client in list(_CLIENTS):
        client._after_fork()


if hasattr(os, "register_at_fork"):  # not on every system
    os.register_at_fork(after_in_child=_after_fork)
