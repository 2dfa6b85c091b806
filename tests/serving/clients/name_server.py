"""A server of names, for what clients do when a name gets other addresses."""

import socket
import struct
import threading
from typing import Self


class NameServer:
    """Answers questions for the IPv4 addresses of any name with those that are set.

    Attributes:
        addresses: what is answered from now on; none of them is a name that is not known.
        place: its own ``host:port``, UDP.
    """

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while (received := self._socket.recvfrom(512))[0]:
            question, client = received
            self._socket.sendto(self._answer(question), client)

    def _answer(self, message: bytes) -> bytes:
        end = message.index(b"\0", 12) + 5  # of the name, with the kind and the class
        (kind,) = struct.unpack("!H", message[end - 4 : end - 2])
        found = self.addresses if kind == 1 else []  # IPv6 is another kind
        no_such_name = 0 if self.addresses else 3
        header = message[:2] + struct.pack("!HHHHH", 0x8180 | no_such_name, 1, len(found), 0, 0)
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(each) for each in found
        )
        return header + message[12:end] + records

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        host, port = self.place.split(":")
        self._socket.sendto(b"", (host, int(port)))
        self._thread.join()
        self._socket.close()
