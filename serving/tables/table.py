"""What every reader offers: a file of rows as a table of named columns.

A missing value is NaN in a block; what counts as missing, ``columns`` says. Rows are counted from
1, without a header.
"""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_module.category_texts import spell
from kmeans_module.columns import CategoryColumn

from .columns import UNNAMED, ColumnKind, require_columns, require_numbers, require_width
from .errors import BadCell

if TYPE_CHECKING:
    import pyarrow as pa

    from kmeans_module.workers import Reducer

Block = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row that holds what is no number.

    ``column`` is empty where the row as a whole is wrong. ``reason`` says what, and the mend.
    """

    column: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        points: the columns asked for side by side, float32 or float64 [n, d], where a column of
            vectors is as many as its width; NaN is a missing value, and fills what a fault leaves
            open.
        kept: n rows of the columns to carry along, None when there are none.
        faults: by the row, counted from 0 in the chunk; at most one a row.
    """

    points: Block
    kept: "pa.RecordBatch | None" = None
    faults: Mapping[int, Fault] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> "Chunk":
        """The rows from ``start`` to ``stop``, without a copy."""
        if start == 0 and stop >= len(self.points):
            return self
        return Chunk(
            self.points[start:stop],
            None if self.kept is None else self.kept.slice(start, stop - start),
            {row - start: fault for row, fault in self.faults.items() if start <= row < stop},
        )


def concat_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """The rows of these chunks of one table in one; at least one, and none without rows."""
    if len(chunks) == 1:
        return chunks[0]
    faults: dict[int, Fault] = {}
    before = 0
    for chunk in chunks:
        faults |= {before + row: fault for row, fault in chunk.faults.items()}
        before += len(chunk.points)
    kept = [chunk.kept for chunk in chunks if chunk.kept is not None]
    if kept:
        import pyarrow as pa

    return Chunk(
        np.concatenate([chunk.points for chunk in chunks]),
        pa.Table.from_batches(kept).combine_chunks().to_batches()[0] if kept else None,
        faults,
    )


class Table(ABC):
    """A file of rows.

    Attributes:
        name: the file, as the user named it.
        columns: the names of the columns, in the order of the file.
        has_names: whether the file itself names them; without names, columns go by their place.
        index_columns: those that are the index of a data frame, as the file itself says.
        rows: how many rows it has; None where only reading all of it can tell.
        estimated_rows: the same, or about so many where they are not counted; None is no idea.
    """

    name: str
    columns: tuple[str, ...]
    has_names: bool = True
    index_columns: tuple[str, ...] = ()
    rows: int | None = None

    #: The widths that ``with_widths`` has set.
    _widths: Mapping[str, int] = MappingProxyType({})

    #: The names that ``with_categories`` has set.
    _categories: frozenset[str] = frozenset()

    #: What ``by_columns`` has set.
    _is_by_columns: bool = False

    @property
    def looks_headerless(self) -> bool:
        """Whether the names look like a row of values, as where a file has no line of names."""
        return False

    @property
    def estimated_rows(self) -> int | None:
        return self.rows

    @property
    def beginnings(self) -> Sequence[int]:
        """The rows, from 0 and rising, where a reading can begin without those before.

        Where there is more than the first, ``rows`` is known.
        """
        return (0,)

    def with_beginnings(self, reducer: "Reducer") -> Self:
        """This table, with more beginnings where workers find them by counting its rows together.

        Each worker calls it. Raises UnreadableFile; WorkerLost and WorkerFailed, as
        ``connect_workers`` says.
        """
        return self

    def kinds(self) -> Mapping[str, ColumnKind]:
        """What each column holds, by its first values or by its type."""
        kinds = self._kinds()
        return {name: kinds[name] if name else UNNAMED for name in self.columns}

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """This table, whose values in these columns are to have so many numbers each.

        A vector of another length is a fault of its row, and a column without values is as wide.
        Where no vector has this length, ``check`` refuses the column.
        By default, a column is as wide as most of its first values.
        """
        table = copy.copy(self)
        table._widths = {**self._widths, **widths}
        return table

    def with_categories(self, names: Collection[str]) -> Self:
        """This table, whose columns of these names are categories where they are kept.

        A value that can be none, as a list, is a fault of its row then.
        """
        table = copy.copy(self)
        table._categories = frozenset(names)
        return table

    def by_columns(self) -> Self:
        """This table, whose points lie column by column where that is how its file has them.

        For who reads them so: no row is put together.
        """
        table = copy.copy(self)
        table._is_by_columns = True
        return table

    @abstractmethod
    def _kinds(self) -> Mapping[str, ColumnKind]:
        """What each column that has a name holds."""

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Check, without reading all rows, that ``columns`` hold numbers and ``keep`` is there.

        Raises ColumnMismatch.
        """
        require_columns(self, [*columns, *keep])
        kinds = self._kinds()
        for column in columns:
            kind, width = kinds[column], self._width(column, kinds[column])
            require_numbers(self, column, kind, self._widths.get(column, 1))
            if not kind.is_numeric or kind.width == width or not self._has_vector(column, width):
                require_width(self, column, kind, width)

    def _has_vector(self, column: str, width: int) -> bool:
        """Whether a vector of this column has so many numbers, though most of the first have not.

        May read the column of the whole file.
        """
        return False

    def _width(self, column: str, kind: ColumnKind) -> int:
        return self._widths.get(column, kind.width)

    @abstractmethod
    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        """The types that these columns have in ``Chunk.kept``."""

    def spell(self, column: CategoryColumn, value: Any) -> str:
        """The text of a value of a category, which is a value of a column that is kept.

        The empty text is a missing value; the texts that are missing numbers are not.

        Args:
            column: the category, whose values are those that the model knows.
            value: as the kept column has it.
        """
        return spell(value)

    def kept_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        """``column_types``, by the name of the release before."""
        text = "Table.kept_types is Table.column_types now; the old name is removed in 0.3"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.column_types(keep)

    @abstractmethod
    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        """The rows in order, without the first ``start``, in chunks of bounded memory.

        Raises:
            ColumnMismatch: a column is not there, or its type holds no numbers.
            UnreadableFile: the file is damaged.
        """

    def place(self, row: int) -> str:
        """Where a row (from 1) is, for a message: "row 3 (line 4)". May read the file again."""
        return f"row {row} (counted from 1)"

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The rows in order, in blocks float32 or float64 [n, d] of bounded memory; d as in Chunk.

        Raises:
            ColumnMismatch: a column is not there, or its type holds no numbers.
            BadCell: a cell is not a number.
            UnreadableFile: the file is damaged.
        """
        before = 0
        for chunk in self.chunks(columns):
            self.require_no_fault(chunk, before)
            yield chunk.points
            before += len(chunk.points)

    def require_no_fault(self, chunk: Chunk, rows_before: int) -> None:
        """Raise BadCell for the first fault of a chunk, before which are so many rows."""
        if chunk.faults:
            row = min(chunk.faults)
            fault = chunk.faults[row]
            raise BadCell(self.describe(rows_before + row + 1, fault), fault.column)

    def describe(self, row: int, fault: Fault) -> str:
        """The fault of a row (from 1) as a message."""
        column = f", column {fault.column!r}:" if fault.column else ""
        return f"{self.name}: {self.place(row)}{column} {fault.reason}"
