"""Modify the footer of a Parquet file so that pyarrow reads null vectors of fixed length.

Parquet has only lists of variable length. Arrow notes in the footer that the lists of a column had
a fixed length, and pyarrow then refuses null lists, which have no length. Without this note the
column is read as lists of variable length, null or not.
"""

import io
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import pyarrow.types as pt

from .record_batches import storage_type

_MAGIC: Final = b"PAR1"

#: Bytes at the end of a file: the footer's length and the magic.
_TAIL: Final = 8

_NOTE: Final = b"ARROW:schema"


def has_null_vectors(file: pq.ParquetFile) -> bool:
    """Whether a column of vectors of fixed length has a null, by the counts of numbers."""
    sizes = {
        field.name: kind.list_size
        for field in file.schema_arrow
        if pt.is_fixed_size_list(kind := storage_type(field.type))
    }
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    return bool(sizes) and any(
        column.num_values != group.num_rows * sizes[name]
        for group in groups
        for column in map(group.column, range(group.num_columns))
        # Such as "embedding.list.element": the writer chooses the last two names.
        if (name := column.path_in_schema.rsplit(".", 2)[0]) in sizes
    )


def read_without_note(path: Path) -> pq.FileMetaData:
    """Return the footer without Arrow's note. Raises OSError, pyarrow.ArrowException."""
    with path.open("rb") as file:
        file.seek(-_TAIL, io.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL - length, io.SEEK_END)
        footer = file.read(length)
    footer = footer.replace(_NOTE, b"-" * len(_NOTE), 1)
    return pq.read_metadata(io.BytesIO(_MAGIC + footer + length.to_bytes(4, "little") + _MAGIC))
