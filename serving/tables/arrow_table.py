"""Files whose columns have Arrow types: Parquet and Arrow IPC, by pyarrow.

Integers, floats and decimals are numbers, also when dictionary-encoded, and booleans are 0 and 1.
Lists of them and tensors of a fixed shape are vectors; texts, dates and other nested columns are
not numbers. A null, a NaN and an empty list are missing values.
"""

import itertools
import os
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pyarrow.types as pt

from .columns import NO_VALUES, NUMBERS, ColumnKind, vectors
from .errors import UnreadableFile
from .parquet_footer import has_null_vectors, read_without_note
from .record_batches import is_list, keep_columns, list_lengths, read_points
from .table import Chunk, Fault, Table

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20

#: Bytes of a Parquet column per read. Without a limit, and with pyarrow's default read-ahead, the
#: whole file would be in memory.
_READ_BYTES: Final = 2**20

#: On so many cores, one that reads columns keeps the others busy, which score what it reads.
_FEW_CORES: Final = 4

#: Rows with a vector that determine the width of the column.
_FIRST_ROWS: Final = 100

#: The types whose values float32 represents exactly.
_EXACT_IN_FLOAT32: Final = (
    pa.float16(),
    pa.float32(),
    pa.int8(),
    pa.int16(),
    pa.uint8(),
    pa.uint16(),
    pa.bool_(),
)


_Reader = pa.RecordBatchFileReader | pa.RecordBatchStreamReader


class ArrowTable(Table):
    """A file with an Arrow schema; its columns are those of the top level."""

    #: The kind of file, for messages.
    kind: ClassVar[str]

    def __init__(self, path: Path) -> None:
        """Read the schema. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self.name = str(path)
        try:
            schema, self.rows = self._read_schema()
            self.columns = tuple(schema.names)
            self.index_columns = _index_columns(schema)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._unreadable_error(error) from None
        self._types = {
            name: kind.value_type if isinstance(kind, pa.DictionaryType) else kind
            for name, kind in zip(schema.names, schema.types, strict=True)
        }

    @abstractmethod
    def _read_schema(self) -> tuple[pa.Schema, int | None]:
        """Return the schema, and the number of rows if it is known."""

    @abstractmethod
    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        """Yield these columns of the rows after the first ``start``, at most ``rows`` at a time."""

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return {name: _kind(kind) for name, kind in self._types.items()} | self._vector_kinds

    @cached_property
    def _vector_kinds(self) -> dict[str, ColumnKind]:
        names = [name for name, kind in self._types.items() if _is_vector(kind)]
        with self._explain_errors():
            return {name: self._vector_kind(name) for name in names}

    def _vector_kind(self, name: str) -> ColumnKind:
        """Return the most frequent width among the first rows with a value."""
        for batch in self._batches([name], 0, _FIRST_ROWS):
            lengths = list_lengths(batch.column(name))
            if lengths.any():
                counts = np.bincount(lengths[lengths > 0])
                # On ties the larger length, as in other kinds of files.
                return vectors(int(np.flatnonzero(counts == counts.max())[-1]))
        return NO_VALUES

    def _has_vector(self, column: str, width: int) -> bool:
        if not _is_vector(self._types[column]) or pt.is_fixed_size_list(self._types[column]):
            return False
        with self._explain_errors():
            return any(
                (list_lengths(batch.column(column)) == width).any()
                for batch in self._batches([column], 0, _FIRST_ROWS)
            )

    def column_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        return {column: self._types[column] for column in keep}

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        kinds = self._kinds()
        widths = {column: self._width(column, kinds[column]) for column in columns}
        is_narrow = all(_element(self._types[column]) in _EXACT_IN_FLOAT32 for column in columns)
        dtype = pa.float32() if is_narrow else pa.float64()
        rows = min(2**16, max(1, _BLOCK_NUMBERS // max(1, sum(widths.values()))))
        with self._explain_errors():
            for batch in self._batches(list(dict.fromkeys([*columns, *keep])), start, rows):
                faults: dict[int, Fault] = {}
                points = read_points(batch, widths, dtype, faults, by_columns=self._is_by_columns)
                yield Chunk(points, keep_columns(batch, self.column_types(keep), faults), faults)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        """Raise UnreadableFile for errors of pyarrow."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable_error(error) from None

    def _unreadable_error(self, error: Exception) -> UnreadableFile:
        lines = str(error).splitlines() or [type(error).__name__]
        return UnreadableFile(f"{self.name}: cannot be read as {self.kind}: {lines[0]}")


