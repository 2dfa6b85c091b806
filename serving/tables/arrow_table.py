"""Files whose columns have Arrow types: Parquet and Arrow IPC, by pyarrow.

Integers, floats and decimals are numbers, also when dictionary-encoded; booleans, texts, dates and
nested columns are not. A null and a NaN are missing values.
"""

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pyarrow.types as pt

from .errors import UnreadableFile
from .table import Chunk, ColumnKind, Table, check_names, no_numbers, require_columns

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20

#: Bytes of a Parquet column that are read at a time. Without a bound, and with the buffering ahead
#: that is pyarrow's rule, the whole file ends up in memory.
_READ_BYTES: Final = 2**20

#: The types whose every value float32 holds exactly.
_NARROW: Final = (
    pa.float16(),
    pa.float32(),
    pa.int8(),
    pa.int16(),
    pa.uint8(),
    pa.uint16(),
)


class ArrowTable(Table):
    """A file with an Arrow schema; its columns are those of the top level."""

    #: What the file is, for a message.
    kind: ClassVar[str]

    def __init__(self, path: Path) -> None:
        """Read the schema. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self.name = str(path)
        try:
            schema, self.rows = self._opened()
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None
        self.columns = tuple(schema.names)
        check_names(self.name, self.columns)
        self._types = {field.name: _value_type(field.type) for field in schema}

    @abstractmethod
    def _opened(self) -> tuple[pa.Schema, int | None]:
        """The schema, and the number of rows where it is known."""

    @abstractmethod
    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        """These columns of the rows after the first ``start``, at most ``rows`` at a time."""

    def kinds(self) -> Mapping[str, ColumnKind]:
        return {
            column: ColumnKind(False, "a column without a name") if not column else _kind(kind)
            for column, kind in self._types.items()
        }

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        require_columns(self, [*columns, *keep])
        for column in columns:
            if not _is_number(self._types[column]):
                raise no_numbers(self.name, column, str(self._types[column]))

    def kept_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        return {column: self._types[column] for column in keep}

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        narrow = all(self._types[column] in _NARROW for column in columns)
        target = pa.schema(
            [(column, pa.float32() if narrow else pa.float64()) for column in columns]
        )
        kept = pa.schema(list(self.kept_types(keep).items()))
        rows = min(2**16, max(1, _BLOCK_NUMBERS // len(columns)))
        try:
            for batch in self._batches(list(dict.fromkeys([*columns, *keep])), start, rows):
                # A decimal or a large integer is rounded to the nearest float64.
                cast = batch.select(list(columns)).cast(target, safe=False)
                yield Chunk(
                    cast.to_tensor(null_to_nan=True, row_major=True).to_numpy(),
                    batch.select(list(keep)).cast(kept) if keep else None,
                )
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from None

    def place(self, row: int) -> str:
        return f"row {row} (counted from 1)"

    def _damaged(self, error: Exception) -> UnreadableFile:
        lines = str(error).splitlines() or [type(error).__name__]
        return UnreadableFile(f"{self.name}: cannot be read as {self.kind}: {lines[0]}")


class ParquetTable(ArrowTable):
    """A Parquet file."""

    kind = "Parquet"

    def _opened(self) -> tuple[pa.Schema, int | None]:
        with pq.ParquetFile(self._path) as file:
            return file.schema_arrow, file.metadata.num_rows

    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        with pq.ParquetFile(self._path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
            groups: list[int] = []
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if groups or start < size:
                    groups.append(group)
                else:
                    start -= size
            if groups:
                batches = file.iter_batches(rows, row_groups=groups, columns=list(columns))
                yield from _without_first(start, batches)


class IpcTable(ArrowTable):
    """An Arrow IPC file (Feather is one), mapped and not read as a whole, or an IPC stream."""

    kind = "Arrow IPC"

    def _opened(self) -> tuple[pa.Schema, int | None]:
        with pa.memory_map(str(self._path)) as source:
            if not self._is_file(source):
                with pa.ipc.open_stream(source) as stream:
                    return stream.schema, None
            with pa.ipc.open_file(source) as file:
                rows = sum(file.get_batch(i).num_rows for i in range(file.num_record_batches))
                return file.schema, rows

    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        def sliced(whole: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in whole:
                picked = batch.select(list(columns))
                for first in range(0, len(picked), rows):
                    yield picked.slice(first, rows)

        with pa.memory_map(str(self._path)) as source:
            if not self._is_file(source):
                with pa.ipc.open_stream(source) as stream:
                    yield from _without_first(start, sliced(iter(stream)))
                return
            with pa.ipc.open_file(source) as file:
                whole = (file.get_batch(i) for i in range(file.num_record_batches))
                yield from _without_first(start, sliced(whole))

    @staticmethod
    def _is_file(source: pa.MemoryMappedFile) -> bool:
        begins = source.read(6)
        source.seek(0)
        return begins == b"ARROW1"


def _without_first(start: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if start < len(batch):
            yield batch.slice(start) if start else batch
        start = max(0, start - len(batch))


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _is_number(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)


def _kind(kind: pa.DataType) -> ColumnKind:
    if pt.is_null(kind):
        return ColumnKind(None, "no values")
    return ColumnKind(True, "numbers") if _is_number(kind) else ColumnKind(False, str(kind))
