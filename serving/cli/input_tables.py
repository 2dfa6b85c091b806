"""The files of rows that a command is given, as tables; what all commands share."""

import csv
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.tables.messages import format_count

from .errors import UserMistake
from .extras import needs_extra
from .tensorflow_import import load_tensorflow
from .terminal import ProgressCallback, note

if TYPE_CHECKING:
    from serving.tables.table import Table

#: For the help of commands that read rows.
FILES_HELP: Final = (
    "Files of rows, folders or globs: CSV, Parquet, Arrow IPC, .npy, .npz, JSON lines, TFRecord; "
    "CSV, JSON lines and TFRecord also as .gz; - is CSV on stdin."
)


def parse_column_names(flag: str, given: str) -> tuple[str, ...]:
    """The names: one line of CSV, so that a name may hold a comma in quotes. Raises UserMistake."""
    names = [name.strip() for name in next(csv.reader([given], skipinitialspace=True), [])]
    if not names or "" in names:
        raise UserMistake(f"{flag} {given!r}: a name is empty; give names as in a,b")
    for name in names:
        if names.count(name) > 1:
            raise UserMistake(f"{flag} {given}: {name!r} is named twice; name it once")
    return tuple(names)


@dataclass(frozen=True)
class InputTables:
    """The tables of a command, in order, and where the copies of those lie that are no files."""

    tables: "list[Table]"
    copies: Mapping[str, Path]


@contextmanager
def open_tables(
    files: Sequence[Path], extra: str, output: Path | None = None
) -> Iterator[InputTables]:
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
            copy = stack.enter_context(_copy_standard_input())
            tables.append(CsvTable(copy, "standard input"))
            copies["standard input"] = copy
        yield InputTables(tables, copies)


def note_unused_columns(tables: "Sequence[Table]", used: Iterable[str]) -> None:
    """Say which columns of the tables are not used, where there are some."""
    from serving.tables.columns import unused_columns_note

    if line := unused_columns_note(tables, used):
        note(line)


def count_rows(tell: ProgressCallback) -> Callable[[int], None]:
    """A function that is told of rows that were read, and shows how many they are by now."""
    read = 0

    def on_rows(count: int) -> None:
        nonlocal read
        read += count
        tell(format_count(read, "row"))

    return on_rows


@contextmanager
def _copy_standard_input() -> Iterator[Path]:
    """Standard input as a file: a reader may have to look at a row twice to say what is wrong."""
    with tempfile.NamedTemporaryFile(prefix="tfkmeans-", suffix=".csv") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)
