"""A file in folders with names such as ``day=2026-01-01/region=eu``, whose keys are columns.

Hive, Spark and pyarrow write such folders. A key is numeric if its value is a number; as a kept
column it is text.
"""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote

import numpy as np

from kmeans_module.columns import CategoryColumn

from .columns import (
    NO_VALUES,
    NUMBERS,
    ColumnKind,
    is_missing,
    require_columns,
    require_numbers,
    require_width,
)
from .errors import ColumnMismatch
from .table import Block, Chunk, Fault, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from kmeans_module.workers import Reducer

#: The folder name for null.
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def folder_keys(path: Path) -> dict[str, str | None]:
    """Return the keys of the folders directly above a file, outermost first; None is null."""
    keys: dict[str, str | None] = {}
    for folder in reversed(path.parts[:-1]):
        key, is_key, value = folder.partition("=")
        if not is_key or not key:
            break
        keys[unquote(key)] = None if value == _NULL else unquote(value)
    return dict(reversed(keys.items()))


class HiveTable(Table):
    """A table with additional columns from its folders, constant over its rows."""

    def __init__(self, table: Table, keys: Mapping[str, str | None]) -> None:
        self._table = table
        self._keys = keys
        self.name = table.name
        self.columns = (*table.columns, *keys)
        self.has_names = table.has_names
        self.index_columns = table.index_columns
        self.rows = table.rows

    @property
    def estimated_rows(self) -> int | None:
        return self._table.estimated_rows

    @property
    def beginnings(self) -> Sequence[int]:
        return self._table.beginnings

    def with_beginnings(self, reducer: "Reducer") -> Self:
        table = copy.copy(self)
        table._table = self._table.with_beginnings(reducer)
        table.rows = table._table.rows
        return table

    @property
    def looks_headerless(self) -> bool:
        return self._table.looks_headerless

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        table = super().with_widths(widths)
        of_file = {name: width for name, width in widths.items() if name not in self._keys}
        table._table = self._table.with_widths(of_file)
        return table

    def with_categories(self, names: Collection[str]) -> Self:
        table = super().with_categories(names)
        table._table = self._table.with_categories(names)
        return table

    def by_columns(self) -> Self:
        table = super().by_columns()
        table._table = self._table.by_columns()
        return table

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return {**self._table.kinds(), **self._key_kinds()}

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        self._table.check(self._require(columns, keep), self._of_file(keep))

    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        import pyarrow as pa

        of_file = self._table.column_types(self._of_file(keep))
        return {name: of_file.get(name, pa.string()) for name in keep}

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        of_file = self._require(columns, keep)
        has_keys = len(of_file) < len(columns)
        widths = self._widths_of(of_file) if has_keys else {}
        for chunk in self._table.chunks(of_file, self._of_file(keep), start):
            points = self._place_keys(chunk.points, columns, widths) if has_keys else chunk.points
            yield Chunk(points, self._keep(chunk, keep), chunk.faults)

    def spell(self, column: CategoryColumn, value: Any) -> str:
        return self._table.spell(column, value)

    def place(self, row: int) -> str:
        return self._table.place(row)

    def describe(self, row: int, fault: Fault) -> str:
        return self._table.describe(row, fault)

    def _of_file(self, columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in columns if name not in self._keys)

    def _require(self, columns: Sequence[str], keep: Sequence[str]) -> tuple[str, ...]:
        """Return the requested columns of the file, after checking the keys.

        Raises ColumnMismatch.
        """
        require_columns(self, [*columns, *keep])
        for name, kind in self._key_kinds().items():
            if name in columns:
                require_numbers(self, name, kind)
                require_width(self, name, kind, self._width(name, kind))
        of_file = self._of_file(columns)
        if columns and not of_file and not self._of_file(keep):
            raise ColumnMismatch(
                f"{self.name}: {', '.join(columns)} is only in the names of its folders; also "
                "choose a column of the file"
            )
        return of_file

    def _key_kinds(self) -> Mapping[str, ColumnKind]:
        return {name: _kind(value) for name, value in self._keys.items()}

    def _place_keys(
        self, points: Block, columns: Sequence[str], widths: Mapping[str, int]
    ) -> Block:
        """Insert the requested keys into the points of the file's columns."""
        values = {
            name: float(_number(self._keys[name]) or 0) for name in columns if name in self._keys
        }
        given = np.array([*values.values()])
        is_exact = np.array_equal(given, given.astype(np.float32), equal_nan=True)
        dtype = points.dtype if is_exact else np.float64
        parts = iter(np.hsplit(points, np.cumsum([*widths.values()])[:-1]))
        return np.hstack(
            [
                np.full((len(points), 1), values[name], dtype) if name in values else next(parts)
                for name in columns
            ]
        )

    def _widths_of(self, columns: Sequence[str]) -> Mapping[str, int]:
        kinds = self._table.kinds()
        return {name: self._width(name, kinds[name]) for name in columns}

    def _keep(self, chunk: Chunk, keep: Sequence[str]) -> "pa.RecordBatch | None":
        if not keep:
            return None
        import pyarrow as pa

        rows = len(chunk.points)
        columns: list[pa.Array[Any]] = [
            pa.array([self._keys[name]] * rows, pa.string())
            if name in self._keys
            else self._kept_column(chunk, name)
            for name in keep
        ]
        return pa.record_batch(columns, schema=pa.schema(self.column_types(keep)))

    def _kept_column(self, chunk: Chunk, name: str) -> "pa.Array[Any]":
        assert chunk.kept is not None
        return chunk.kept.column(name)


def _kind(value: str | None) -> ColumnKind:
    if value is None or is_missing(value):
        return NO_VALUES
    return ColumnKind(False, f"text ({value[:40]!r})") if _number(value) is None else NUMBERS


def _number(value: str | None) -> float | None:
    """Convert a key to a number; NaN if missing, None for text."""
    if value is None or is_missing(value):
        return np.nan
    try:
        return float(value) if value.isascii() and "_" not in value else None
    except ValueError:
        return None
