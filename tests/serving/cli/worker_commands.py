"""``tfkmeans train`` as workers of this machine, each in a process that has imported TensorFlow."""

import hashlib
import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
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
        digests: of the fits that it was to write as a candidate, and of the columns of the rows
            that travel with them, which are only taken down.
        iterations: as it was told of them.
    """

    code: int
    out: str
    err: str
    digests: list[str]
    iterations: list[int]


#: Where a worker may be lost, and what it calls there: the options and files are agreed on; rows
#: are read into a cache, a block at a time; rows of a pass are read; sums are reduced; all rows are
#: measured for a version; and all has been written.
STAGES: Final = {
    "start": "serving.cli.training_input.agree_on_files",
    "cache": "serving.tables.row_cache._Reader._round",
    "pass": "kmeans_module.shared_source._SharedSource.read_into",
    "reduce": "kmeans_module.workers._Collective.sum",
    "publish": "kmeans_module.shared_source._SentRows._answer",
    "end": "kmeans_module.workers._Collective.leave",
}


@dataclass(frozen=True)
class Command:
    """A worker's command.

    Attributes:
        arguments: of ``train``.
        folder: where it runs.
        is_written: whether candidates are written, which takes as long as all else.
        fails: the signal that the process gets, and at which stage; SIGKILL ends it, and SIGSTOP
            freezes it. Passes and reductions are those after the first iteration.
    """

    arguments: Sequence[str]
    folder: Path
    is_written: bool = False
    fails: tuple[signal.Signals, str] | None = None


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

    @contextmanager
    def progress(_: str) -> Iterator[Any]:
        yield tell

    with ExitStack() as stack:
        stack.enter_context(patch("serving.cli.train.progress", progress))
        if command.fails is not None:
            number, stage_name = command.fails
            is_after = stage_name in ("pass", "reduce")
            stack.enter_context(
                _failing(STAGES[stage_name], number, lambda: bool(iterations) or not is_after)
            )
        if not command.is_written:

            def take(
                _: Path, result: Any, _card: Any, _rows: Any, columns: Any, **_options: Any
            ) -> None:
                digests.append(digest_without_rows(result) + _digest_columns(columns))

            stack.enter_context(patch("export.write_candidate", take))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        code = main(["train", *command.arguments])
    return Ended(code, out.getvalue(), err.getvalue(), digests, iterations)


@contextmanager
def _failing(place: str, number: signal.Signals, is_due: Callable[[], bool]) -> Iterator[None]:
    """Have the process get a signal where it calls the function of that name."""
    module_or_class, _, name = place.rpartition(".")
    function = getattr(resolve_name(module_or_class), name)

    def fail(*arguments: Any, **keywords: Any) -> Any:
        if is_due():
            os.kill(os.getpid(), number)
        return function(*arguments, **keywords)

    with patch(place, fail):
        yield


def _digest_columns(columns: Any) -> str:
    if columns is None:
        return ""
    cells = {name: tensor.tolist() for name, tensor in columns.tensors.items()}
    return hashlib.sha256(repr(cells).encode()).hexdigest()
