"""Measure the delay of answers over REST by delayed acknowledgements, with and without our fix.

::

    python benchmarks/rest_delay.py [--rounds N]

A server on loopback writes its answers in pieces of 16 KiB with Nagle's algorithm, like the HTTP
server of TensorFlow Serving. The benchmark prints the median milliseconds of ``transform``, for
several numbers of rows, of a ``RestClient`` and of one without immediate acknowledgement, called in
turn.
"""

import argparse
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

# As a script, this folder comes first, and its serving.py would hide the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]

ROWS: Final = (32, 256, 1024, 4096)
CLUSTERS: Final = 12
_PIECE: Final = 16_384


@contextmanager
def delaying_server() -> Iterator[str]:
    """Start a server that answers ``transform`` in pieces; yield its address."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as received:
            while received.readline():
                size = 0
                while (line := received.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode().partition(":")
                    if name.lower() == "content-length":
                        size = int(value)
                asked = json.loads(received.read(size)) if size else {}
                distances = [[1.5] * CLUSTERS] * len(asked.get("instances", ()))
                body = json.dumps({"predictions": distances}).encode()
                status = "200 OK" if size else "403 Forbidden"  # no metadata
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
                answer = head.encode() + body
                for start in range(0, len(answer), _PIECE):
                    connection.sendall(answer[start : start + _PIECE])

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the end
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0))
    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()


def measure(rounds: int) -> list[dict[str, float]]:
    """Return the median milliseconds of a call, for each number of rows."""
    from serving import RestClient
    from serving.clients import rest_connection

    results = []
    with delaying_server() as address, RestClient(address, "customers") as client:
        for rows in ROWS:
            points: Any = np.ones((rows, 2))
            spent: dict[str, list[float]] = {"at once": [], "delayed": []}
            for _ in range(rounds):
                for name, times in spent.items():
                    with mock.patch.object(
                        rest_connection,
                        "_acknowledge_at_once",
                        rest_connection._acknowledge_at_once if name == "at once" else mock.Mock(),
                    ):
                        start = time.perf_counter()
                        client.transform(points, timeout=30)
                        times.append((time.perf_counter() - start) * 1e3)
            medians = {name: statistics.median(times) for name, times in spent.items()}
            results.append({"rows": rows, **medians})
    return results


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="calls of each kind and size")
    print(f"{'rows':>6} {'at once, ms':>12} {'delayed, ms':>12}")
    for each in measure(parser.parse_args().rounds):
        print(f"{each['rows']:>6,} {each['at once']:>12.2f} {each['delayed']:>12.2f}")


if __name__ == "__main__":
    main()
