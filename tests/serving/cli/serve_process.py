"""``serve`` in a process of its own."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .command import COMMAND, environment


class ServeProcess:
    """A server in a process of its own, and its log as it comes.

    Attributes:
        grpc_address, rest_address: what it printed when it was ready; None where it has none.
        lines: its log.
    """

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *map(str, arguments)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        self.grpc_address: str | None = None
        self.rest_address: str | None = None
        first = self.process.stdout.readline()
        assert first, self.end()
        if "--json" in arguments:
            addresses = json.loads(first)
            assert set(addresses) == {"grpc_address", "rest_address"}
            self.grpc_address = addresses["grpc_address"]
            self.rest_address = addresses["rest_address"]
        else:
            self.rest_address = self.process.stdout.readline().split("http://")[1].strip()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def end(self) -> int:
        """End it by SIGTERM where it still runs; gives the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(60)
        self._reader.join(60)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code


@contextmanager
def serve_process(*arguments: object) -> Iterator[ServeProcess]:
    """A running server; ended by SIGTERM."""
    process = ServeProcess(*arguments)
    try:
        yield process
    finally:
        process.end()
