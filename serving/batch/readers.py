"""The one door to files of rows: the kind of a file is told by its extension."""

from pathlib import Path
from typing import Final

from .errors import UnreadableFile
from .table import Table

#: What is read, by extension.
KINDS: Final = {".csv": "CSV", ".parquet": "Parquet", ".npy": "NumPy array"}


def open_table(path: Path) -> Table:
    """The table in a file; its columns are known, and no row is read yet.

    Raises:
        UnreadableFile: it does not exist, is a folder, is empty or damaged, or of another kind.
        ColumnMismatch: two columns have the same name.
    """
    kind = path.suffix.lower()
    if path.is_dir():
        raise UnreadableFile(f"{path}: is a folder; name the files in it, as in {path}/*.csv")
    if not path.exists():
        raise UnreadableFile(f"{path}: no such file")
    if kind not in KINDS:
        raise UnreadableFile(
            f"{path}: a file of the kind {kind!r} is not read; give one of {', '.join(KINDS)}"
        )
    if not path.stat().st_size:
        raise UnreadableFile(f"{path}: is empty")
    # Imported here: who asks with a .npy needs no pyarrow, and who reads KINDS needs neither.
    if kind == ".npy":
        from .npy_table import NpyTable

        return NpyTable(path)
    if kind == ".parquet":
        from .parquet_table import ParquetTable

        return ParquetTable(path)
    from .csv_table import CsvTable

    return CsvTable(path)
