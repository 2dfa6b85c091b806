"""Writing assignments to a file that appears whole or not at all.

The rows go into a file beside the output, which takes the output's name when all is on the disk.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from serving.results import Assignment

from .errors import OutputNotWritten

#: What is written, by extension.
KINDS: Final = {".csv": "CSV", ".parquet": "Parquet"}

_COLUMNS: Final[dict[str, pa.DataType]] = {
    "cluster_index": pa.int32(),
    "distance": pa.float32(),
}
SCHEMA: Final = pa.schema(_COLUMNS)


def check_output(output: Path, *, overwrite: bool) -> None:
    """Check what can be known before any row is scored. Raises OutputNotWritten."""
    if output.suffix.lower() not in KINDS:
        raise OutputNotWritten(
            f"{output}: the output's kind {output.suffix!r} is not written; "
            f"name a file that ends with {' or '.join(KINDS)}"
        )
    if output.is_dir():
        raise OutputNotWritten(f"{output}: is a folder; name a file in it")
    if output.exists() and not overwrite:
        raise OutputNotWritten(f"{output}: exists already; name another, or add --overwrite")
    if not output.parent.is_dir():
        raise OutputNotWritten(f"{output}: there is no folder {output.parent}; make it first")


@contextmanager
def assignment_writer(output: Path) -> Iterator[Callable[[Assignment], None]]:
    """Give a function that appends assignments to what will be ``output`` when the block ends.

    When the block raises, nothing is left and an ``output`` that was there stays as it was.
    Raises OutputNotWritten when the disk does not take it.
    """
    partial = output.with_name(f".{output.name}.partial-{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            with _format_writer(output.suffix.lower(), file) as writer:
                yield lambda assignment: writer.write_batch(_batch(assignment))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
    except OSError as error:
        raise OutputNotWritten(
            f"{output}: cannot be written: {error.strerror or error}; "
            "name a place with room that can be written to"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _format_writer(kind: str, file: IO[bytes]) -> pacsv.CSVWriter | pq.ParquetWriter:
    if kind == ".parquet":
        return pq.ParquetWriter(file, SCHEMA)
    # pyarrow puts the names in quotes, which no reader of numbers needs.
    file.write((",".join(SCHEMA.names) + "\n").encode())
    plain = pacsv.WriteOptions(include_header=False, quoting_style="none")
    return pacsv.CSVWriter(file, SCHEMA, write_options=plain)


def _batch(assignment: Assignment) -> pa.RecordBatch:
    return pa.record_batch([assignment.cluster_index, assignment.distance], schema=SCHEMA)
