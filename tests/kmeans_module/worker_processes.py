"""Workers in processes of this machine, which are forked from one that has imported TensorFlow."""

import json
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from threading import Event
from typing import Any, Final

from kmeans_module import Reducer, connect_workers

#: Seconds until a worker must have answered; a machine that others use is slow.
DEADLINE: Final = 120.0

Function = Callable[[Reducer, Connection], Any]


@dataclass(frozen=True)
class Answer:
    """What a worker left.

    Attributes:
        result: what its function returned, or None.
        error: the name of the class of what it raised, or "".
        message: of that.
        ended: by the clock of the machine.
    """

    result: Any
    error: str
    message: str
    ended: float


@dataclass
class Started:
    """A worker that runs."""

    process: Any
    pipe: Connection

    def hear(self, timeout: float = DEADLINE) -> Any:
        """What it says next."""
        if not self.pipe.poll(timeout):
            raise TimeoutError("the worker said nothing")
        return self.pipe.recv()

    def kill(self) -> None:
        """End it as kill -9 does, also where it is stopped."""
        self.process.kill()
        self.process.join()


def free_addresses(count: int) -> list[str]:
    """Ports of this machine that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


def wait_until_listens(address: str) -> None:
    """Wait until TensorFlow of the worker at that address listens."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens at {address}")


def fork_server() -> ForkServerContext:
    """Where workers come from; TensorFlow is imported once."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.kmeans_module.worker_fits"])
    return context


def config(addresses: Sequence[str], number: int, job: str = "worker") -> str:
    """TF_CONFIG of one of the workers."""
    return json.dumps({"cluster": {job: list(addresses)}, "task": {"type": job, "index": number}})


class Job:
    """As many workers as are started; those that run are killed when the job is left.

    A function gets the reducer and a pipe to the test. What it returns or raises is the last that
    its worker says.
    """

    def __init__(self, count: int, start_timeout: float = DEADLINE) -> None:
        self.addresses, self._start_timeout = free_addresses(count), start_timeout
        self._started: list[Started] = []

    def start(self, number: int, function: Function) -> Started:
        """Start the worker of that number."""
        context = fork_server()
        here, there = context.Pipe()
        arguments = (config(self.addresses, number), self._start_timeout, function, there)
        process = context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        there.close()
        self._started.append(Started(process, here))
        return self._started[-1]

    def run(self, *functions: Function) -> list[Answer]:
        """Start a worker for each function, and hear them all."""
        started = [self.start(number, function) for number, function in enumerate(functions)]
        return [each.hear() for each in started]

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._started:
            each.kill()
            each.pipe.close()


def _work(
    tf_config: str,
    start_timeout: float,
    function: Function,
    pipe: Connection,
) -> None:
    os.environ["TF_CONFIG"] = tf_config
    try:
        with connect_workers(start_timeout=start_timeout) as reducer:
            result = function(reducer, pipe)
        answer = Answer(result, "", "", time.time())
    except Exception as error:  # noqa: BLE001  # the test compares it
        answer = Answer(None, type(error).__name__, str(error), time.time())
    except KeyboardInterrupt as interruption:
        # As a notebook it lives on.
        pipe.send(Answer(None, type(interruption).__name__, "", time.time()))
        Event().wait()
        return
    pipe.send(answer)
    # A forked process has nothing to tidy up.
    os._exit(0)


def cuts(n: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Ranges of n rows, one for each worker; some may be empty."""
    drawn = random.Random(seed)
    ends = sorted(drawn.choices(range(n + 1), k=count - 1))
    return list(zip([0, *ends], [*ends, n], strict=True))
