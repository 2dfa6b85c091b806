"""The rows of a table as a model is asked about them: its points, or the columns that it takes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from export.column_rows import ColumnRows
from export.feature_names import group_vectors, shorten_names, vector_features
from export.model_card import ModelCard
from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn

from .columns import to_float32
from .errors import BadCell, NoRows
from .messages import describe_not_finite
from .raw_rows import CategoryCells, RawRows
from .table import Chunk, Fault, Table

#: Rows as a scorer or a client takes them: points float32 [n, d], or columns by their names, of
#: which categories are dictionary arrays.
Inputs = NDArray[np.float32] | Mapping[str, Any]


@dataclass(frozen=True)
class ModelColumns:
    """What a model takes of a table. It can be pickled.

    Attributes:
        columns: in the order of the model.
        by_name: whether the model takes the columns by name, and makes points of them itself; else
            they are side by side the features of its points.
    """

    columns: tuple[Column, ...]
    by_name: bool = False

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """What the model of a card takes."""
        if card.encoder is not None:
            return cls(card.columns, by_name=True)
        return cls.of_features(card.feature_names)

    @classmethod
    def of_features(cls, names: Sequence[str]) -> Self:
        """What a model takes whose points have these features."""
        return cls(
            tuple(
                VectorColumn(name, width) if width > 1 else NumberColumn(name)
                for name, width in group_vectors(names)
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, vectors as in ``embedding[0]``: what a user is shown."""
        return tuple(
            name
            for each in self.columns
            for name in ((each.name,) if isinstance(each, CategoryColumn) else each.feature_names)
        )

    def shorten(self) -> str:
        """The names for a line that is read."""
        return shorten_names(self.names)


class ModelRows(RawRows):
    """The rows of a table, read as a model takes them."""

    def __init__(self, table: Table, takes: ModelColumns, keep: Sequence[str] = ()) -> None:
        """Find what a model takes in a table. Raises ColumnMismatch."""
        super().__init__(table, takes.columns, keep)
        self._by_name = takes.by_name

    def count_features(self) -> int:
        """How many features the columns are, before any map of the model."""
        return sum(len(each.feature_names) for each in self.columns)

    def inputs(self, chunk: Chunk) -> Inputs:
        """What a model is asked about rows that ``chunks`` gave."""
        if not self._by_name:
            return to_float32(chunk.points)
        return {
            column.name: value.to_arrow() if isinstance(value, CategoryCells) else value
            for column, value in zip(self.columns, self.values(chunk), strict=True)
        }

    def sound_chunks(self) -> Iterator[Chunk]:
        """As ``chunks``. Raises BadCell where a cell is not what the model takes."""
        before = 0
        for chunk in self.chunks():
            if chunk.faults:
                row = min(chunk.faults)
                fault = chunk.faults[row]
                raise BadCell(self.table.describe(before + row + 1, fault), fault.column)
            yield chunk
            before += len(chunk.points)

    def find_fault(self, chunk: Chunk, row: int) -> Fault:
        """Why a model has no answer to a row (from 0) of a chunk."""
        if (fault := chunk.faults.get(row)) is not None:
            return fault
        one = chunk.slice(row, row + 1)
        values = self.values(one)
        is_zero = True
        start = 0
        for column, value in zip(self.columns, values, strict=True):
            if isinstance(value, CategoryCells):
                is_known = isinstance(column, CategoryColumn) and (
                    column.has_unknown or not {*value.values}.isdisjoint(column.values)
                )
                is_zero = is_zero and not is_known
                continue
            numbers = one.points[0, start : start + value.size]
            start += value.size
            if isinstance(column, NumberColumn) and column.fill is not None:
                numbers = np.where(np.isnan(numbers), column.fill, numbers)
            bad = np.flatnonzero(~np.isfinite(to_float32(numbers)))
            if len(bad):
                return _describe_bad_number(column, numbers, int(bad[0]))
            is_zero = is_zero and not numbers.any()
        if is_zero:
            return Fault("", "is a row of zeros, which has no direction for cosine distance")
        return Fault(
            "", "is too far from every centroid: its squared distance is more than float32 can hold"
        )


def select_rows(tables: Iterable[Table], takes: ModelColumns) -> list[ModelRows]:
    """What a model takes of each table. Raises ColumnMismatch."""
    return [ModelRows(table, takes) for table in tables]


def read_column_rows(
    tables: Iterable[ModelRows], *, on_rows: Callable[[int], None] | None = None
) -> ColumnRows:
    """All rows of tables, as the columns that a model takes by name.

    Args:
        on_rows: called with the number of rows of each block that was read.

    Raises:
        ColumnMismatch: a column holds what the model does not take.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
        NoRows: there is no row.
    """
    blocks: list[list[NDArray[Any]]] = []
    names: list[str] = []
    for rows in tables:
        names.append(rows.table.name)
        rows.check()
        for chunk in rows.sound_chunks():
            blocks.append(
                [
                    value.encoded() if isinstance(value, CategoryCells) else value
                    for value in rows.values(chunk)
                ]
            )
            if on_rows is not None:
                on_rows(len(chunk.points))
        columns = rows.columns
    if not any(len(block[0]) for block in blocks):
        raise NoRows(f"{', '.join(names)}: has a header and no rows; give at least one row")
    joined = map(np.concatenate, zip(*blocks, strict=True))
    return ColumnRows({column.name: array for column, array in zip(columns, joined, strict=True)})


def _describe_bad_number(column: Column, numbers: NDArray[np.floating[Any]], place: int) -> Fault:
    reason = describe_not_finite(numbers[place])
    if len(numbers) > 1 and not np.isnan(numbers).all():
        reason = f"{vector_features(column.name, len(numbers))[place]} {reason}"
    return Fault(column.name, reason)
