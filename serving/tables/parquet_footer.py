"""The footer of a Parquet file, such that pyarrow reads null vectors of a fixed length.

Parquet has lists of any length alone. That a column's lists were of a fixed length when it was
written, Arrow notes in the footer; and pyarrow then refuses a null among them, which has no length.
Without the note the column is read as lists of any length, null or not.
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
    """Whether a column of vectors of a fixed length lacks one, by the numbers that are there."""
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
        # As in "embedding.list.element": what the last two are called is the writer's choice.
        if (name := column.path_in_schema.rsplit(".", 2)[0]) in sizes
    )


def read_without_note(path: Path) -> pq.FileMetaData:
    """The footer without Arrow's note. Raises OSError, pyarrow.ArrowException."""
    with path.open("rb") as file:
        file.seek(-_TAIL, io.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL - length, io.SEEK_END)
        footer = file.read(length)
    footer = footer.replace(_NOTE, b"-" * len(_NOTE), 1)
    return pq.read_metadata(io.BytesIO(_MAGIC + footer + length.to_bytes(4, "little") + _MAGIC))
