"""What every reader offers: a file of rows as a table of named columns.

A missing value is NaN in a block; what counts as missing is the reader's to say. Rows are counted
from 1, without a header.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadCell, ColumnMismatch

if TYPE_CHECKING:
    import pyarrow as pa

Block = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ColumnKind:
    """What a column holds: numbers, something else, or (``numeric`` None) no values at all.

    ``holds`` says it in words, as in "text ('Adelie')" or "no values".
    """

    numeric: bool | None
    holds: str


@dataclass(frozen=True)
class Fault:
    """A row that holds what is no number: ``row`` counts from 0 in its chunk.

    ``column`` is empty where the row as a whole is wrong. ``reason`` says what, and the mend.
    """

    row: int
    column: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        points: the columns asked for, float32 or float64 [n, d]; NaN is a missing value, and fills
            what a fault leaves open.
        kept: n rows of the columns to carry along, None when there are none.
        faults: at most one a row, in the order of the rows.
    """

    points: Block
    kept: "pa.RecordBatch | None" = None
    faults: tuple[Fault, ...] = ()

    def slice(self, start: int, stop: int) -> "Chunk":
        """The rows from ``start`` to ``stop``, without a copy."""
        if start == 0 and stop >= len(self.points):
            return self
        return Chunk(
            self.points[start:stop],
            None if self.kept is None else self.kept.slice(start, stop - start),
            tuple(
                replace(fault, row=fault.row - start)
                for fault in self.faults
                if start <= fault.row < stop
            ),
        )


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """The rows of these chunks of one table in one; at least one, and none without rows."""
    if len(chunks) == 1:
        return chunks[0]
    faults: list[Fault] = []
    before = 0
    for chunk in chunks:
        faults.extend(replace(fault, row=before + fault.row) for fault in chunk.faults)
        before += len(chunk.points)
    kept = [chunk.kept for chunk in chunks if chunk.kept is not None]
    if kept:
        import pyarrow as pa

    return Chunk(
        np.concatenate([chunk.points for chunk in chunks]),
        pa.Table.from_batches(kept).combine_chunks().to_batches()[0] if kept else None,
        tuple(faults),
    )


class Table(ABC):
    """A file of rows.

    Attributes:
        name: the file, as the user named it.
        columns: the names of the columns, in the order of the file.
        named: whether the file itself names them; without names, columns go by their place.
        rows: how many rows it has; None where only reading all of it can tell.
        likely_rows: the same, or about so many where they are not counted; None is no idea.
    """

    name: str
    columns: tuple[str, ...]
    named: bool = True
    rows: int | None = None

    @property
    def likely_rows(self) -> int | None:
        return self.rows

    @abstractmethod
    def kinds(self) -> Mapping[str, ColumnKind]:
        """What each column holds, by the first value that is not missing, or by its type."""

    @abstractmethod
    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Check, without reading all rows, that ``columns`` hold numbers and ``keep`` is there.

        Raises ColumnMismatch.
        """

    @abstractmethod
    def kept_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        """The types that these columns have in ``Chunk.kept``."""

    @abstractmethod
    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        """The rows in order, without the first ``start``, in chunks of bounded memory.

        Raises:
            ColumnMismatch: a column is not there, or its type holds no numbers.
            UnreadableFile: the file is damaged.
        """

    @abstractmethod
    def place(self, row: int) -> str:
        """Where a row (from 1) is, for a message: "row 3 (line 4)". May read the file again."""

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The rows in order, in blocks float32 or float64 [n, len(columns)] of bounded memory.

        Raises:
            ColumnMismatch: a column is not there, or its type holds no numbers.
            BadCell: a cell is not a number.
            UnreadableFile: the file is damaged.
        """
        before = 0
        for chunk in self.chunks(columns):
            for fault in chunk.faults[:1]:
                raise BadCell(self.described(fault, before))
            yield chunk.points
            before += len(chunk.points)

    def described(self, fault: Fault, rows_before: int) -> str:
        """A fault as a message, in a chunk with so many rows before it."""
        place = self.place(rows_before + fault.row + 1)
        column = f", column {fault.column!r}:" if fault.column else ""
        return f"{self.name}: {place}{column} {fault.reason}"


def require_columns(table: Table, wanted: Sequence[str]) -> None:
    """Check that a table has every column that is wanted.

    Raises ColumnMismatch: names those that it lacks, and those that it has.
    """
    lacking = [column for column in wanted if column not in table.columns]
    if not lacking:
        return
    near = get_close_matches(lacking[0], table.columns, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ColumnMismatch(
        f"{table.name}: no column {', '.join(map(repr, lacking))}{hint} "
        f"(it has {', '.join(table.columns)})"
    )


def check_names(name: str, columns: Sequence[str]) -> None:
    """Check that no name stands twice; columns without a name are let through.

    Raises ColumnMismatch.
    """
    seen: set[str] = set()
    for number, column in enumerate(columns, start=1):
        if column and column in seen:
            first = columns.index(column) + 1
            raise ColumnMismatch(
                f"{name}: columns {first} and {number} are both named {column!r}; rename one"
            )
        seen.add(column)


def no_numbers(name: str, column: str, holds: str) -> ColumnMismatch:
    """The error of a column that was asked for numbers and holds something else."""
    return ColumnMismatch(
        f"{name}: column {column!r} holds {holds}, not numbers; "
        "leave it out, or write it as a number"
    )
