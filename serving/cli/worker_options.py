"""Several processes of one command that fit together, each with rows of its own."""

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
    """What says who the workers are."""

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
    """Whether several workers fit together."""

    panel: ClassVar[str] = "More machines than one"

    workers: Annotated[
        WorkersFrom | None,
        typer.Option(
            help="The same command runs on several machines, which the variable TF_CONFIG names: "
            "each reads a part of the rows, and the first (the chief, or worker 0) writes what "
            "there is to write. All must see the files.",
        ),
    ] = None
    start_timeout: Annotated[
        float | None,
        typer.Option(
            parser=parse_amount,
            metavar="S",
            help=f"With --workers: seconds to wait for the others; {_START_TIMEOUT:g} when not "
            "given.",
        ),
    ] = None

    def check(self, files: Sequence[Path]) -> None:
        """Check what goes with several workers. Raises UserMistake, InvalidCluster."""
        if self.workers is None:
            if self.start_timeout is not None:
                raise UserMistake(
                    f"--start-timeout {self.start_timeout:g}: is for --workers; add it"
                )
            return
        if Path("-") in files:
            raise UserMistake(
                "-: only one worker has this standard input; name a file that all workers see"
            )
        self._cluster()

    @property
    def is_first(self) -> bool:
        """Whether this process writes what there is to write. Raises InvalidCluster."""
        return self.workers is None or self._cluster().own == 0

    @contextmanager
    def connect(self, told: Mapping[str, Any]) -> "Iterator[Reducer | None]":
        """How this worker comes together with the others; None without ``--workers``.

        Args:
            told: what all workers are to have been told alike, by the names of options.

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
