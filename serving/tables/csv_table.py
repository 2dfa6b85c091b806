"""CSV: comma-separated, UTF-8, the first line names the columns (RFC 4180); plain or gzip.

Blank lines are no rows, as in most readers. A quoted value may have lines; a quote that is not
closed is found, wherever its value would end. Parsing is pyarrow's. Where it meets a cell that is
no number, or a row with too many or too few cells, the file is read again from its start, as text,
to tell the bad rows from the good ones.
"""

import csv
import gzip
import io
import itertools
import re
import sys
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from .columns import (
    BLANKS,
    MISSING_TEXTS,
    MISSING_WORDS,
    NO_VALUES,
    NUMBERS,
    ColumnKind,
    require_columns,
    require_numbers,
    require_unique_names,
)
from .csv_quotes import QuoteWatcher
from .errors import ColumnMismatch, UnreadableFile
from .record_batches import keep_columns, read_points
from .table import Chunk, Fault, Table

#: Bytes that are parsed at a time; a row must fit.
_BLOCK_BYTES: Final = 4 * 2**20

#: Bytes at the start of a file that tell how long its lines are.
_SAMPLE_BYTES: Final = 2**16

#: What pyarrow's CSV reader takes for a number.
_NUMBER: Final = (
    r"^[ \t]*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|(?i:inf|infinity|nan))[ \t]*$"
)

#: What pyarrow says of a row for which it could not ask.
_RAGGED: Final = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")

#: Number (from 0) and length of a row that is longer or shorter than the header.
_RaggedRow = tuple[int, int]


