"""CSV: delimited text, UTF-8, whose first line names the columns (RFC 4180); plain or gzip.

See ``reading_options`` for other formats. Blank lines are not rows, as in most readers. A quoted
value may contain line ends; an unclosed quote is always detected. pyarrow parses the file. If a
cell is not a number, or a row has too many or too few cells, the file is read again from its start,
as text, to separate bad rows from good ones.
"""

import copy
import csv
import io
import itertools
import re
import sys
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from kmeans_module.category_texts import spell_number
from kmeans_module.columns import CategoryColumn

from .columns import NO_VALUES, NUMBERS, ColumnKind, require_columns, require_numbers
from .csv_beginnings import Beginning, find_beginnings
from .csv_cells import BOOLEAN_FALSES, BOOLEAN_TRUES, BOOLEANS, CellReader, show_cell
from .csv_layout import read_layout
from .csv_quotes import QuoteWatcher
from .csv_source import open_source
from .errors import ColumnMismatch, UnreadableFile
from .messages import format_count
from .reading_options import ReadingOptions
from .record_batches import keep_columns, read_points
from .table import Chunk, Fault, Table

if TYPE_CHECKING:
    from kmeans_module.workers import Reducer

#: Bytes per parsed block; a row must fit.
_BLOCK_BYTES: Final = 4 * 2**20

#: Bytes at the start of a file for estimating the length of its lines.
_SAMPLE_BYTES: Final = 2**16

#: The message of pyarrow for a row that the handler did not get.
_RAGGED: Final = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")

#: The exceptions of reading a damaged file.
_DAMAGE: Final = (OSError, EOFError, zlib.error)

#: The number (from 0) and the length of a row that is longer or shorter than the header.
_RaggedRow = tuple[int, int]


