"""Find the files of rows, and open a table for each.

The name of a file determines its kind.
"""

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Final

from .errors import UnreadableFile
from .hive_table import HiveTable, folder_keys
from .reading_options import ReadingOptions
from .table import Table

#: The supported kinds of files, by name ending.
KINDS: Final = {
    ".csv": "CSV",
    ".csv.gz": "CSV, gzip",
    ".tsv": "text, tabs",
    ".tsv.gz": "text, tabs, gzip",
    ".txt": "delimited text",
    ".txt.gz": "delimited text, gzip",
    ".parquet": "Parquet",
    ".arrow": "Arrow IPC",
    ".feather": "Arrow IPC",
    ".npy": "NumPy array",
    ".npz": "NumPy arrays",
    ".jsonl": "JSON lines",
    ".jsonl.gz": "JSON lines, gzip",
    ".ndjson": "JSON lines",
    ".ndjson.gz": "JSON lines, gzip",
    ".tfrecord": "TFRecord",
    ".tfrecord.gz": "TFRecord, gzip",
}

#: The kinds that use ``ReadingOptions``.
TEXT_KINDS: Final = tuple(kind for kind in KINDS if kind.startswith((".csv", ".tsv", ".txt")))

#: CSV on standard input.
STANDARD_INPUT: Final = Path("-")

_ALIASES: Final = {".tfrecords": ".tfrecord", ".arrows": ".arrow"}

_ENDINGS: Final = (*KINDS, *_ALIASES)

# Pipelines of TensorFlow write shards, such as rows.tfrecord-00003-of-00010.
_ENDING: Final = re.compile(r"(\.[a-z]+)(?:-\d+-of-\d+)?(\.gz)?$")


def kind_of(path: Path) -> str | None:
    """Return the kind of a file, a key of ``KINDS``; None for unsupported kinds."""
    ending = _ENDING.search(path.name.lower())
    if ending is None:
        return None
    kind = _ALIASES.get(ending[1], ending[1]) + (ending[2] or "")
    return kind if kind in KINDS else None


def input_files(given: Sequence[Path], output: Path | None = None) -> list[Path]:
    """Return the files of given files, folders and globs, in a fixed order.

    A folder gives its files of supported kinds, also in subfolders, by name. Names that begin with
    ``.`` or ``_`` are omitted, because other programs use them for metadata, and so is ``.txt``,
    which is mostly prose. ``-`` is kept. If the folder ``output`` is inside a folder or a glob, its
    files are omitted, so that the next run finds the same files.

    Raises:
        UnreadableFile: a folder or a glob matches no file.
    """
    files = []
    place = None if output is None else output.resolve()
    for each in given:
        found = list(_expand(each))
        # Without other files, the output was given as the input, which other code refuses.
        files += [file for file in found if place not in file.resolve().parents] or found
    return files


def _expand(given: Path) -> Iterator[Path]:
    if given.is_dir():
        files = sorted(
            path
            for path in given.rglob("*")
            if kind_of(path)
            and not (kind_of(path) or "").startswith(".txt")
            and path.is_file()
            and not any(part.startswith((".", "_")) for part in path.relative_to(given).parts)
        )
        if not files:
            endings = ", ".join(kind for kind in _ENDINGS if not kind.startswith(".txt"))
            texts = f"; for text files give {given}/*.txt" if list(given.rglob("*.txt*")) else ""
            raise UnreadableFile(
                f"{given}: is a folder without a supported file ({endings}){texts}"
            )
        yield from files
    elif not given.exists() and has_magic(str(given)):
        matches = sorted(Path(match) for match in glob(str(given), recursive=True))
        if not matches:
            raise UnreadableFile(f"{given}: no file matches; check with ls {given.parent}")
        for match in matches:
            yield from _expand(match)
    else:
        yield given


def open_table(path: Path, options: ReadingOptions = ReadingOptions()) -> Table:
    """Open the table in a file, and find its columns.

    Only the first rows are read, except for files without a header (JSON lines and TFRecord), which
    are read completely. ``options`` are for text files; JSON lines use only ``na_values``. Folders
    directly above the file with names such as ``day=2026-01-01`` are columns too, if the file has
    column names and none of this name.

    Raises:
        UnreadableFile: the file does not exist, is a folder, empty, damaged, or of another kind.
    """
    table = _open_file(path, options)
    keys = folder_keys(path) if table.has_names else {}
    keys = {key: value for key, value in keys.items() if key not in table.columns}
    return HiveTable(table, keys) if keys else table


def _open_file(path: Path, options: ReadingOptions) -> Table:
    kind = kind_of(path)
    if path.is_dir():
        raise UnreadableFile(f"{path}: is a folder; give its files, such as {path}/*.csv")
    if not path.exists():
        raise UnreadableFile(f"{path}: no such file")
    if kind is None:
        raise UnreadableFile(
            f"{path}: file type {path.suffix!r} is not supported; give one of {', '.join(_ENDINGS)}"
        )
    if not path.stat().st_size:
        raise UnreadableFile(f"{path}: is empty")
    # Imported here, because .npy files do not need pyarrow, and KINDS needs neither.
    if kind == ".npy":
        from .npy_table import NpyTable

        return NpyTable(path)
    if kind == ".npz":
        from .npz_table import NpzTable

        return NpzTable(path)
    if kind.startswith((".jsonl", ".ndjson")):
        from .json_table import JsonTable

        return JsonTable(path, options.na_values)
    if kind in TEXT_KINDS:
        from .csv_table import CsvTable

        return CsvTable(path, options=options)
    if kind.startswith(".tfrecord"):
        from .tfrecord_table import TfRecordTable

        return TfRecordTable(path)
    from .arrow_table import IpcTable, ParquetTable

    return ParquetTable(path) if kind == ".parquet" else IpcTable(path)
