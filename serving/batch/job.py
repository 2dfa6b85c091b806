"""The job of batch scoring: read rows in blocks, score them, write what was said of them.

Row i of the output belongs to row i of the inputs, taken one after the other in their order. A row
with a missing value or infinity is not scored; it has -1 in both columns.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from kmeans_module.contract import BAD_ROW
from serving.results import Assignment

from .errors import ColumnMismatch, OutputNotWritten
from .scorer import Scorer
from .table import Table, require_columns

#: Bytes of points that are scored at a time; a request to a server stays below its limits too.
_BATCH_BYTES: Final = 2 * 2**20

_BATCH_ROWS: Final = 2**15


@dataclass(frozen=True)
class ScoreReport:
    """What a job did: rows read, rows with -1 for an answer, seconds, and where the answers lie."""

    rows: int
    rows_not_scored: int
    seconds: float
    output: Path


def score_files(
    tables: Sequence[Table],
    output: Path,
    scorer: Scorer,
    feature_names: Sequence[str],
    *,
    overwrite: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> ScoreReport:
    """Score every row of ``tables`` into ``output``, ``.csv`` or ``.parquet``.

    Args:
        feature_names: the columns that the model takes, in its order.
        overwrite: whether an existing output may be replaced.
        on_rows: called with the number of rows of each batch that was scored.

    Raises:
        ColumnMismatch: a table lacks a column; before any row is scored.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
        OutputNotWritten: ``output`` exists, or cannot be written. Nothing is left of it.
    """
    from .writers import assignment_writer, check_output

    began = time.monotonic()
    check_output(output, overwrite=overwrite)
    for table in tables:
        if output.exists() and Path(table.name).exists() and output.samefile(table.name):
            raise OutputNotWritten(f"{output}: is one of the inputs; name another file")
    rows = not_scored = 0
    with assignment_writer(output) as write:
        for assignment in assignments(tables, scorer, feature_names):
            write(assignment)
            rows += len(assignment.cluster_index)
            not_scored += count_not_scored(assignment)
            if on_rows is not None:
                on_rows(len(assignment.cluster_index))
    return ScoreReport(rows, not_scored, time.monotonic() - began, output)


def assignments(
    tables: Iterable[Table], scorer: Scorer, feature_names: Sequence[str]
) -> Iterator[Assignment]:
    """Score the rows of ``tables`` in order, batch by batch; the columns are checked at once.

    Raises ColumnMismatch, BadCell, UnreadableFile as ``score_files`` does.
    """
    picked = [(table, model_columns(table, feature_names)) for table in tables]
    return _assignments(picked, scorer)


def _assignments(
    picked: Iterable[tuple[Table, Sequence[str]]], scorer: Scorer
) -> Iterator[Assignment]:
    for table, columns in picked:
        rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES // (4 * len(columns))))
        for block in table.blocks(columns):
            # A number beyond float32 becomes infinity, and so a row that is not scored.
            with np.errstate(over="ignore"):
                points = block.astype(np.float32, copy=False)
            for start in range(0, len(points), rows):
                yield scorer.assign(points[start : start + rows])


def model_columns(table: Table, feature_names: Sequence[str]) -> tuple[str, ...]:
    """The columns of ``table`` that the model takes, in the order that it takes them.

    By name; a table without names of its own is also taken by place, when its width is the model's.
    Raises ColumnMismatch.
    """
    if set(feature_names) <= set(table.columns) or table.named:
        require_columns(table, feature_names)
        return tuple(feature_names)
    if len(table.columns) != len(feature_names):
        raise ColumnMismatch(
            f"{table.name}: has {len(table.columns)} columns, and the model takes "
            f"{len(feature_names)}: {', '.join(feature_names)}"
        )
    return table.columns


def extra_columns(tables: Iterable[Table], feature_names: Sequence[str]) -> tuple[str, ...]:
    """The names of the columns that the model does not take, each once."""
    taken = set(feature_names)
    return tuple(
        dict.fromkeys(
            column
            for table in tables
            if table.named
            for column in table.columns
            if column not in taken
        )
    )


def count_not_scored(assignment: Assignment) -> int:
    """The rows that have -1 for an answer."""
    return int(np.count_nonzero(assignment.cluster_index == BAD_ROW))
