"""Parts of tables, of which each worker reads its own; the parts in order are all rows."""

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
    """Consecutive rows of a table; messages give row numbers of the whole table.

    Attributes:
        start, stop: the range of rows, from 0.
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
    """Add all beginnings to the tables in which the share of a worker ends.

    Args:
        tables: the tables, in the order of their rows.
        size_of: returns the exact or estimated number of rows of a table.
        reducer: the reducer of the workers; each calls this function with the same tables.

    Raises as ``Table.with_beginnings`` does.
    """
    ends, wanted = _lay_out([size_of(table) for table in tables], reducer.workers)
    starts = [0, *ends]
    return [
        table.with_beginnings(reducer) if any(start < each < end for each in wanted) else table
        for table, start, end in zip(tables, starts, ends, strict=False)
    ]


def split_tables(tables: Sequence[Table], sizes: Sequence[int], workers: int) -> list[list[Table]]:
    """Split tables into parts for the workers, with about the same number of rows each.

    A table is cut at its ``Table.beginnings``. The parts of the first worker come first; a worker
    may have none.

    Args:
        tables: the tables, in the order of their rows.
        sizes: the number of rows of each table; an estimate suffices for tables without cuts.
        workers: the number of workers.
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
    """Return the ends of tables of these sizes, and the ends of the shares of all workers but the
    last.
    """
    ends = [int(end) for end in np.cumsum([max(1, size) for size in sizes])]
    return ends, [ends[-1] * number // workers for number in range(1, workers)]


def _nearest(beginnings: Sequence[int], size: int, row: int) -> int:
    """Return the nearest to a row among the beginnings and the end of a table of this size."""
    place = bisect_left(beginnings, row)
    before = beginnings[max(0, place - 1)]
    after = beginnings[place] if place < len(beginnings) else size
    return after if after - row <= row - before else before
