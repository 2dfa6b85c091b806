"""The files of rows that a command is given, as tables; what all commands share."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .extras import needs_extra
from .tensorflow_import import load_tensorflow

if TYPE_CHECKING:
    from serving.tables.table import Table

#: For the help of commands that read rows.
FILES_HELP: Final = (
    "Files of rows, folders or globs: CSV, Parquet, Arrow IPC, .npy, TFRecord; CSV and TFRecord "
    "also as .gz; - is CSV on stdin."
)


@dataclass(frozen=True)
class Given:
    """The tables of a command, in order, and where the copies of those lie that are no files."""

    tables: "list[Table]"
    copies: Mapping[str, Path]


@contextmanager
def given_tables(files: Sequence[Path], extra: str, output: Path | None = None) -> Iterator[Given]:
    """The tables of files, folders, globs and standard input, without what lies in ``output``.

    Raises UnreadableFile, ColumnMismatch; MissingExtra, which names ``extra``.
    """
    with needs_extra(extra):
        from serving.tables.input_files import STANDARD_INPUT, input_files, kind_of, open_table

        paths = input_files(files, output)
        if any((kind_of(path) or "").startswith(".tfrecord") for path in paths):
            load_tensorflow("train")
    with ExitStack() as stack:
        tables: list[Table] = []
        copies = {}
        for path in paths:
            if path != STANDARD_INPUT:
                with needs_extra(extra):
                    tables.append(open_table(path))
                continue
            with needs_extra(extra):
                from serving.tables.csv_table import CsvTable
            copy = stack.enter_context(_copied_input())
            tables.append(CsvTable(copy, "standard input"))
            copies["standard input"] = copy
        yield Given(tables, copies)


@contextmanager
def _copied_input() -> Iterator[Path]:
    """Standard input as a file: a reader may have to look at a row twice to say what is wrong."""
    with tempfile.NamedTemporaryFile(prefix="tfkmeans-", suffix=".csv") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)