class CsvTable(Table):
    """A file of delimited text. ``name`` is its name in messages, by default the path."""

    def __init__(
        self, path: Path, name: str | None = None, options: ReadingOptions = ReadingOptions()
    ) -> None:
        """Read the first lines. Raises UnreadableFile."""
        self._path = path
        self._options = options
        self._cells = CellReader(options)
        self._known_kinds: dict[str, ColumnKind] = {}
        self._are_numbers: dict[str, bool] = {}
        suffixes = [suffix.lower() for suffix in path.suffixes]
        self._is_gzip = suffixes[-1:] == [".gz"]
        self.name = name or str(path)
        self.has_names = options.has_header
        try:
            self._layout = read_layout(
                self.name,
                next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), ""),
                lambda: open_source(path, options.comment, options.delimiter),
                options,
            )
        except _DAMAGE as error:
            raise self._unreadable_error(error) from None
        self.columns = self._layout.columns
        # The unique names for pyarrow; used columns keep their names.
        self._arrow_names = [
            name if name and name not in self.columns[:index] else f"\0{index}"
            for index, name in enumerate(self.columns)
        ]
        self._beginnings: Sequence[Beginning] = [Beginning(0, self._layout.bytes_before)]
        # A cell after the last column, which must be empty.
        self._empty_end = ["\0end"] * self._layout.has_empty_end

    @property
    def estimated_rows(self) -> int | None:
        """Estimate by the length of the first lines, or count; None for compressed files."""
        if self.rows is not None:
            return self.rows
        if self._is_gzip:
            return None
        with self._path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
        lines = sample.count(b"\n")
        whole = self._path.stat().st_size if len(sample) == _SAMPLE_BYTES else len(sample)
        rows = round(lines * whole / max(1, len(sample))) - self._layout.lines_before
        return max(0, rows)

    @property
    def beginnings(self) -> Sequence[int]:
        return [each.row for each in self._beginnings]

    def with_beginnings(self, reducer: "Reducer") -> Self:
        """Add beginnings, except for compressed files and files with comments."""
        if self._is_gzip or self._options.comment is not None:
            return self
        start = self._layout.bytes_before
        try:
            found = find_beginnings(self._path, start, self._layout.delimiter, reducer)
        except OSError as error:
            raise self._unreadable_error(error) from None
        if found is None:
            return self
        table = copy.copy(self)
        table._beginnings, table.rows = found
        return table

    @property
    def looks_headerless(self) -> bool:
        return self._layout.looks_headerless

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return self._kinds_of([column for column in self.columns if column])

    def _kinds_of(self, columns: Sequence[str]) -> Mapping[str, ColumnKind]:
        """Return kinds from the first block, or from the first block in which the column has a
        value.
        """
        pending = [name for name in dict.fromkeys(columns) if name not in self._known_kinds]
        for batch in self._text_batches(pending) if pending else ():
            found = {name: self._cells.kind(batch.column(name)) for name in pending}
            self._known_kinds |= {n: kind for n, kind in found.items() if kind != NO_VALUES}
            pending = [name for name in pending if name not in self._known_kinds]
            if not pending:
                break
        self._known_kinds |= dict.fromkeys(pending, NO_VALUES)
        return {name: self._known_kinds[name] for name in columns}

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Check the columns; those without a number in the first block are not numeric."""
        require_columns(self, [*columns, *keep])
        for batch in itertools.islice(self._text_batches(columns), 1) if columns else ():
            for column in columns:
                kind = self._cells.kind_without_numbers(batch.column(column))
                if kind is not None:
                    require_numbers(self, column, kind)

    def with_widths(self, widths: Mapping[str, int]) -> Self:
        for column, width in widths.items():
            if width > 1:
                raise ColumnMismatch(
                    f"{self.name}: column {column!r} has one value a row, and vectors of {width} "
                    f"numbers are needed; write them as the columns {column}[0] to "
                    f"{column}[{width - 1}]"
                )
        return self

    def column_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        """Return text for each column, as in the file."""
        return dict.fromkeys(keep, pa.string())

    def spell(self, column: CategoryColumn, value: Any) -> str:
        """Return the text of a value; for a column of numbers as in a file with types."""
        text = super().spell(column, self._cells.plain_text(value))
        number = spell_number(text)
        if number == text or text in column.values or not self._holds_numbers(column.name):
            return text
        return number

    def _holds_numbers(self, column: str) -> bool:
        """Whether all values of a column are numbers, in the first block with a value."""
        if column not in self.columns:  # of a folder
            return False
        if column not in self._are_numbers:
            found = (
                self._cells.are_numbers(batch.column(column))
                for batch in self._text_batches([column])
            )
            self._are_numbers[column] = next((each for each in found if each is not None), False)
        return self._are_numbers[column]

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        require_columns(self, [*columns, *keep])
        done = start
        for kinds in self._guess_kinds(columns, keep):
            try:
                for chunk in self._typed_chunks(kinds, columns, keep, done):
                    done += len(chunk.points)
                    yield chunk
                return
            except pa.ArrowInvalid:
                continue  # a cell or a row does not fit the guess
        yield from self._text_chunks(columns, keep, done)

    def _guess_kinds(
        self, columns: Sequence[str], keep: Sequence[str]
    ) -> Iterator[Mapping[str, ColumnKind]]:
        """Return the kinds as which pyarrow can read the columns; none for unsupported number
        formats.
        """
        # Kept columns are text, so they are not parsed as numbers.
        if self._options.thousands is None and set(columns).isdisjoint(keep):
            yield dict.fromkeys(columns, NUMBERS)
            kinds = self._kinds_of(columns)
            if BOOLEANS in kinds.values():
                yield kinds

    def _typed_chunks(
        self,
        kinds: Mapping[str, ColumnKind],
        columns: Sequence[str],
        keep: Sequence[str],
        start: int,
    ) -> Iterator[Chunk]:
        """Yield chunks of typed columns. Raises pyarrow.ArrowInvalid if values do not fit the
        kinds.
        """
        types = {
            **dict.fromkeys(keep, pa.binary()),
            **{n: pa.bool_() if kind == BOOLEANS else pa.float64() for n, kind in kinds.items()},
            **dict.fromkeys(self._empty_end, pa.null()),
        }
        begin = self._last_beginning(start)
        row = begin.row
        for batch in self._batches(types, begin):
            begins, row = row, row + len(batch)
            if row > start:
                picked = batch.slice(max(0, start - begins))
                faults: dict[int, Fault] = {}
                kept = keep_columns(picked, self.column_types(keep), faults)
                points = read_points(picked, dict.fromkeys(columns, 1), pa.float64(), faults)
                if np.isinf(points).any():
                    raise pa.ArrowInvalid("the text tells which numbers are too large")
                yield Chunk(self._cells.without_missing(points), kept, faults)

    def place(self, row: int) -> str:
        for number, line in self._row_lines():
            if number == row:
                return f"row {row} (line {line})"
        return f"row {row}"

    def _text_chunks(
        self, columns: Sequence[str], keep: Sequence[str], start: int
    ) -> Iterator[Chunk]:
        names = list(dict.fromkeys([*columns, *keep, *self._empty_end]))
        end_of_file = pa.record_batch([pa.array([], pa.binary())] * len(names), names)
        ragged: deque[_RaggedRow] = deque()
        begin = self._last_beginning(start)
        row = begin.row
        batches = self._text_batches(names, begin, ragged)
        for batch in itertools.chain(batches, [end_of_file]):
            end = row + len(batch)
            lengths: dict[int, int] = {}
            while ragged and (batch is end_of_file or ragged[0][0] < end):
                number, length = ragged.popleft()
                lengths[number - row] = length
                end += 1
            if end > max(row, start):
                chunk = self._text_chunk(batch, columns, keep, lengths)
                yield chunk.slice(max(0, start - row), end - row)
            row = end

    def _text_chunk(
        self,
        batch: pa.RecordBatch,
        columns: Sequence[str],
        keep: Sequence[str],
        ragged: Mapping[int, int],
    ) -> Chunk:
        """Return the rows of the batch and the ragged rows between them, given by their lengths."""
        rows = len(batch) + len(ragged)
        whole = np.setdiff1d(np.arange(rows), list(ragged))
        points = np.full((rows, len(columns)), np.nan)
        faults = {row: self._ragged_fault(cells) for row, cells in ragged.items()}
        for name in self._empty_end:
            is_empty = self._cells.find_missing(batch.column(name))
            for place in np.flatnonzero(~is_empty.to_numpy(zero_copy_only=False)).tolist():
                faults[int(whole[place])] = self._ragged_fault(len(self.columns) + 1)
        kinds = self._kinds_of(columns)
        for index, column in enumerate(columns):
            cells = batch.column(column)
            points[whole, index], bad = self._cells.parse(cells, kinds[column])
            for place in bad.tolist():
                reason = self._describe_bad(cells, cells[place].as_py(), kinds[column])
                faults.setdefault(int(whole[place]), Fault(column, reason))
        if ragged:
            places = np.full(rows, -1)
            places[whole] = np.arange(len(batch))
            batch = batch.take(pa.array(places, mask=places < 0))
        return Chunk(points, keep_columns(batch, self.column_types(keep), faults), faults)

    def _ragged_fault(self, cells: int) -> Fault:
        expected = len(self.columns)
        has = f"has {format_count(cells, 'cell')}"
        if self._empty_end and cells == expected:
            return Fault(
                "",
                f"{has}, and each row has {cells + 1}, the last of them empty; add a "
                f"{self._mark} at its end",
            )
        # R's row names have no name in the header.
        origin = "the header" if self.has_names and self.columns[0] else "row 1"
        mend = (
            f"quote cells that hold a {self._mark}"
            if cells > expected
            else "write a cell for each column, an empty one where a value is missing"
        )
        return Fault("", f"{has}, and {origin} has {expected}; {mend}")

    def _describe_bad(self, cells: "pa.Array[Any]", cell: bytes, kind: ColumnKind) -> str:
        shown = show_cell(cell, 60)
        if kind != BOOLEANS and self._cells.is_number(cell.decode(errors="replace")):
            return f"{shown} exceeds float64; correct it, or write it as missing (NA)"
        if shown.startswith("b"):
            return f"{shown}; save the file as CSV in UTF-8"
        what = "true or false, unlike most of its column" if kind == BOOLEANS else "a number"
        hint = "" if kind == BOOLEANS else self._cells.other_marks(cells, cell)
        mend = hint or "if it means a missing value, give --na-values"
        return f"{shown} is not {what}; {mend}"

    @property
    def _mark(self) -> str:
        """The delimiter in words."""
        marks = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "blank"}
        return marks.get(self._layout.delimiter, repr(self._layout.delimiter))

    def _last_beginning(self, row: int) -> Beginning:
        """Return the last beginning at or before a row."""
        return self._beginnings[bisect_right(self.beginnings, row) - 1]

    def _open_rows(self, begin: Beginning | None = None) -> BinaryIO:
        """Open the bytes after the header, or from a beginning on."""
        file = open_source(self._path, self._options.comment, self._options.delimiter)
        left = (begin or self._beginnings[0]).place
        if file.seekable():
            file.seek(left)
            return file
        while left and (read := file.read(min(left, _BLOCK_BYTES))):
            left -= len(read)
        return file

    def _text_batches(
        self,
        columns: Sequence[str],
        begin: Beginning | None = None,
        ragged: deque[_RaggedRow] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows as binary, from the first row or from a beginning on. Rows of another length
        than the header are added to ``ragged``.
        """
        begin = begin or self._beginnings[0]

        def on_ragged(row: pacsv.InvalidRow) -> str:
            if ragged is not None and row.number is not None:
                # pyarrow counts from 1, without blank lines.
                ragged.append((begin.row + row.number - 1, row.actual_columns))
            return "skip"

        return self._batches(dict.fromkeys(columns, pa.binary()), begin, on_ragged)

    def _batches(
        self, types: Mapping[str, pa.DataType], begin: Beginning, on_ragged: Any = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield these columns; raises pyarrow.ArrowInvalid if a cell has another type, or a row is
        ragged.
        """
        try:
            source: Any = QuoteWatcher(
                self._open_rows(begin), self._check_quotes, self._layout.delimiter
            )
            with (
                closing(source) as file,
                _keep_quiet_about(on_ragged),
                pacsv.open_csv(
                    file,
                    # One thread, so that omitted rows have numbers.
                    read_options=pacsv.ReadOptions(
                        block_size=_BLOCK_BYTES,
                        use_threads=on_ragged is None,
                        column_names=[*self._arrow_names, *self._empty_end],
                    ),
                    parse_options=pacsv.ParseOptions(
                        delimiter=self._layout.delimiter,
                        newlines_in_values=True,
                        invalid_row_handler=on_ragged,
                    ),
                    convert_options=pacsv.ConvertOptions(
                        include_columns=list(types),
                        column_types=dict(types),
                        null_values=list(self._cells.missing),
                        true_values=list(BOOLEAN_TRUES),
                        false_values=list(BOOLEAN_FALSES),
                        strings_can_be_null=False,
                        decimal_point=self._options.decimal,
                        check_utf8=False,
                    ),
                ) as reader,
            ):
                yield from reader
        except (pa.ArrowException, *_DAMAGE) as error:
            if isinstance(error, pa.ArrowInvalid) and on_ragged is None:
                raise
            if "Empty CSV" in str(error):  # only a header
                return
            self._check_quotes()  # gives a better message for an unclosed quote
            if isinstance(error, pa.ArrowInvalid) and (row := _RAGGED.search(str(error))):
                reason = self._ragged_fault(int(row[3])).reason
                raise UnreadableFile(
                    f"{self.name}: row {begin.row + int(row[1])} {reason}, and save the file as "
                    "CSV in UTF-8: the row is not UTF-8"
                ) from None
            raise self._unreadable_error(error) from None

    def _check_quotes(self) -> None:
        """Read the whole file strictly. Raises UnreadableFile at an unclosed quote."""
        deque(self._row_lines(), maxlen=0)

    def _row_lines(self) -> Generator[tuple[int, int]]:
        """Yield each row number with the number of its last line. Raises UnreadableFile if a row is
        not CSV.
        """
        row, line = 0, self._layout.lines_before
        with self._open_rows() as file:
            text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
            reader = csv.reader(text, delimiter=self._layout.delimiter, strict=True)
            try:
                for row, _ in enumerate((record for record in reader if record), start=1):
                    line = self._layout.lines_before + reader.line_num
                    yield row, line
            except csv.Error as error:
                raise UnreadableFile(
                    f"{self.name}: row {row + 1} (after line {line}): {error}; "
                    "is a quote not closed?"
                ) from None
            except _DAMAGE as error:
                raise self._unreadable_error(error) from None

    def _unreadable_error(self, error: Exception) -> UnreadableFile:
        reason = getattr(error, "strerror", None) or error
        return UnreadableFile(f"{self.name}: cannot be read: {reason}")


@contextmanager
def _keep_quiet_about(on_ragged: object) -> Iterator[None]:
    """Suppress the traceback on stderr if pyarrow cannot call the handler of a ragged row.

    pyarrow first decodes the row as UTF-8 and prints a failure of this; the row is then an error of
    the file.
    """
    before = sys.unraisablehook

    def pass_on(unraisable: Any) -> None:
        if on_ragged is None or unraisable.object is not on_ragged:
            before(unraisable)

    sys.unraisablehook = pass_on
    try:
        yield
    finally:
        sys.unraisablehook = before
