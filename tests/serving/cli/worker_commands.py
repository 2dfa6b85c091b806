"""``tfkmeans train`` as workers of this machine, each in a process that has imported TensorFlow."""

import io
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest.mock import patch

from serving.cli import main
from tests.kmeans_module.fit_bits import digest_without_rows
from tests.kmeans_module.worker_processes import Started, config, fork_server, free_addresses


@dataclass(frozen=True)
class Ended:
    """What a command left.

    Attributes:
        code: of its exit.
        out, err: what it printed.
        digests: of the fits that it was to write as a candidate, which are only taken down.
        iterations: as it was told of them.
    """

    code: int
    out: str
    err: str
    digests: list[str]
    iterations: list[int]


@dataclass(frozen=True)
class Command:
    """A worker's command.

    Attributes:
        arguments: of ``train``.
        folder: where it runs.
        is_written: whether candidates are written, which takes as long as all else.
        dies_in: the iteration in which the process dies as of kill -9; 0 is none.
    """

    arguments: Sequence[str]
    folder: Path
    is_written: bool = False
    dies_in: int = 0


class Commands:
    """Workers; those that run are killed when the block is left."""

    def __init__(self, workers: int = 2) -> None:
        self.addresses: Final = free_addresses(workers)
        self._started: list[Started] = []

    def start(self, number: int, command: Command) -> Started:
        """Start the worker of that number; it says how it ended."""
        context = fork_server()
        here, there = context.Pipe()
        arguments = config(self.addresses, number), command, there
        process = context.Process(target=_work, args=arguments, daemon=False)
        process.start()
        there.close()
        self._started.append(Started(process, here))
        return self._started[-1]

    def run(self, *commands: Command) -> list[Ended]:
        """Start a worker for each command, and wait until all have ended."""
        started = [self.start(number, command) for number, command in enumerate(commands)]
        return [each.hear() for each in started]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _: object, _trace: TracebackType | None
    ) -> None:
        for each in self._started:
            each.kill()
            each.pipe.close()


def _work(tf_config: str, command: Command, pipe: Connection) -> None:
    os.environ["TF_CONFIG"] = tf_config
    os.chdir(command.folder)
    pipe.send(run_command(command))
    # A forked process has nothing to tidy up.
    os._exit(0)


def run_command(command: Command) -> Ended:
    """Run ``train`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    digests: list[str] = []
    iterations: list[int] = []

    def tell(detail: str, _share: float | None = None) -> None:
        if "iteration " in detail:
            iterations.append(int(detail.partition("iteration ")[2].partition(",")[0]))
            if iterations[-1] == command.dies_in:
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def progress(_: str) -> Iterator[Any]:
        yield tell

    with ExitStack() as stack:
        stack.enter_context(patch("serving.cli.train.progress", progress))
        if not command.is_written:
            take = lambda _, result, *_rest, **_options: digests.append(  # noqa: E731
                digest_without_rows(result)
            )
            stack.enter_context(patch("export.write_candidate", take))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        code = main(["train", *command.arguments])
    return Ended(code, out.getvalue(), err.getvalue(), digests, iterations)
