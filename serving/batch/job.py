"""A job of batch scoring: rows, model and output. It can be pickled.

The rows of a file are cut into parts of ``part_rows``, each of which becomes one file of the
output; a part is scored in batches that are counted from its own first row. So the answers are the
same whoever scores a part, and wherever an earlier run ended: the clusters are, and the distances
to 5e-7 of themselves.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kmeans_module.contract import ASSIGN, SIGNATURES

from ..tables.model_rows import ModelColumns
from ..tables.reading_options import ReadingOptions

if TYPE_CHECKING:
    import pyarrow as pa


class Format(StrEnum):
    """The format of the output."""

    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"
    TFRECORD = "tfrecord"


class OnBadRow(StrEnum):
    """The treatment of a row that cannot be scored: write it to ``rejected``, or end the job."""

    REJECT = "reject"
    FAIL = "fail"


@dataclass(frozen=True)
class ScoredModel:
    """The model that answers: its name, its version, and the SHA-256 of its card's file."""

    name: str
    version: int
    sha256: str


@dataclass(frozen=True)
class JobInput:
    """A file of rows.

    Attributes:
        path: where it lies.
        name: what it is called in messages and in ``rejected``.
        columns: those of its columns that the model takes.
        is_copy: whether the file is a copy of standard input, made for this run.
    """

    path: Path
    name: str
    columns: tuple[str, ...]
    is_copy: bool = False


@dataclass(frozen=True)
class Job:
    """A job of batch scoring.

    Attributes:
        inputs: the files, in order.
        output: the folder that is written.
        model: who answers.
        n_clusters: k of the model.
        takes: what the model takes of a table.
        keep: columns of the inputs that are carried along.
        kept: their types in the output; None when there are none.
        signatures: what is asked of the model, of ``assign``, ``score`` and ``transform``.
        format: what is written.
        on_bad_row: what becomes of a row that cannot be scored.
        part_rows: the rows of a part.
        limit: the rows of all inputs that are read; None is all.
        reading: how the inputs that are text are written.
    """

    inputs: tuple[JobInput, ...]
    output: Path
    model: ScoredModel
    n_clusters: int
    takes: ModelColumns
    keep: tuple[str, ...] = ()
    kept: "pa.Schema | None" = None
    signatures: tuple[str, ...] = (ASSIGN,)
    format: Format = Format.PARQUET
    on_bad_row: OnBadRow = OnBadRow.REJECT
    part_rows: int = 2**20
    limit: int | None = None
    reading: ReadingOptions = ReadingOptions()

    @property
    def answers(self) -> tuple[str, ...]:
        """The names of the answers, in the order of the output."""
        return tuple(tensor.name for name in self.signatures for tensor in SIGNATURES[name].outputs)


@dataclass(frozen=True)
class PartRange:
    """Consecutive parts of one input.

    Attributes:
        input_number: that of the input in the job, from 0.
        first: the number of the first part.
        rows_before: the rows of the input before the first part.
        stop: the number of the part after the last one; None goes to the end of the file.
    """

    input_number: int
    first: int
    rows_before: int
    stop: int | None = None


def part_name(input_number: int, part: int) -> str:
    """The name of a part, such as ``part-00000-00002``: the numbers of the input and the part, from
    0.
    """
    return f"part-{input_number:05d}-{part:05d}"
