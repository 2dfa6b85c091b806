"""The input files of a command as tables; shared by all commands."""

import csv
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import typer

from kmeans_module.contract import MOST_COLUMNS
from serving.tables.messages import format_count
from serving.tables.reading_options import ReadingOptions

from .arguments import integer
from .errors import UserMistake
from .extras import needs_extra
from .tensorflow_import import load_tensorflow
from .terminal import ProgressCallback, note

if TYPE_CHECKING:
    from export.model_card import ModelCard
    from serving.tables.table import Table

#: For the help of commands that read rows.
FILES_HELP: Final = (
    "Files of rows, folders or globs: CSV (also .tsv, .txt), Parquet, Arrow IPC, .npy, .npz, JSON "
    "lines, TFRecord; CSV, JSON lines and TFRecord also as .gz; - is CSV on stdin."
)

_MARKS: Final = {"tab": "\t", "\\t": "\t", "space": " "}


def _parse_mark(text: object) -> str:
    """A character, or the name of one that is hard to type in a shell."""
    return _MARKS.get(str(text), str(text))


@dataclass(frozen=True)
class FileOptions:
    """The format of text files, for all commands that read rows."""

    panel: ClassVar[str] = "Reading text files"

    delimiter: Annotated[
        str | None,
        typer.Option(
            parser=_parse_mark,
            metavar="X",
            help="The separator of cells: a character, tab or space; by default a comma, in .tsv "
            "a tab, in .txt the one of , ; tab and | in the header.",
        ),
    ] = None
    decimal: Annotated[
        str,
        typer.Option(metavar="X", help="The decimal mark."),
    ] = "."
    thousands: Annotated[
        str | None,
        typer.Option(
            parser=_parse_mark,
            metavar="X",
            help="The thousands separator, such as , in 1,000.",
        ),
    ] = None
    no_header: Annotated[
        bool,
        typer.Option(
            "--no-header",
            help="The first line is a row; the columns are feature_0, feature_1, ...",
        ),
    ] = False
    comment: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="The character that starts a comment, which ends with the line, such as #.",
        ),
    ] = None
    skip_rows: Annotated[
        int,
        typer.Option(
            parser=integer(0),
            metavar="N",
            help="Number of lines to skip above the header.",
        ),
    ] = 0
    na_values: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="More cell values that are missing, besides NA, N/A, null, None, ?, - and others.",
        ),
    ] = None

    def reading(self, files: Sequence[Path] | None, source: str) -> ReadingOptions:
        """The options for these files, which the user gives by ``source``.

        Raises RefusedReadingOption; UserMistake where an option is for no file.
        """
        missing = () if self.na_values is None else parse_list("--na-values", self.na_values)
        options = ReadingOptions(
            delimiter=self.delimiter,
            decimal=self.decimal,
            thousands=self.thousands,
            has_header=not self.no_header,
            comment=self.comment,
            skip_rows=self.skip_rows,
            na_values=missing,
        )
        flags = _given_flags(options)
        if flags and not files:
            raise UserMistake(
                f"{flags[0]}: requires the rows of {source}; give some, or leave it out"
            )
        return options


def parse_column_names(flag: str, given: str) -> tuple[str, ...]:
    """The names: one line of CSV, so that a name may hold a comma in quotes. Raises UserMistake."""
    names = parse_list(flag, given)
    for name in names:
        if names.count(name) > 1:
            raise UserMistake(f"{flag} {given}: {name!r} is named twice; name it once")
    return names


def parse_list(flag: str, given: str) -> tuple[str, ...]:
    """The texts of one line of CSV, without blanks round them. Raises UserMistake."""
    texts = [text.strip() for text in next(csv.reader([given], skipinitialspace=True), [])]
    if not texts or "" in texts:
        raise UserMistake(f"{flag} {given!r}: a name is empty; give names such as a,b")
    return tuple(texts)


def _given_flags(reading: ReadingOptions) -> list[str]:
    return [flag for flag, value in reading.flags().items() if value]


@dataclass(frozen=True)
class InputTables:
    """The tables of a command, in order, and the paths of copies, for inputs that are not files."""

    tables: "list[Table]"
    copies: Mapping[str, Path]


@contextmanager
def open_tables(
    files: Sequence[Path],
    extra: str,
    output: Path | None = None,
    reading: ReadingOptions = ReadingOptions(),
) -> Iterator[InputTables]:
    """The tables of files, folders, globs and standard input, without files in ``output``.

    Raises UnreadableFile; MissingExtra, which names ``extra``; UserMistake where an option of
    reading CSV is for none of them.
    """
    with needs_extra(extra):
        from serving.tables.input_files import STANDARD_INPUT, input_files, kind_of, open_table

        paths = input_files(files, output)
        check_use(reading, paths)
        if any((kind_of(path) or "").startswith(".tfrecord") for path in paths):
            load_tensorflow("train")
    with ExitStack() as stack:
        tables: list[Table] = []
        copies = {}
        for path in paths:
            if path != STANDARD_INPUT:
                with needs_extra(extra):
                    tables.append(open_table(path, reading))
                continue
            with needs_extra(extra):
                from serving.tables.csv_table import CsvTable
            copy = stack.enter_context(_copy_standard_input())
            tables.append(CsvTable(copy, "standard input", reading))
            copies["standard input"] = copy
        yield InputTables(tables, copies)


def check_use(reading: ReadingOptions, paths: Sequence[Path]) -> None:
    """Check that an option that is given is for one of the files. Raises UserMistake."""
    from serving.tables.input_files import STANDARD_INPUT, TEXT_KINDS, kind_of

    given = _given_flags(reading)
    if any((kind_of(path) or "").startswith((".jsonl", ".ndjson")) for path in paths):
        given = [flag for flag in given if flag != "--na-values"]
    if given and not any(path == STANDARD_INPUT or kind_of(path) in TEXT_KINDS for path in paths):
        raise UserMistake(
            f"{given[0]}: applies to CSV only, and {paths[0]} is not CSV; leave it out"
        )


def note_unused_columns(tables: "Sequence[Table]", used: Iterable[str]) -> None:
    """Report the columns of the tables that are not used."""
    from serving.tables.columns import unused_columns_note

    if line := unused_columns_note(tables, used):
        note(line)


def check_served_columns(server: str | None, card: "ModelCard") -> None:
    """Check that a server accepts the columns of a model. Raises UserMistake."""
    if server is not None and card.encoder is not None and not card.column_signatures:
        raise UserMistake(
            f"--server: the model takes {len(card.columns)} columns, and a server takes up to "
            f"{MOST_COLUMNS} by name; leave it out to use the model in this process"
        )


def count_rows(tell: ProgressCallback) -> Callable[[int], None]:
    """A function that receives the number of rows read, and shows the total."""
    read = 0

    def on_rows(count: int) -> None:
        nonlocal read
        read += count
        tell(format_count(read, "row"))

    return on_rows


@contextmanager
def _copy_standard_input() -> Iterator[Path]:
    """Standard input as a file: a reader may need a row twice to report an error."""
    with tempfile.NamedTemporaryFile(prefix="tfkmeans-", suffix=".csv") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield Path(file.name)
