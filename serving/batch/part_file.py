"""One file of the output, written atomically.

The rows are written to a temporary file, which is renamed when all data are on the disk.
"""

import csv
import errno
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.ipc
import pyarrow.parquet as pq
import pyarrow.types as pt

from export.durable_files import explain, sync_file, sync_folder

from .errors import OutputNotWritten
from .job import Format

Write = Callable[[pa.RecordBatch], None]

#: Bytes of Arrow data that become one row group of a Parquet file.
_ROW_GROUP_BYTES: Final = 8 * 2**20


@contextmanager
def part_file(path: Path, form: Format, schema: pa.Schema) -> Iterator[Write]:
    """Yield a function that appends batches to the file; the file appears at ``path`` when the
    context ends.

    If the context raises, no file is left, and an existing file is unchanged. Raises
    OutputNotWritten if writing fails.
    """
    partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        with _WRITERS[form](partial, schema) as write:
            yield write
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputNotWritten(f"{path}: cannot be written: {explain(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Write]:
    # A distance is hardly ever there twice: a dictionary of them would only cost time.
    repeated: Any = [field.name for field in schema if not pt.is_floating(field.type)]
    with path.open("xb") as file, pq.ParquetWriter(file, schema, use_dictionary=repeated) as writer:
        waiting: list[pa.RecordBatch] = []
        waiting_bytes = 0

        def flush() -> None:
            nonlocal waiting_bytes
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
                waiting_bytes = 0

        def write(batch: pa.RecordBatch) -> None:
            nonlocal waiting_bytes
            waiting.append(batch)
            waiting_bytes += batch.nbytes
            if waiting_bytes >= _ROW_GROUP_BYTES:
                flush()

        yield write
        flush()


@contextmanager
def _arrow(path: Path, schema: pa.Schema) -> Iterator[Write]:
    with path.open("xb") as file, pa.ipc.new_file(file, schema) as writer:
        yield writer.write_batch


@contextmanager
def _csv(path: Path, schema: pa.Schema) -> Iterator[Write]:
    # pyarrow puts all names in quotes, which no reader of numbers needs.
    header = io.StringIO(newline="")
    csv.writer(header, lineterminator="\n").writerow(schema.names)
    plain = pacsv.WriteOptions(include_header=False, quoting_style="needed")
    with path.open("xb") as file:
        file.write(header.getvalue().encode())
        with pacsv.CSVWriter(file, schema, write_options=plain) as writer:
            yield writer.write_batch


@contextmanager
def _tfrecord(path: Path, schema: pa.Schema) -> Iterator[Write]:
    from kmeans_module.quiet_tensorflow import tf

    lists = {
        "int64_list": tf.train.Int64List,
        "float_list": tf.train.FloatList,
        "bytes_list": tf.train.BytesList,
    }
    kinds = [_list_kind(field.type) for field in schema]

    def feature(kind: str, value: Any) -> Any:
        values = [] if value is None else value if isinstance(value, list) else [value]
        if kind == "bytes_list":
            values = [each.encode() for each in values]
        return tf.train.Feature(**{kind: lists[kind](value=values)})

    with _open_tfrecord_writer(tf, path) as writer:

        def write(batch: pa.RecordBatch) -> None:
            columns = [column.to_pylist() for column in batch.columns]
            for row in zip(*columns, strict=True):
                features = {
                    name: feature(kind, value)
                    for name, kind, value in zip(schema.names, kinds, row, strict=True)
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString(deterministic=True))

        yield write


@contextmanager
def _open_tfrecord_writer(tf: Any, path: Path) -> Iterator[Any]:
    """TensorFlow's writer, its errors as those of the operating system."""
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            yield writer
    except tf.errors.OpError as error:
        message = str(error.message)
        # The name of the file, and then what the operating system says.
        said = (number for number in errno.errorcode if message.endswith(os.strerror(number)))
        if (number := next(said, None)) is not None:
            raise OSError(number, os.strerror(number)) from error
        raise OSError(message) from error


def _list_kind(kind: pa.DataType) -> str:
    if pt.is_floating(kind) or pt.is_fixed_size_list(kind):
        return "float_list"
    return "bytes_list" if pt.is_string(kind) or pt.is_large_string(kind) else "int64_list"


_WRITERS: Final = {
    Format.PARQUET: _parquet,
    Format.CSV: _csv,
    Format.ARROW: _arrow,
    Format.TFRECORD: _tfrecord,
}
