"""A TCP proxy between a client and a server, that does to their bytes what networks do."""

import contextlib
import random
import socket
import threading
from typing import Literal, Self

Trouble = Literal["none", "cut", "cut answer", "delay", "corrupt", "swallow", "refuse"]


class Proxy:
    """Passes bytes between its own port and a server's.

    Attributes:
        trouble: what happens from now on. ``cut`` and ``cut answer`` end a connection in the middle
            of a block from either side, or from the server; ``delay`` holds a block for a moment;
            ``corrupt`` changes a byte of each block; ``swallow`` takes bytes and passes none on;
            ``refuse`` ends every connection as soon as it is made.
    """

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._random = random.Random(seed)
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._end = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.trouble: Trouble = "none"
        self._start(self._accept)

    def _start(self, act: object, *args: object) -> None:
        thread = threading.Thread(target=act, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.trouble == "refuse":
                client.close()
                continue
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            self._sockets |= {client, server}
            self._start(self._pump, client, server, False)
            self._start(self._pump, server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):  # the other direction has ended the connection
            swallowing = False
            while block := source.recv(1 << 16):
                # What was lost cannot be made up for: such a connection stays dead.
                swallowing = swallowing or self.trouble == "swallow"
                if swallowing:
                    continue
                if self.trouble == "cut" or (self.trouble == "cut answer" and is_answer):
                    sink.sendall(block[: self._random.randrange(len(block))])
                    break
                if self.trouble == "delay":
                    self._end.wait(0.03)
                if self.trouble == "corrupt":
                    changed = bytearray(block)
                    changed[self._random.randrange(len(block))] ^= 1 << self._random.randrange(8)
                    block = bytes(changed)
                sink.sendall(block)
        for each in (source, sink):
            with contextlib.suppress(OSError):  # ended already
                each.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):  # ended already
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()
