"""Send a new model config to a running server, and wait until the server has applied it.

Uses ``tensorflow.serving.ModelService/HandleReloadConfigRequest``, which exists in gRPC only. Does
not import TensorFlow.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from export.errors import MoveFailed
from export.models_config import Entry
from export.wire import serving_pb2

from ..errors import DeadlineExceeded, ModelNotFound, ServerUnavailable, ServingError
from .connection_failures import describe_failure, grpc_cause
from .grpc_channel import channel_options, check_address
from .grpc_client import GrpcClient
from .grpc_messages import error_of
from .operations import Deadline
from .options import Limits, Tls, parse_headers
from .retries import Retries
from .target import Target

_RELOAD: Final = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
_PAUSE: Final = 0.05  # seconds between two status calls
_CALL: Final = 5.0  # seconds that one call may take


class ReloadClient:
    """A server with a replaceable config; an ``export.label_moves.Server``.

    Args:
        address: ``host:port`` of the gRPC port.
        timeout: seconds that the server may take to apply a config.
        tls, headers: as in ``ClientOptions``.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 60.0,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._tls = tls
        self._headers = headers

    def follow(self, config: serving_pb2.ModelServerConfig, model: str, entry: Entry) -> None:
        """Send the config, and return when the server has the versions and labels of ``entry``.

        Raises:
            MoveFailed: the server refused the config, or did not apply it in time.
            ServerUnavailable: the server is unreachable.
        """
        end = time.monotonic() + self._timeout
        self._reload(config, model)
        with GrpcClient(
            self._address, model, timeout=_CALL, tls=self._tls, headers=self._headers
        ) as client:
            self._wait(lambda: self._missing_version(client, entry), end)
            for label, version in sorted(entry.labels.items()):
                self._wait(lambda: _missing_label(client, label, version), end)  # noqa: B023

    def _reload(self, config: serving_pb2.ModelServerConfig, model: str) -> None:
        request = serving_pb2.ReloadConfigRequest(config=config)
        target, headers = Target(self._address, model), parse_headers(self._headers)
        deadline = Deadline(self._timeout)
        retries = Retries(deadline)
        with self._open_channel(target) as channel:
            call: Any = channel.unary_unary(
                _RELOAD,
                request_serializer=serving_pb2.ReloadConfigRequest.SerializeToString,
                response_deserializer=serving_pb2.ReloadConfigResponse.FromString,
            )
            while True:
                try:
                    left = deadline.remaining(target)
                    status = call(request, timeout=left, metadata=headers).status
                    break
                except grpc.RpcError as failure:
                    error = self._error_of(failure, target)
                    if not isinstance(error, ServerUnavailable):
                        raise self._move_failed(error.message) from failure
                time.sleep(retries.next_pause(error))
        if status.error_code:
            raise self._move_failed(status.error_message)

    def _error_of(self, failure: grpc.RpcError, target: Target) -> ServingError:
        error = error_of(failure, target)
        cause = grpc_cause(error.message)
        if isinstance(error, ServerUnavailable) and cause is not None:
            message = describe_failure(self._address, self._tls, cause)
            error = target.error(ServerUnavailable, message)
        error.__cause__ = failure
        return error

    def _open_channel(self, target: Target) -> grpc.Channel:
        check_address(self._address, target)
        options = channel_options(self._tls, Limits())
        if self._tls is None:
            return grpc.insecure_channel(self._address, options)
        credentials = grpc.ssl_channel_credentials(*self._tls.pem())
        return grpc.secure_channel(self._address, credentials, options)

    def _wait(self, find_missing: Callable[[], str], end: float) -> None:
        """Repeat ``find_missing`` until it returns nothing; it raises permanent failures."""
        while True:
            try:
                problem = find_missing()
            except (ModelNotFound, ServerUnavailable, DeadlineExceeded) as error:
                problem = error.message
            except ServingError as error:
                raise self._move_failed(error.message) from error
            if not problem:
                return
            if time.monotonic() >= end:
                raise self._move_failed(f"not within {self._timeout:g} s: {problem}")
            time.sleep(_PAUSE)

    def _missing_version(self, client: GrpcClient, entry: Entry) -> str:
        """Describe the first difference of the server from the entry; or "". Raises MoveFailed."""
        states = {status.version: status for status in client.status()}
        for version in entry.versions:
            status = states.get(version)
            if status is None:
                return f"version {version} is not on the server"
            if status.error_code != "OK":
                message = f"version {version} does not load: {status.error_message}"
                raise self._move_failed(message)
            if status.state == "LOADING":
                # The server repeats a failed load, and reports the reason when it stops.
                return (
                    f"version {version} is LOADING; if it stays so, read the server's log, and "
                    "check the version with tfkmeans verify"
                )
            if status.state != "AVAILABLE":
                return f"version {version} is {status.state}"
        for version, status in states.items():
            if version not in entry.versions and status.state == "AVAILABLE":
                return f"version {version} is still loaded"
        return ""

    def _move_failed(self, problem: str) -> MoveFailed:
        text = " ".join(problem.split())
        return MoveFailed(f"the server at {self._address} did not apply the config: {text}")


def _missing_label(client: GrpcClient, label: str, version: int) -> str:
    found = client.metadata(label=label).version
    return "" if found == version else f"label {label} is on version {found}"