class ParquetTable(ArrowTable):
    """A Parquet file."""

    kind = "Parquet"
    _footer: pq.FileMetaData | None = None

    def _read_schema(self) -> tuple[pa.Schema, int | None]:
        with pq.ParquetFile(self._path) as file:
            if has_null_vectors(file):
                self._footer = read_without_note(self._path)
            return file.schema_arrow, file.metadata.num_rows

    @property
    def beginnings(self) -> Sequence[int]:
        """The first rows of the row groups."""
        with self._explain_errors(), pq.ParquetFile(self._path) as file:
            groups = range(file.metadata.num_row_groups)
            sizes = [file.metadata.row_group(group).num_rows for group in groups]
        # A group without rows begins at the same row as the next group.
        return sorted({0, *itertools.accumulate(sizes[:-1])})

    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        with pq.ParquetFile(
            self._path, metadata=self._footer, pre_buffer=False, buffer_size=_READ_BYTES
        ) as file:
            groups: list[int] = []
            for group in range(file.metadata.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if groups or start < size:
                    groups.append(group)
                else:
                    start -= size
            if groups:
                # Where few cores compute while one reads, threads would only take turns.
                use_threads = not self._is_by_columns or (os.cpu_count() or 1) > _FEW_CORES
                batches = file.iter_batches(
                    rows, row_groups=groups, columns=list(columns), use_threads=use_threads
                )
                yield from _skip_rows(start, batches)


class IpcTable(ArrowTable):
    """An Arrow IPC file (such as Feather), memory-mapped, or an IPC stream."""

    kind = "Arrow IPC"

    def _read_schema(self) -> tuple[pa.Schema, int | None]:
        with self._open() as reader:
            if isinstance(reader, pa.RecordBatchStreamReader):
                return reader.schema, None
            return reader.schema, sum(map(len, _record_batches(reader)))

    def _batches(self, columns: Sequence[str], start: int, rows: int) -> Generator[pa.RecordBatch]:
        with self._open() as reader:
            for batch in _skip_rows(start, _record_batches(reader)):
                picked = batch.select(list(columns))
                for first in range(0, len(picked), rows):
                    yield picked.slice(first, rows)

    @contextmanager
    def _open(self) -> Iterator[_Reader]:
        with pa.memory_map(str(self._path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            reader: _Reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            with reader:
                yield reader


def _record_batches(reader: _Reader) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchStreamReader):
        return iter(reader)
    return map(reader.get_batch, range(reader.num_record_batches))


def _skip_rows(start: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if start < len(batch):
            yield batch.slice(start) if start else batch
        start = max(0, start - len(batch))


def _index_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Return the index columns of a frame, from the metadata of pandas in the schema.

    Other programs write this metadata; if it is unreadable, there are none.
    """
    try:
        noted = schema.pandas_metadata["index_columns"]
        return tuple(name for name in noted if name in schema.names)
    except (ValueError, TypeError, KeyError):
        return ()


def _kind(kind: pa.DataType) -> ColumnKind:
    """Return the kind of a column of this type; for vectors, the width follows from the values."""
    if pt.is_null(kind):
        return NO_VALUES
    return NUMBERS if _is_number(kind) else ColumnKind(False, str(kind))


def _is_number(kind: pa.DataType) -> bool:
    return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind) or pt.is_boolean(kind)


def _is_vector(kind: pa.DataType) -> bool:
    return is_list(kind) and _is_number(_element(kind))


def _element(kind: pa.DataType) -> pa.DataType:
    """Return the type of the numbers in a list or a tensor; other types are unchanged."""
    element: pa.DataType = getattr(kind, "value_type", kind)
    return element
