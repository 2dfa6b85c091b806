"""The addresses of the servers that a client shares its calls among."""

from collections.abc import Sequence
from typing import Final

from ..errors import InvalidInput

Address = str | Sequence[str]

_HIGHEST_PORT: Final = 65535


def listed(address: Address) -> tuple[str, ...]:
    """One address or several, as a list of at least one. Raises InvalidInput."""
    try:
        addresses = (address,) if isinstance(address, str) else tuple(address)
    except TypeError:
        addresses = ()
    if not addresses or not all(isinstance(each, str) for each in addresses):
        raise InvalidInput(f"{address!r} is no address; give one as text, or a list of them")
    for each in addresses:
        # gRPC takes a port modulo 65536, and would ask whoever listens there.
        port = each.rpartition(":")[2].rstrip("/")
        if port.isdecimal() and not 0 < int(port) <= _HIGHEST_PORT:
            raise InvalidInput(f"{each!r} has no port from 1 to {_HIGHEST_PORT}; give HOST:PORT")
    return addresses


def named(address: Address) -> str:
    """The addresses as errors name them."""
    return ", ".join(listed(address))
