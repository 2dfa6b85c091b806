"""The gRPC server of the services."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from serving.embedded.errors import AddressUnavailable, InvalidSslConfig
from serving.embedded.grpc_probing import add_health_service, add_reflection
from serving.embedded.grpc_services import add_services
from serving.embedded.option_messages import SSLConfig, read_text_message
from serving.embedded.request_monitor import RequestMonitor
from serving.embedded.served_models import ServedModels
from serving.embedded.sockets import Port, address_of, bind_socket

#: No limit on the size of a message, as in TF Serving; and no shared port between servers.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)


def read_server_credentials(path: Path) -> grpc.ServerCredentials:
    """Read the credentials of an SSLConfig in text format, which contains keys and certificates as
    PEM.

    Raises:
        InvalidSslConfig: the file cannot be read, is not an SSLConfig, or lacks a required field.
    """
    config: Any = read_text_message("SSL config file", path, SSLConfig(), InvalidSslConfig)
    for name in ("server_key", "server_cert"):
        if "-----BEGIN " not in getattr(config, name):
            raise InvalidSslConfig(
                f"SSL config file {path} has no PEM in {name}; write the file's content there, "
                "not its path"
            )
    if config.client_verify and not config.custom_ca:
        raise InvalidSslConfig(
            f"SSL config file {path} has client_verify but no custom_ca; add the PEM of the "
            "certificate that signs the clients' ones"
        )
    pair = (config.server_key.encode(), config.server_cert.encode())
    return grpc.ssl_server_credentials(
        [pair],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


class GrpcListener:
    """Serves the gRPC services on an address, within a running event loop."""

    def __init__(
        self,
        host: str,
        port: Port,
        credentials: grpc.ServerCredentials | None,
        models: ServedModels,
        monitor: RequestMonitor,
        pool: ThreadPoolExecutor,
        reloading: ThreadPoolExecutor,
        *,
        max_connections: int,
        has_health_service: bool,
    ) -> None:
        """Bind the port; without credentials it is plain text.

        Raises:
            AddressUnavailable: the server cannot listen on host and port.
        """
        # gRPC logs the reason in many lines; a socket gives an error number.
        with bind_socket("port", host, port) as probe:
            self.address = address_of(host, probe.getsockname()[1])
        options = (*_OPTIONS, ("grpc.max_allowed_incoming_connections", max_connections))
        self._server = grpc.server(pool, options=options)
        self._health = add_health_service(self._server) if has_health_service else None
        add_reflection(self._server, has_health_service=has_health_service)
        add_services(self._server, models, monitor, reloading)
        try:
            if credentials is None:
                self._server.add_insecure_port(self.address)
            else:
                self._server.add_secure_port(self.address, credentials)
        except RuntimeError as error:
            what = "" if credentials is None else " (are the key and the certificate a pair?)"
            raise AddressUnavailable(
                f"port {port} on {host} can't be listened on: {error}{what}"
            ) from error

    async def start(self) -> None:
        """Start to accept connections."""
        self._server.start()

    async def stop(self, grace: float) -> None:
        """Refuse new requests, and wait up to ``grace`` seconds for the answers in progress."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        ended = self._server.stop(grace)
        await asyncio.get_running_loop().run_in_executor(None, ended.wait)
