"""Tables cut into parts, of which each worker reads its own; the parts in order are all rows."""

import copy
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kmeans_module.columns import CategoryColumn

from .columns import ColumnKind
from .table import Chunk, Fault, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from kmeans_module.workers import Reducer


class TablePart(Table):
    """Some rows of a table that follow each other; in messages they have the numbers of all.

    Attributes:
        start, stop: which rows, from 0.
    """

    def __init__(self, table: Table, start: int, stop: int) -> None:
        self._table, self.start, self.stop = table, start, stop
        self.name, self.columns = table.name, table.columns
        self.has_names, self.index_columns = table.has_names, table.index_columns
        self.rows = stop - start

    @property
    def looks_headerless(self) -> bool:
        return self._table.looks_headerless

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        table = copy.copy(self)
        table._table = self._table.with_widths(widths)
        return table

    def with_categories(self, names: Collection[str]) -> Self:
        table = copy.copy(self)
        table._table = self._table.with_categories(names)
        return table

    def by_columns(self) -> Self:
        table = copy.copy(self)
        table._table = self._table.by_columns()
        return table

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return self._table.kinds()

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        self._table.check(columns, keep)

    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        return self._table.column_types(keep)

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        first = self.start + start
        if first >= self.stop:
            return
        for chunk in self._table.chunks(columns, keep, first):
            yield chunk.slice(0, self.stop - first)
            first += len(chunk.points)
            if first >= self.stop:
                return

    def spell(self, column: CategoryColumn, value: Any) -> str:
        return self._table.spell(column, value)

    def place(self, row: int) -> str:
        return self._table.place(self.start + row)

    def describe(self, row: int, fault: Fault) -> str:
        return self._table.describe(self.start + row, fault)


def cut_tables(
    tables: Sequence[Table], size_of: Callable[[Table], int], reducer: "Reducer"
) -> list[Table]:
    """The tables; those within which the rows of a worker would end have all their beginnings.

    Args:
        tables: in the order of their rows.
        size_of: how many rows a table has, or about so many.
        reducer: how the workers come together; each calls this with the same tables.

    Raises as ``Table.with_beginnings`` does.
    """
    ends, wanted = _lay_out([size_of(table) for table in tables], reducer.workers)
    starts = [0, *ends]
    return [
        table.with_beginnings(reducer) if any(start < each < end for each in wanted) else table
        for table, start, end in zip(tables, starts, ends, strict=False)
    ]


def split_tables(tables: Sequence[Table], sizes: Sequence[int], workers: int) -> list[list[Table]]:
    """The tables, or parts of them, that each worker reads: about as many rows each.

    A table is cut where a reading can begin without the rows before (``Table.beginnings``). Those
    of the first worker come first; one may have none.

    Args:
        tables: in the order of their rows.
        sizes: for each table, how many rows it has, or about so many where it is not cut.
        workers: how many there are.
    """
    ends, wanted = _lay_out(sizes, workers)
    shares: list[list[Table]] = [[] for _ in range(workers)]
    for table, start_row, end in zip(tables, [0, *ends], ends, strict=False):
        size = end - start_row
        beginnings = table.beginnings
        cuts = [0, *(_nearest(beginnings, size, each - start_row) for each in wanted), size]
        for share, start, stop in zip(shares, cuts, cuts[1:], strict=False):
            if start < stop:
                is_whole = (start, stop) == (0, size)
                share.append(table if is_whole else TablePart(table, start, stop))
    return shares


def _lay_out(sizes: Sequence[int], workers: int) -> tuple[list[int], list[int]]:
    """Where tables of these sizes end, and where the rows of each worker but the last would."""
    ends = [int(end) for end in np.cumsum([max(1, size) for size in sizes])]
    return ends, [ends[-1] * number // workers for number in range(1, workers)]


def _nearest(beginnings: Sequence[int], size: int, row: int) -> int:
    """Of the beginnings in a table of this size, and its end, that which is nearest to the row."""
    place = bisect_left(beginnings, row)
    before = beginnings[max(0, place - 1)]
    after = beginnings[place] if place < len(beginnings) else size
    return after if after - row <= row - before else before
