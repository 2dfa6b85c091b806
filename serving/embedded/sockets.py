"""The sockets that the server listens on."""

import errno
import socket

from serving.embedded.errors import AddressUnavailable, InvalidOptions, PortInUse

Port = int | str
AUTO = "auto"
"""The value of a port option that selects a free port."""

_MAX_PORT = 65535


def check_port(option: str, port: Port) -> None:
    """Check a port option.

    Raises:
        InvalidOptions: the port is neither ``"auto"`` nor a number from 0 (off) to 65535.
    """
    is_number = isinstance(port, int) and 0 <= port <= _MAX_PORT
    if not (port == AUTO or is_number):
        raise InvalidOptions(
            f"{option} {port!r} is not a port; give a number from 1 to {_MAX_PORT}, 0 for off, "
            'or "auto" for a free one'
        )


def bind_socket(option: str, host: str, port: Port) -> socket.socket:
    """Return a socket that is bound to host and port, and does not listen yet.

    Raises:
        PortInUse: another socket has the port.
        AddressUnavailable: binding failed for another reason.
        InvalidOptions: the host has no address.
    """
    number = 0 if port == AUTO else int(port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise InvalidOptions(
            f"host {host!r} has no address ({error.strerror}); give a name or an address of "
            "this machine"
        ) from error
    opened = socket.socket(family, kind, protocol)
    try:
        # A port whose last connections are in TIME_WAIT is free.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"{option} {port} on {host} is in use; stop the program that listens there, or "
                'give another port ("auto" takes a free one)'
            ) from error
        raise AddressUnavailable(
            f"{option} {port} on {host} can't be listened on: {error.strerror}"
        ) from error
    return opened


def address_of(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
