"""The interface of all readers: a file of rows as a table of named columns.

A missing value is NaN in a block; ``columns`` defines missing values. Rows are counted from 1,
without a header.
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
    """The fault of a row with a value that is not a number.

    ``column`` is empty for a fault of the whole row. ``reason`` gives the fault and the correction.
    """

    column: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        points: the requested columns, float32 or float64 [n, d], with as many numbers for a column
            of vectors as its width; NaN is a missing value, also after a fault.
        kept: n rows of the kept columns, None if there are none.
        faults: by row, counted from 0 in the chunk; at most one per row.
    """

    points: Block
    kept: "pa.RecordBatch | None" = None
    faults: Mapping[int, Fault] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> "Chunk":
        """Return the rows from ``start`` to ``stop``, without a copy."""
        if start == 0 and stop >= len(self.points):
            return self
        return Chunk(
            self.points[start:stop],
            None if self.kept is None else self.kept.slice(start, stop - start),
            {row - start: fault for row, fault in self.faults.items() if start <= row < stop},
        )


def concat_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Join chunks of one table; at least one, each with rows."""
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
        has_names: whether the file has column names; without them, columns are matched by position.
        index_columns: the index columns of a data frame, by the metadata of the file.
        rows: the number of rows; None if only a complete read can find it.
        estimated_rows: the exact or estimated number of rows; None if unknown.
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
        """Whether the names look like a row of values, because the file has no header."""
        return False

    @property
    def estimated_rows(self) -> int | None:
        return self.rows

    @property
    def beginnings(self) -> Sequence[int]:
        """The ascending row numbers, from 0, at which reading can begin.

        If there are more than the first, ``rows`` is known.
        """
        return (0,)

    def with_beginnings(self, reducer: "Reducer") -> Self:
        """Return this table with more beginnings, if workers can find them by counting rows.

        Each worker calls it. Raises UnreadableFile; for WorkerLost and WorkerFailed see
        ``connect_workers``.
        """
        return self

    def kinds(self) -> Mapping[str, ColumnKind]:
        """Return the kind of each column, by its first values or its type."""
        kinds = self._kinds()
        return {name: kinds[name] if name else UNNAMED for name in self.columns}

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        """Return this table with fixed widths of these columns.

        A vector of another length is a fault of its row; a column without values has this width
        too. If no vector has this length, ``check`` refuses the column. By default, the width is
        the most frequent length of the first values.
        """
        table = copy.copy(self)
        table._widths = {**self._widths, **widths}
        return table

    def with_categories(self, names: Collection[str]) -> Self:
        """Return this table with these columns as categories when they are kept.

        A value that cannot be a category, such as a list, is then a fault of its row.
        """
        table = copy.copy(self)
        table._categories = frozenset(names)
        return table

    def by_columns(self) -> Self:
        """Return this table with points in column-major order, if its file stores columns.

        For readers of columns: rows are not assembled.
        """
        table = copy.copy(self)
        table._is_by_columns = True
        return table

    @abstractmethod
    def _kinds(self) -> Mapping[str, ColumnKind]:
        """Return the kind of each named column."""

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Check, without reading all rows, that ``columns`` are numeric and ``keep`` exists.

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
        """Whether a vector of this column has this width, although most of the first have not.

        It may read the whole column.
        """
        return False

    def _width(self, column: str, kind: ColumnKind) -> int:
        return self._widths.get(column, kind.width)

    @abstractmethod
    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        """Return the types of these columns in ``Chunk.kept``."""

    def spell(self, column: CategoryColumn, value: Any) -> str:
        """Return the text of a category value from a kept column.

        The empty text is a missing value; texts that mark missing numbers are values here.

        Args:
            column: the category, with the values of the model.
            value: the value in the kept column.
        """
        return spell(value)

    def kept_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        """Return ``column_types``; the name of the previous release."""
        text = "Table.kept_types is Table.column_types now; the old name is removed in 0.3"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.column_types(keep)

    @abstractmethod
    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        """Yield the rows in order, without the first ``start``, in chunks of bounded memory.

        Raises:
            ColumnMismatch: a column is missing, or its type is not numeric.
            UnreadableFile: the file is damaged.
        """

    def place(self, row: int) -> str:
        """Return the place of a row (from 1) for a message: "row 3 (line 4)". May read the file
        again.
        """
        return f"row {row} (counted from 1)"

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """Yield the rows in order, in blocks float32 or float64 [n, d] of bounded memory; d as in
        Chunk.

        Raises:
            ColumnMismatch: a column is missing, or its type is not numeric.
            BadCell: a cell is not a number.
            UnreadableFile: the file is damaged.
        """
        before = 0
        for chunk in self.chunks(columns):
            self.require_no_fault(chunk, before)
            yield chunk.points
            before += len(chunk.points)

    def require_no_fault(self, chunk: Chunk, rows_before: int) -> None:
        """Raise BadCell for the first fault of a chunk after ``rows_before`` rows."""
        if chunk.faults:
            row = min(chunk.faults)
            fault = chunk.faults[row]
            raise BadCell(self.describe(rows_before + row + 1, fault), fault.column)

    def describe(self, row: int, fault: Fault) -> str:
        """Return the message for the fault of a row (from 1)."""
        column = f", column {fault.column!r}:" if fault.column else ""
        return f"{self.name}: {self.place(row)}{column} {fault.reason}"
