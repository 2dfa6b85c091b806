"""What every reader offers: a file of rows as a table of named columns.

A missing value is NaN in a block; what counts as missing is the reader's to say. Rows are counted
from 1, without a header.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import ColumnMismatch

Block = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ColumnKind:
    """What a column holds: numbers, something else, or (``numeric`` None) no values at all.

    ``holds`` says it in words, as in "text ('Adelie')" or "no values".
    """

    numeric: bool | None
    holds: str


class Table(Protocol):
    """A file of rows.

    Attributes:
        name: the file, as the user named it.
        columns: the names of the columns, in the order of the file.
        named: whether the file itself names them; without names, columns go by their place.
    """

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def named(self) -> bool: ...

    def kinds(self) -> Mapping[str, ColumnKind]:
        """What each column holds, by the first value that is not missing, or by its type."""

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The rows in order, in blocks float32 or float64 [n, len(columns)] of bounded memory.

        Raises:
            ColumnMismatch: a column is not there, or its type holds no numbers.
            BadCell: a cell is not a number.
            UnreadableFile: the file is damaged.
        """

    def place(self, row: int) -> str:
        """Where a row (from 1) is, for a message: "row 3 (line 4)". May read the file again."""


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
