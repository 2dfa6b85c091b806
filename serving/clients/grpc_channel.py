"""Target, options and credentials of the gRPC channel to a server."""

import json
import re
from typing import Final

from ..errors import InvalidInput
from .options import Limits, Tls
from .target import Target, without_password

#: If a name has several addresses, they are used in turn.
_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})

_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", _SERVICE_CONFIG),
    # Our own retries distinguish the causes of RESOURCE_EXHAUSTED, and try another server.
    ("grpc.enable_retries", 0),
    # By default gRPC waits up to two minutes before it tries the server again after an outage, and
    # 20 seconds for a connection that gets no answer.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name is resolved again when a connection breaks; by default at most every 30 seconds.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # As over REST, http_proxy is ignored and the servers are called directly.
    ("grpc.enable_http_proxy", 0),
)

# Pings find a dead connection while calls wait for it. Servers end a connection with too many pings
# without a call or data; gRPC's own limits prevent that.
_KEEPALIVE_MS: Final = {"time": 20_000, "timeout": 10_000}

#: ``host:port``, alone or after gRPC's ``dns:``, ``dns:///`` or ``dns://resolver/``.
_NAMED: Final = re.compile(r"(?:dns:(?://[^/]*/)?)?(?:[^\s:/\[\]@]+|\[[^\s\[\]]+\])(?P<port>:\d+)?")
#: Address schemes of gRPC without a host name.
_UNNAMED: Final = re.compile(r"unix:\S+|unix-abstract:\S+|ipv4:[^\s/]+:\d+|ipv6:\S+\]:\d+")


def channel_options(tls: Tls | None, limits: Limits) -> list[tuple[str, int | str]]:
    """The options of a channel to a server."""
    options: list[tuple[str, int | str]] = [
        *_OPTIONS,
        ("grpc.max_receive_message_length", limits.answer_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS["time"]),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS["timeout"]),
        # Unanswered data are mostly another ping, for which the default waits a minute.
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_MS["timeout"]),
    ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def check_address(address: str, target: Target) -> None:
    """Raise InvalidInput for an address that is not valid, or that has no port.

    gRPC itself would use port 443, or fail only at the first call because there is no such name.
    """
    if _UNNAMED.fullmatch(address):
        return
    named = _NAMED.fullmatch(address)
    shown = without_password(address)
    if named is None:
        raise target.error(
            InvalidInput,
            f"{shown!r} is not an address of a gRPC server; give host:port, [IPv6]:port, "
            "dns:///host:port or unix:///path",
        )
    if named["port"] is None:
        raise target.error(
            InvalidInput,
            f"{shown!r} is not an address of a gRPC server: it has no port; give host:port, such "
            f"as {shown}:8500",
        )
