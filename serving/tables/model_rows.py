"""The rows of a table as inputs of a model: points, or named columns."""

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

#: Rows for a scorer or a client: points float32 [n, d], or columns by name, with categories as
#: dictionary arrays.
Inputs = NDArray[np.float32] | Mapping[str, Any]


@dataclass(frozen=True)
class ModelColumns:
    """The columns of a table that a model takes. It can be pickled.

    Attributes:
        columns: the columns in the order of the model.
        by_name: whether the model takes the columns by name, and encodes them; else they are the
            features of its points.
    """

    columns: tuple[Column, ...]
    by_name: bool = False

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """Return the columns of the model of a card."""
        if card.encoder is not None:
            return cls(card.columns, by_name=True)
        return cls.of_features(card.feature_names)

    @classmethod
    def of_features(cls, names: Sequence[str]) -> Self:
        """Return the columns of a model whose points have these features."""
        return cls(
            tuple(
                VectorColumn(name, width) if width > 1 else NumberColumn(name)
                for name, width in group_vectors(names)
            )
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns for the user, with vectors such as ``embedding[0]``."""
        return tuple(
            name
            for each in self.columns
            for name in ((each.name,) if isinstance(each, CategoryColumn) else each.feature_names)
        )

    def shorten(self) -> str:
        """Return the shortened names for a message."""
        return shorten_names(self.names)


class ModelRows(RawRows):
    """The rows of a table, read as inputs of a model."""

    def __init__(self, table: Table, takes: ModelColumns, keep: Sequence[str] = ()) -> None:
        """Find the columns of a model in a table. Raises ColumnMismatch."""
        super().__init__(table, takes.columns, keep)
        self._by_name = takes.by_name

    def count_features(self) -> int:
        """Return the number of features of the columns, before any map of the model."""
        return sum(len(each.feature_names) for each in self.columns)

    def inputs(self, chunk: Chunk) -> Inputs:
        """Return the inputs of a model for a chunk of ``chunks``."""
        if not self._by_name:
            return to_float32(chunk.points)
        return {
            column.name: value.to_arrow() if isinstance(value, CategoryCells) else value
            for column, value in zip(self.columns, self.values(chunk), strict=True)
        }

    def sound_chunks(self) -> Iterator[Chunk]:
        """Yield the ``chunks``. Raises BadCell if a cell does not fit the model."""
        before = 0
        for chunk in self.chunks():
            if chunk.faults:
                row = min(chunk.faults)
                fault = chunk.faults[row]
                raise BadCell(self.table.describe(before + row + 1, fault), fault.column)
            yield chunk
            before += len(chunk.points)

    def find_fault(self, chunk: Chunk, row: int) -> Fault:
        """Return the reason why a model has no answer for a row (from 0) of a chunk."""
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
    """Find the columns of a model in each table. Raises ColumnMismatch."""
    return [ModelRows(table, takes) for table in tables]


def read_column_rows(
    tables: Iterable[ModelRows], *, on_rows: Callable[[int], None] | None = None
) -> ColumnRows:
    """Read all rows of tables, as the columns that a model takes by name.

    Args:
        on_rows: called with the number of rows of each block.

    Raises:
        ColumnMismatch: a column has values that the model does not take.
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
