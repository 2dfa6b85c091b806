"""How a gRPC client reaches a server: target, options and credentials of a channel."""

import json
import re
from typing import Final

from ..errors import InvalidInput
from .options import Limits, Tls
from .target import Target, without_password

#: Where a name stands for several addresses, they take turns.
_SERVICE_CONFIG: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})

_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", _SERVICE_CONFIG),
    # Ours know what of RESOURCE_EXHAUSTED passes, and go on at another server.
    ("grpc.enable_retries", 0),
    # After an outage the default waits up to two minutes before it looks for the server again, and
    # it gives a connection that is made and never answered 20 seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name is resolved again when a connection breaks; by default not within 30 seconds.
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # As over REST: the servers are asked directly, whatever http_proxy says.
    ("grpc.enable_http_proxy", 0),
)

# A connection whose other end is gone without a word is found out while calls wait for it.
# Servers end one that asks too often without a call or data; gRPC's own limits prevent that.
_KEEPALIVE_MS: Final = {"time": 20_000, "timeout": 10_000}

#: ``host:port``, alone or after gRPC's ``dns:``, ``dns:///`` or ``dns://resolver/``.
_NAMED: Final = re.compile(r"(?:dns:(?://[^/]*/)?)?(?:[^\s:/\[\]@]+|\[[^\s\[\]]+\])(?P<port>:\d+)?")
#: Addresses that gRPC spells without a name.
_UNNAMED: Final = re.compile(r"unix:\S+|unix-abstract:\S+|ipv4:[^\s/]+:\d+|ipv6:\S+\]:\d+")


def channel_options(tls: Tls | None, limits: Limits) -> list[tuple[str, int | str]]:
    """The options of a channel to a server."""
    options: list[tuple[str, int | str]] = [
        *_OPTIONS,
        ("grpc.max_receive_message_length", limits.answer_bytes),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS["time"]),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS["timeout"]),
        # Most of what goes unanswered is another ping, for which the default waits a minute.
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_MS["timeout"]),
    ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def check_address(address: str, target: Target) -> None:
    """Raise InvalidInput for an address that is no server's, or that has no port.

    gRPC itself would ask port 443, or only say at the first call that there is no such name.
    """
    if _UNNAMED.fullmatch(address):
        return
    named = _NAMED.fullmatch(address)
    shown = without_password(address)
    if named is None:
        raise target.error(
            InvalidInput,
            f"{shown!r} is no address of a gRPC server; give host:port, [IPv6]:port, "
            "dns:///host:port or unix:///path",
        )
    if named["port"] is None:
        raise target.error(
            InvalidInput,
            f"{shown!r} is no address of a gRPC server, as it has no port; give host:port, as in "
            f"{shown}:8500",
        )
