"""The target of a call: the servers, the model, and its version or label."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from ..errors import InvalidInput, ServerError, ServingError

#: ``host:port``, or a list of them, which a client uses in turn.
Address = str | Sequence[str]

_HIGHEST_PORT: Final = 65535
_MAX_VERSION: Final = 2**63 - 1


@dataclass(frozen=True)
class Target:
    """The target of a call: a model at an address, in one version, one label, or the latest."""

    address: str
    model: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not _is_name(self.model):
            raise self.error(InvalidInput, f"the model's name is {self.model!r}; give its name")
        if self.version is not None and self.label is not None:
            raise self.error(
                InvalidInput,
                f"version={self.version} and label={self.label!r} were both given; give one",
            )
        if self.version is not None and not 0 <= self.version <= _MAX_VERSION:
            raise self.error(
                InvalidInput,
                f"version={self.version} is not a version; give an integer of at least 0",
            )
        if self.label == "":
            raise self.error(InvalidInput, "the label is empty; give a label or None")
        if self.label is not None and not _is_name(self.label):
            raise self.error(InvalidInput, f"label={self.label!r} is not a label")

    @classmethod
    def parse(cls, address: str, model: str, version: int | None, label: str | None) -> Self:
        """Make a target from the arguments of a caller.

        Raises:
            InvalidInput: no model name, an invalid version, or both version and label.
        """
        try:
            if isinstance(version, bool):
                raise TypeError
            number = None if version is None else operator.index(version)
        except TypeError:
            message = f"version={version!r} is not a version; give an integer of at least 0"
            raise InvalidInput(message, model, address) from None
        if not isinstance(label, str | None):
            raise InvalidInput(f"label={label!r} is not a label; give text", model, address)
        return cls(address, model, number, label)

    def at(self, version: int | None, label: str | None) -> "Target":
        """Return the same model with another version or label.

        Raises:
            InvalidInput: an invalid version, or both version and label.
        """
        return self.parse(self.address, self.model, version, label)

    def at_version(self, version: int) -> "Target":
        """Return the same model with this version."""
        return replace(self, version=version, label=None)

    def error(self, kind: type[ServingError], message: str) -> ServingError:
        """Make an error that names the model and the address."""
        return kind(message, self.model, self.address)

    def closed_error(self) -> ServingError:
        """Make the error of a call whose client is closed during the call."""
        return self.error(ServerError, "the client was closed during the call")


def _is_name(text: str) -> bool:
    """Whether a model or label can have this name: valid UTF-8, and a part of a path."""
    return bool(text) and text not in (".", "..") and text.isprintable()


def without_password(address: str) -> str:
    """Return the address for an error: ``host`` of ``http://user:password@host/?token=...``."""
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "", address
    user, _, host = place.rpartition("@")
    if re.search("[?#]", user):  # the query may contain @
        host = "..."
    return scheme + separator + re.split("[?#]", host, maxsplit=1)[0]


def parse_addresses(address: Address) -> tuple[str, ...]:
    """Parse an address or several, as a tuple of at least one. Raises InvalidInput."""
    try:
        if isinstance(address, bytes):
            raise TypeError
        addresses = (address,) if isinstance(address, str) else tuple(address)
    except TypeError:
        addresses = ()
    if not addresses or not all(isinstance(each, str) for each in addresses):
        # The message omits the value: it may contain a password.
        kinds = sorted({type(each).__name__ for each in addresses})
        given = f"a {type(address).__name__}" + (f" of {', '.join(kinds)}" if kinds else "")
        if address in ([], ()):
            given = f"an empty {type(address).__name__}"
        raise InvalidInput(f"{given} is not an address; give one as text, or a list of them")
    for each in addresses:
        # gRPC takes a port modulo 65536, and would call another server.
        port = each.rpartition(":")[2].rstrip("/")
        if port.isdecimal() and not 0 < int(port) <= _HIGHEST_PORT:
            shown = without_password(each)
            raise InvalidInput(f"{shown!r} has no port from 1 to {_HIGHEST_PORT}; give HOST:PORT")
    return addresses
