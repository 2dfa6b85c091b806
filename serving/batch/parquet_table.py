"""Parquet, by pyarrow.

Integers, floats and decimals are numbers, also when dictionary-encoded; booleans, texts, dates and
nested columns are not. A null and a NaN are missing values.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from .errors import ColumnMismatch, UnreadableFile
from .table import Block, ColumnKind, check_names, require_columns

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20

#: The types whose every value float32 holds exactly.
_NARROW: Final = (
    pa.float16(),
    pa.float32(),
    pa.int8(),
    pa.int16(),
    pa.uint8(),
    pa.uint16(),
)


class ParquetTable:
    """A Parquet file; its columns are those of the top level."""

    named = True

    def __init__(self, path: Path) -> None:
        """Read the footer. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self.name = str(path)
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None
        self.columns = tuple(schema.names)
        check_names(self.name, self.columns)
        self._types = {field.name: _value_type(field.type) for field in schema}

    def kinds(self) -> Mapping[str, ColumnKind]:
        return {
            column: ColumnKind(False, "a column without a name") if not column else _kind(kind)
            for column, kind in self._types.items()
        }

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        require_columns(self, columns)
        for column in columns:
            if not _is_number(self._types[column]):
                raise ColumnMismatch(
                    f"{self.name}: column {column!r} holds {self._types[column]}, not numbers; "
                    "leave it out, or write it as a number"
                )
        narrow = all(self._types[column] in _NARROW for column in columns)
        target = pa.schema(
            [(column, pa.float32() if narrow else pa.float64()) for column in columns]
        )
        rows = min(2**16, max(1, _BLOCK_NUMBERS // len(columns)))
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(rows, columns=list(columns)):
                    # A decimal or a large integer is rounded to the nearest float64.
                    cast = batch.select(list(columns)).cast(target, safe=False)
                    yield cast.to_tensor(null_to_nan=True, row_major=True).to_numpy()
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def place(self, row: int) -> str:
        return f"row {row} (counted from 1)"

    def _damaged(self, error: Exception) -> UnreadableFile:
        lines = str(error).splitlines() or [type(error).__name__]
        return UnreadableFile(f"{self.name}: cannot be read as Parquet: {lines[0]}")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _is_number(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)


def _kind(kind: pa.DataType) -> ColumnKind:
    if pt.is_null(kind):
        return ColumnKind(None, "no values")
    return ColumnKind(True, "numbers") if _is_number(kind) else ColumnKind(False, str(kind))
