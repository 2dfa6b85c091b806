"""Options of a fit by several processes, each with its own rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar

import typer

from export.errors import ExportError, MoveFailed, PublishRefused

from .arguments import parse_amount
from .errors import UserMistake
from .tensorflow_import import load_tensorflow

if TYPE_CHECKING:
    from kmeans_module import Reducer

Value = TypeVar("Value")

#: Seconds to wait for the last worker.
_START_TIMEOUT: Final = 600.0


class WorkersFrom(StrEnum):
    """The source of the list of workers."""

    TF_CONFIG = "tf-config"


@contextmanager
def refusal_after(block: AbstractContextManager[Value]) -> Iterator[Value]:
    """A block that a refusal leaves as its end does, and is raised behind it.

    A version that is refused, or that no server takes, is how a job may end: all workers have done
    their part. An error would end the others, too, and leave a checkpoint to go on from.

    Raises:
        PublishRefused, MoveFailed: of the block.
    """
    refusal: ExportError | None = None
    with block as value:
        try:
            yield value
        except (PublishRefused, MoveFailed) as error:
            refusal = error
    if refusal is not None:
        raise refusal


@dataclass(frozen=True)
class WorkerOptions:
    """Whether several workers run one fit."""

    panel: ClassVar[str] = "Several machines"

    workers: Annotated[
        WorkersFrom | None,
        typer.Option(
            help="Run the same command on several machines, listed in the variable TF_CONFIG: "
            "each reads a part of the rows, and the first (the chief, or worker 0) writes "
            "all output. All must see the files.",
        ),
    ] = None
    start_timeout: Annotated[
        float | None,
        typer.Option(
            parser=parse_amount,
            metavar="S",
            help=f"With --workers: seconds to wait for the others; by default {_START_TIMEOUT:g}.",
        ),
    ] = None

    def check(self, files: Sequence[Path]) -> None:
        """Check the options for several workers. Raises UserMistake, InvalidCluster."""
        if self.workers is None:
            if self.start_timeout is not None:
                raise UserMistake(
                    f"--start-timeout {self.start_timeout:g}: requires --workers; add it"
                )
            return
        if Path("-") in files:
            raise UserMistake(
                "-: standard input exists on one worker only; give a file that all workers see"
            )
        self._cluster()

    @property
    def is_first(self) -> bool:
        """Whether this process writes the output. Raises InvalidCluster."""
        return self.workers is None or self._cluster().own == 0

    @contextmanager
    def connect(self, told: Mapping[str, Any]) -> "Iterator[Reducer | None]":
        """The connection of this worker to the others; None without ``--workers``.

        Args:
            told: the values that all workers must share, by the names of options.

        Raises:
            WorkerAbsent, WorkerLost, WorkerFailed, WorkersDiffer: as ``connect_workers`` says.
        """
        if self.workers is None:
            yield None
            return
        load_tensorflow("train")
        from kmeans_module import connect_workers

        timeout = _START_TIMEOUT if self.start_timeout is None else self.start_timeout
        with connect_workers(start_timeout=timeout) as reducer:
            reducer.agree({"--" + name.replace("_", "-"): value for name, value in told.items()})
            yield reducer

    def _cluster(self) -> Any:
        from kmeans_module.worker_cluster import Cluster

        return Cluster.from_environment()