class CsvTable(Table):
    """A CSV file. ``name`` is what messages call it, the path when not given."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Read the header. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self._is_gzip = path.suffix.lower() == ".gz"
        self.name = name or str(path)
        self.columns = self._read_header()
        require_unique_names(self)

    @property
    def estimated_rows(self) -> int | None:
        """By the length of the first lines; None for what is compressed."""
        if self._is_gzip:
            return None
        with self._path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
        lines = sample.count(b"\n")
        whole = self._path.stat().st_size if len(sample) == _SAMPLE_BYTES else len(sample)
        return max(0, round(lines * whole / max(1, len(sample))) - 1)

    def _kinds(self) -> Mapping[str, ColumnKind]:
        kinds = {column: NO_VALUES for column in self.columns if column}
        for batch in self._text_batches(list(kinds)):
            pending = [column for column, kind in kinds.items() if kind == NO_VALUES]
            kinds |= {column: _first_kind(batch.column(column)) for column in pending}
            if NO_VALUES not in kinds.values():
                break
        return kinds

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Columns of which no cell in the first block is a number hold something else."""
        require_columns(self, [*columns, *keep])
        for batch in itertools.islice(self._text_batches(columns), 1):
            for column in columns:
                cells = batch.column(column)
                present = cells.filter(pc.invert(_is_missing(cells)))
                if len(_parse_numbers(present)[1]) == len(present) > 0:
                    require_numbers(self, column, _text_kind(present[0].as_py()))

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
        """Text, as it stands in the file."""
        return dict.fromkeys(keep, pa.string())

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        require_columns(self, [*columns, *keep])
        widths = dict.fromkeys(columns, 1)
        row = 0
        if not set(columns).isdisjoint(keep):
            # What is kept is text, and what is taken for a number is none any more.
            yield from self._text_chunks(columns, keep, start)
            return
        try:
            for batch in self._batches(columns, pa.float64(), keep):
                begins, row = row, row + len(batch)
                if row > start:
                    picked = batch.slice(max(0, start - begins))
                    faults: dict[int, Fault] = {}
                    kept = keep_columns(picked, self.column_types(keep), faults)
                    points = read_points(picked, widths, pa.float64(), faults)
                    yield Chunk(points, kept, faults)
        except pa.ArrowInvalid:
            yield from self._text_chunks(columns, keep, max(start, row))

    def place(self, row: int) -> str:
        for number, line in self._row_lines():
            if number == row:
                return f"row {row} (line {line})"
        return f"row {row}"

    def _text_chunks(
        self, columns: Sequence[str], keep: Sequence[str], start: int
    ) -> Iterator[Chunk]:
        names = list(dict.fromkeys([*columns, *keep]))
        end_of_file = pa.record_batch([pa.array([], pa.binary())] * len(names), names)
        ragged: deque[_RaggedRow] = deque()
        row = 0
        for batch in itertools.chain(self._text_batches(names, ragged), [end_of_file]):
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
        """The rows of the batch, and between them the ragged ones, whose lengths are given."""
        rows = len(batch) + len(ragged)
        whole = np.setdiff1d(np.arange(rows), list(ragged))
        points = np.full((rows, len(columns)), np.nan)
        faults = {
            row: Fault(
                "",
                f"has {cells} cells, and the header has {len(self.columns)}; "
                "quote cells that hold a comma",
            )
            for row, cells in ragged.items()
        }
        for index, column in enumerate(columns):
            cells = batch.column(column)
            points[whole, index], bad = _parse_numbers(cells)
            for place in bad.tolist():
                text = cells[place].as_py().decode(errors="surrogateescape")
                reason = f"{text[:60]!r} is not a number; write a missing value as {MISSING_WORDS}"
                faults.setdefault(int(whole[place]), Fault(column, reason))
        if ragged:
            places = np.full(rows, -1)
            places[whole] = np.arange(len(batch))
            batch = batch.take(pa.array(places, mask=places < 0))
        return Chunk(points, keep_columns(batch, self.column_types(keep), faults), faults)

    def _read_header(self) -> tuple[str, ...]:
        try:
            with self._open() as file:
                header = next((record for record in csv.reader(file, strict=True) if record), None)
        except csv.Error as error:
            raise UnreadableFile(
                f"{self.name}: the header is not CSV: {error}; is a quote not closed?"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable_error(error) from None
        if header is None:
            raise UnreadableFile(f"{self.name}: is empty; the first line should name the columns")
        for name in header:
            # What is not UTF-8, the file was opened to give as surrogates.
            if any("\udc80" <= character <= "\udcff" for character in name):
                raise UnreadableFile(
                    f"{self.name}: the header is not UTF-8 text ({name[:60]!r}); "
                    "save the file as CSV in UTF-8"
                )
        if len(header) == 1 and (other := next((mark for mark in ";\t" if mark in header[0]), "")):
            raise UnreadableFile(
                f"{self.name}: the header is one column, {header[0][:60]!r}; if {other!r} "
                "separates its columns, save the file with commas"
            )
        return tuple(header)

    def _open(self) -> TextIO:
        # The byte order mark that spreadsheets write is no part of the first name. What is not
        # UTF-8 matters only in the cells that are used.
        file: Any = gzip.GzipFile(self._path) if self._is_gzip else self._path.open("rb")
        return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")

    def _text_batches(
        self, columns: Sequence[str], ragged: deque[_RaggedRow] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows as binary. Those of another length than the header go to ``ragged``."""

        def on_ragged(row: pacsv.InvalidRow) -> str:
            if ragged is not None and row.number is not None:
                # pyarrow counts from 1, with the header and without blank lines.
                ragged.append((row.number - 2, row.actual_columns))
            return "skip"

        return self._batches(columns, pa.binary(), (), on_ragged)

    def _batches(
        self,
        columns: Sequence[str],
        kind: pa.DataType,
        keep: Sequence[str],
        on_ragged: Any = None,
    ) -> Iterator[pa.RecordBatch]:
        """Raises pyarrow.ArrowInvalid where a cell is not of its kind or a row is ragged."""
        try:
            source: Any = QuoteWatcher(pa.input_stream(str(self._path)), self._check_quotes)
            with (
                closing(source) as file,
                _keep_quiet_about(on_ragged),
                pacsv.open_csv(
                    file,
                    # One thread, so that the rows that are left out have numbers.
                    read_options=pacsv.ReadOptions(
                        block_size=_BLOCK_BYTES, use_threads=on_ragged is None
                    ),
                    parse_options=pacsv.ParseOptions(
                        newlines_in_values=True, invalid_row_handler=on_ragged
                    ),
                    convert_options=pacsv.ConvertOptions(
                        include_columns=list(dict.fromkeys([*columns, *keep])),
                        column_types=dict.fromkeys(keep, pa.binary())
                        | dict.fromkeys(columns, kind),
                        null_values=list(MISSING_TEXTS),
                        strings_can_be_null=False,
                        check_utf8=False,
                    ),
                ) as reader,
            ):
                yield from reader
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, pa.ArrowInvalid) and on_ragged is None:
                raise
            if "Empty CSV" in str(error):  # a header alone
                return
            self._check_quotes()  # says more of one that is not closed
            if isinstance(error, pa.ArrowInvalid) and (row := _RAGGED.search(str(error))):
                raise UnreadableFile(
                    f"{self.name}: row {int(row[1]) - 1} has {row[3]} cells, the header has "
                    f"{row[2]}, and what is in it is not UTF-8 text; quote cells that hold a "
                    "comma, and save the file as CSV in UTF-8"
                ) from None
            raise UnreadableFile(f"{self.name}: cannot be read: {error}") from None

    def _check_quotes(self) -> None:
        """Read all of the file, strictly. Raises UnreadableFile at a quote that is not closed."""
        deque(self._row_lines(), maxlen=0)

    def _row_lines(self) -> Generator[tuple[int, int]]:
        """Row number, and number of its last line. Raises UnreadableFile at what is not CSV."""
        row = line = 0
        with self._open() as file:
            reader = csv.reader(file, strict=True)
            try:
                for row, _ in enumerate(record for record in reader if record):
                    line = reader.line_num
                    if row:
                        yield row, line
            except csv.Error as error:
                raise UnreadableFile(
                    f"{self.name}: row {row + 1} (after line {line}): {error}; "
                    "is a quote not closed?"
                ) from None
            except (OSError, EOFError, zlib.error) as error:
                raise self._unreadable_error(error) from None

    def _unreadable_error(self, error: Exception) -> UnreadableFile:
        reason = getattr(error, "strerror", None) or error
        return UnreadableFile(f"{self.name}: cannot be read: {reason}")


@contextmanager
def _keep_quiet_about(on_ragged: object) -> Iterator[None]:
    """No traceback on stderr where pyarrow cannot call the handler of a ragged row.

    It decodes the row as UTF-8 first, and prints what that raises when it is none; the row is then
    an error of the file.
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


def _is_missing(cells: "pa.Array[Any]") -> "pa.Array[Any]":
    # The functions that trim take what is text; that which is not UTF-8 is no missing value.
    is_ascii = pc.match_substring_regex(cells, r"^[\x20-\x7e\t]*$")
    texts = pc.if_else(is_ascii, cells, pa.scalar(None, cells.type)).cast(pa.string())
    trimmed: pa.Array[Any] = pc.ascii_trim(texts, BLANKS)
    return pc.is_in(trimmed, pa.array(MISSING_TEXTS, pa.string()))


def _parse_numbers(
    cells: "pa.Array[Any]",
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numbers, NaN where there is none; and the places of what is neither that nor missing."""
    number = pc.match_substring_regex(cells, _NUMBER)
    bad = pc.invert(pc.or_(number, _is_missing(cells)))
    texts = pc.if_else(number, cells, pa.scalar(None, cells.type)).cast(pa.string())
    floats = pc.ascii_trim(texts, BLANKS).cast(pa.float64())
    return floats.to_numpy(zero_copy_only=False), np.flatnonzero(bad.to_numpy(zero_copy_only=False))


def _first_kind(cells: "pa.Array[Any]") -> ColumnKind:
    """What the first cell that is not missing holds."""
    numbers, bad = _parse_numbers(cells)
    is_value = ~np.isnan(numbers)
    is_value[bad] = True
    if not is_value.any():
        return NO_VALUES
    first = int(is_value.argmax())
    return _text_kind(cells[first].as_py()) if first in bad else NUMBERS


def _text_kind(cell: bytes) -> ColumnKind:
    return ColumnKind(False, f"text ({cell[:40].decode(errors='surrogateescape')!r})")
