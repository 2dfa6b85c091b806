"""A client that speaks TensorFlow Serving's gRPC, and waits. Imports no TensorFlow."""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

import grpc

from . import grpc_messages
from .call_flow import DEFAULT_TIMEOUT, CallFlow
from .client import Client
from .grpc_channel import channel_options, channel_target, credentials
from .operations import Deadline, Operation, Send
from .options import Limits, OnBadRow, Tls, parse_headers
from .target import Address, parse_addresses


class GrpcClient(Client):
    """Asks a model over gRPC; NumPy in and out.

    A call that finds the server unavailable is repeated, up to five attempts, within its deadline.
    Threads may share a client. It must not be used in a process that was forked after it was made.

        with GrpcClient("localhost:8500", "customers") as client:
            client.wait_until_ready()
            client.assign(points).cluster_index

    Args:
        address: ``host:port``, or several, which take turns.
        model: the model's name on the server.
        version: the version to ask; None is the latest that is loaded.
        label: the label to ask, instead of a version.
        timeout: seconds that a call may take, unless the call says otherwise.
        tls: an encrypted connection; None is one in plain text.
        headers: metadata of every request, for proxies that ask who is there.
        limits: how much goes at once; a call beyond them is sent in parts.
        on_bad_row: ``"answer"`` sends rows with NaN or infinity, which are answered with -1;
            ``"raise"`` refuses them, before anything is sent.

    Raises:
        InvalidInput: an address of another kind, version and label at once, files of ``tls`` that
            cannot be used, or encrypted servers of several hosts without ``server_name``.
        ServerUnavailable: the names of several addresses are all unknown.
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
        target = channel_target(parse_addresses(address), flow.target)
        options = channel_options(parse_addresses(address), tls, flow.limits)
        self._channel = (
            grpc.insecure_channel(target, options)
            if tls is None
            else grpc.secure_channel(target, credentials(tls), options)
        )
        self._methods: dict[str, Any] = {
            path: self._channel.unary_unary(path, response_deserializer=read)
            for path, read in grpc_messages.METHODS.items()
        }

    def _answers(self, ask: Send) -> list[Any]:
        if len(ask.operations) == 1:
            # Without a future: gRPC answers in the thread that waits, and that is quicker.
            (operation,) = ask.operations
            return [_answer(operation, partial(self._called, operation, ask.deadline))]
        answers: list[Any] = []
        waiting: deque[tuple[Operation, Any]] = deque()
        operations = iter(ask.operations)
        try:
            while len(answers) < len(ask.operations):
                room = self._flow.limits.in_flight - len(waiting)
                for operation in islice(operations, room):
                    waiting.append((operation, self._called(operation, ask.deadline, future=True)))
                operation, call = waiting[0]
                answers.append(_answer(operation, call.result))
                waiting.popleft()
        finally:
            for _, call in waiting:
                call.cancel()
        return answers

    def _called(self, operation: Operation, deadline: Deadline, *, future: bool = False) -> Any:
        path, request = grpc_messages.build_request(operation)
        call = self._methods[path].future if future else self._methods[path]
        seconds = deadline.left(operation.target)
        try:
            return call(request, timeout=seconds, metadata=self._headers)
        except ValueError as error:  # gRPC's word for a channel that is closed
            raise operation.target.closed_error() from error

    def _close(self) -> None:
        self._channel.close()


def _answer(operation: Operation, result: Callable[[], Any]) -> Any:
    try:
        answer = result()
    except grpc.FutureCancelledError as failure:
        raise operation.target.closed_error() from failure
    except grpc.RpcError as failure:
        raise grpc_messages.error_of(failure, operation.target) from failure
    return grpc_messages.read_answer(operation, answer)
