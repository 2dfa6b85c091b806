"""How a gRPC client reaches its servers: target, options and credentials of a channel."""

import json
import socket
from collections.abc import Sequence
from typing import Final

from ..errors import InvalidInput, ServerUnavailable
from .options import Limits, Tls
from .target import Target

_SERVICE_CONFIG: Final = json.dumps(
    {
        # Over all addresses that are given, or that the name stands for.
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [
                    {"service": "tensorflow.serving.PredictionService"},
                    {"service": "tensorflow.serving.ModelService"},
                ],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)

_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", _SERVICE_CONFIG),
    # A call is retried only while its bytes are kept; the default keeps 256 KiB, which is
    # 1,024 rows of 64 features.
    ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
    # After an outage the default waits up to two minutes before it looks for the server again, and
    # it gives a connection that is made and never answered 20 seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # As over REST: the servers are asked directly, whatever http_proxy says.
    ("grpc.enable_http_proxy", 0),
)

# A connection whose other end is gone without a word is found out while calls wait for it.
# Servers end one that asks too often without a call or data; gRPC's own limits prevent that.
_KEEPALIVE_MS: Final = {"time": 20_000, "timeout": 10_000}


def channel_options(
    addresses: Sequence[str], tls: Tls | None, limits: Limits
) -> list[tuple[str, int | str]]:
    """The options of a channel to these servers.

    Raises:
        InvalidInput: encrypted servers of several hosts, and no ``server_name`` for all of them.
    """
    options: list[tuple[str, int | str]] = [
        *_OPTIONS,
        ("grpc.max_receive_message_length", limits.answer_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS["time"]),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS["timeout"]),
        # Most of what goes unanswered is another ping, for which the default waits a minute.
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_MS["timeout"]),
    ]
    if tls is not None:
        name = tls.server_name
        if name is None and len(addresses) > 1:
            # gRPC holds the certificates of all addresses of a channel against one name. A server
            # that shows another is never asked, without a word.
            hosts = dict.fromkeys(_split_address(each)[0] for each in addresses)
            if len(hosts) > 1:
                raise InvalidInput(
                    f"{', '.join(hosts)}: gRPC expects one name on the certificates of all "
                    "servers; give it as Tls(server_name=...), or make a client for each"
                )
            (name,) = hosts
        if name is not None:
            options.append(("grpc.ssl_target_name_override", name))
    return options


def channel_target(addresses: Sequence[str], target: Target) -> str:
    """The name of these servers in gRPC; more than one host name is resolved here, once.

    A name that is unknown is left out, as long as another is known.

    Raises:
        InvalidInput: one is no ``host:port``, or some are IPv4 and others IPv6.
        ServerUnavailable: no name has an address.
    """
    for address in addresses:
        if "://" in address or ":" not in address:
            raise target.error(
                InvalidInput, f"{address!r} is no address of a gRPC server; give host:port"
            )
    if len(addresses) == 1:
        return addresses[0]
    found, unknown = [], []
    for address in addresses:
        try:
            found.append(_resolve(address))
        except OSError as error:
            unknown.append(f"{address} has no address: {error}")
    if not found:
        raise target.error(ServerUnavailable, "; ".join(unknown))
    families = {family for family, _ in found}
    if len(families) > 1:
        raise target.error(InvalidInput, "some addresses are IPv4 and others IPv6; give one kind")
    scheme = "ipv4" if families == {socket.AF_INET} else "ipv6"
    return f"{scheme}:" + ",".join(place for _, place in found)


def _resolve(address: str) -> tuple[socket.AddressFamily, str]:
    host, port = _split_address(address)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # IPv4 first: an ending of all names in one family is the rule.
    family, _, _, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    resolved = str(place[0])
    return family, f"{resolved if family == socket.AF_INET else f'[{resolved}]'}:{port}"


def _split_address(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port
