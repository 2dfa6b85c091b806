"""TFRecord files of tf.train.Example, plain or gzip, by TensorFlow.

The columns are the features of all records, by name; the first records with a value determine the
kind of a column, and a list of several numbers is a vector. A missing feature, an empty list and
NaN are missing values.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from kmeans_module.quiet_tensorflow import tf

from .columns import ColumnKind, usual_vectors
from .errors import ColumnMismatch, UnreadableFile
from .record_batches import keep_columns, read_points
from .table import Chunk, Fault, Table

#: Records that are read to find the columns.
_FIRST_RECORDS: Final = 100

#: Records in a chunk.
_ROWS: Final = 2**13

#: Bytes of the format around a record.
_FRAME_BYTES: Final = 16

#: The lists of features, with TensorFlow's and Arrow's types of their elements.
_LISTS: Final[Mapping[str, tuple[Any, pa.DataType]]] = {
    "float_list": (tf.float32, pa.float32()),
    "int64_list": (tf.int64, pa.int64()),
    "bytes_list": (tf.string, pa.string()),
}

#: The suffix of TensorFlow's messages about its own graph.
_FRAMEWORK: Final = re.compile(r"\{\{.*?\}\}|\[Op:.*")


class TfRecordTable(Table):
    """A TFRecord file."""

    def __init__(self, path: Path) -> None:
        """Read the records to find their features. Raises UnreadableFile."""
        self._path = path
        self.name = str(path)
        self._is_gzip = path.suffix.lower() == ".gz"
        self._lists: dict[str, str] = {}
        self._found: dict[str, ColumnKind] = {}
        first = next(self._records(0, _FIRST_RECORDS), np.empty(0, object))
        self._record_bytes = max((len(record) + _FRAME_BYTES for record in first), default=1)
        self._learn_columns(first)
        if not self._lists:
            raise UnreadableFile(
                f"{self.name}: its first records contain no tf.train.Example with a feature"
            )
        # A feature, or its first value, may be in any record of a file without a header.
        for later in self._records(_FIRST_RECORDS, _ROWS):
            self._learn_columns(later)
        self.columns = tuple(sorted(self._lists))

    def _learn_columns(self, records: NDArray[np.object_]) -> None:
        """Find the kinds of features without a known value from these records."""
        known = set(self._lists)
        lengths: dict[str, Counter[int]] = {}
        for record in records:
            for name, kind, values in _features(record, known) or ():
                if values:
                    lengths.setdefault(name, Counter())[len(values)] += 1
                    if self._lists.setdefault(name, kind) == "bytes_list":
                        text = ColumnKind(False, _describe(kind, values))
                        # The smallest value, which does not depend on the order of the records.
                        least = self._found.get(name, text)
                        self._found[name] = min(least, text, key=lambda each: each.holds)
        for name in lengths.keys() - self._found.keys():
            self._found[name] = usual_vectors(lengths[name])

    @property
    def estimated_rows(self) -> int | None:
        """Estimate by the longest of the first records; None for compressed files."""
        return None if self._is_gzip else self._path.stat().st_size // self._record_bytes

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return self._found

    def _has_vector(self, column: str, width: int) -> bool:
        records = (record for batch in self._records(0, _ROWS) for record in batch)
        # A feature that is a number in the first records is read as a number.
        return self._found[column].width > 1 and any(
            name == column and len(values) == width
            for record in records
            for name, _, values in _features(record) or ()
        )

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        super().check(columns, keep)
        for column in keep:
            holds = self._found[column].holds
            if holds.startswith("a list"):
                raise ColumnMismatch(
                    f"{self.name}: column {column!r} holds {holds}, and a kept column must have "
                    "one value; leave it out"
                )

    def column_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        return {name: self._type(name) for name in keep}

    def _type(self, name: str) -> pa.DataType:
        kind = _LISTS[self._lists[name]][1]
        return pa.list_(kind) if self._found[name].width > 1 else kind

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        widths = {column: self._width(column, self._found[column]) for column in columns}
        names = list(dict.fromkeys([*columns, *keep]))
        features = {
            name: tf.io.RaggedFeature(_LISTS[self._lists[name]][0], row_splits_dtype=tf.int64)
            for name in names
        }
        # float64 for integers, of which float32 represents only small ones exactly.
        is_narrow = all(self._lists[name] == "float_list" for name in columns)
        dtype = pa.float32() if is_narrow else pa.float64()
        for records in self._records(start, _ROWS):
            faults: dict[int, Fault] = {}
            try:
                parsed = tf.io.parse_example(records, features)
                cells = {name: self._read_cells(name, parsed[name], faults) for name in names}
            except (tf.errors.InvalidArgumentError, UnicodeDecodeError):
                # A record is not an Example, or has another type: check each. TensorFlow's message
                # would quote the bytes of the record.
                cells = self._parse_each(records, names, keep, faults)
            batch = pa.record_batch(list(cells.values()), list(cells))
            kept = keep_columns(batch, self.column_types(keep), faults)
            yield Chunk(read_points(batch, widths, dtype, faults), kept, faults)

    def place(self, row: int) -> str:
        return f"record {row} (counted from 1)"

    def _records(self, start: int, rows: int) -> Iterator[NDArray[np.object_]]:
        """Yield serialized records after the first ``start``, at most ``rows`` at a time."""
        try:
            dataset = tf.data.TFRecordDataset(
                str(self._path), compression_type="GZIP" if self._is_gzip else ""
            )
            yield from dataset.skip(start).batch(rows).as_numpy_iterator()
            if self._is_gzip:
                # TensorFlow treats a truncated gzip file as complete.
                with gzip.open(self._path) as file:
                    while file.read(2**20):
                        pass
        except tf.errors.OpError as error:
            line = (str(error.message).splitlines() or [type(error).__name__])[0]
            raise self._unreadable_error(_FRAMEWORK.sub("", line).strip()) from None
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable_error(str(error)) from None

    def _unreadable_error(self, reason: str) -> UnreadableFile:
        return UnreadableFile(f"{self.name}: cannot be read as TFRecord: {reason}")

    def _parse_each(
        self,
        records: NDArray[np.object_],
        names: Sequence[str],
        keep: Sequence[str],
        faults: dict[int, Fault],
    ) -> "dict[str, pa.Array[Any]]":
        cells: dict[str, list[Any]] = {name: [None] * len(records) for name in names}
        for row, record in enumerate(records.tolist()):
            features = _features(record)
            if features is None:
                faults[row] = Fault("", "is not a tf.train.Example")
                continue
            for name, kind, values in features:
                if name not in cells or not values:
                    continue
                is_other = kind != (first := self._lists[name])
                is_vector = self._found[name].width > 1
                is_list = len(values) > 1 and not is_vector
                if is_list or (is_other and "bytes_list" in (kind, first)):
                    faults.setdefault(row, Fault(name, f"holds {_describe(kind, values)}"))
                elif is_other and name in keep:
                    reason = f"holds {values[0]} as {kind}, and the first records have {first}"
                    faults.setdefault(row, Fault(name, reason))
                else:
                    cells[name][row] = list(values) if is_vector else values[0]
        return {name: self._array(name, cells[name]) for name in names}

    def _read_cells(self, name: str, ragged: Any, faults: dict[int, Fault]) -> "pa.Array[Any]":
        if self._found[name].width == 1:
            return _first_values(name, ragged, faults)
        splits, values = pa.array(ragged.row_splits.numpy()), pa.array(ragged.values.numpy())
        lists: pa.Array[Any] = pa.LargeListArray.from_arrays(splits, values)
        return lists

    def _array(self, name: str, values: Sequence[Any]) -> "pa.Array[Any]":
        if self._found[name].width == 1:
            return _array(self._lists[name], values)
        flat = _array(self._lists[name], [each for row in values for each in row or ()])
        splits = np.cumsum([0, *(len(row or ()) for row in values)])
        lists: pa.Array[Any] = pa.LargeListArray.from_arrays(pa.array(splits), flat)
        return lists


def _features(
    record: bytes, without: Set[str] = frozenset()
) -> Iterator[tuple[str, str, Sequence[Any]]] | None:
    """Return name, list type and values of each feature but some; None if it is not a
    tf.train.Example.
    """
    try:
        example = tf.train.Example.FromString(record)
    except DecodeError:
        return None
    return (
        (name, kind, getattr(feature, kind).value)
        for name in sorted(example.features.feature.keys() - without)
        for feature in [example.features.feature[name]]
        if (kind := feature.WhichOneof("kind")) is not None
    )


def _describe(kind: str, values: Sequence[Any]) -> str:
    if len(values) > 1:
        return f"a list of {len(values)} values"
    if kind == "bytes_list":
        return f"text ({values[0][:40].decode(errors='replace')!r})"
    return "numbers"


def _first_values(name: str, ragged: Any, faults: dict[int, Fault]) -> "pa.Array[Any]":
    """Return the single value of each row, null without a value; more than one value is a fault."""
    splits = ragged.row_splits.numpy()
    lengths = np.diff(splits)
    for row in np.flatnonzero(lengths > 1).tolist():
        faults.setdefault(row, Fault(name, f"holds a list of {lengths[row]} values"))
    values = ragged.values.numpy()
    if not len(values):
        return pa.nulls(len(lengths))
    missing = lengths == 0
    array: pa.Array[Any] = pa.array(values[np.where(missing, 0, splits[:-1])], mask=missing)
    return array


def _array(kind: str, values: Sequence[Any]) -> "pa.Array[Any]":
    if kind == "bytes_list":
        return pa.array(values, pa.binary())
    if kind == "int64_list" and not any(isinstance(value, float) for value in values):
        return pa.array(values, pa.int64())
    # A float is a number too if integers were expected.
    return pa.array([None if value is None else float(value) for value in values], pa.float64())
