"""CSV: comma-separated, UTF-8, the first line names the columns (RFC 4180); plain or gzip.

An empty cell, ``NA`` and ``NaN`` are missing values. Blank lines are no rows, as in most readers. A
quoted value may have lines; a quote that is not closed is found, wherever its value would end.
Parsing is pyarrow's. Where it meets a cell that is no number, or a row with too many or too few
cells, the file is read again from its start, as text, to tell the bad rows from the good ones.
"""

import csv
import gzip
import io
import itertools
import math
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from .csv_quotes import WatchedQuotes
from .errors import UnreadableFile
from .table import Chunk, ColumnKind, Fault, Table, check_names, no_numbers, require_columns
from .utf8_columns import kept_text

MISSING: Final = ("", "NA", "NaN")

#: Bytes that are parsed at a time; a row must fit.
_BLOCK_BYTES: Final = 4 * 2**20

#: Bytes at the start of a file that tell how long its lines are.
_SAMPLE_BYTES: Final = 2**16

#: What pyarrow's CSV reader takes for a number.
_NUMBER: Final = (
    r"^[ \t]*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|(?i:inf|infinity|nan))[ \t]*$"
)


class CsvTable(Table):
    """A CSV file. ``name`` is what messages call it, the path when not given."""

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Read the header. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self.name = name or str(path)
        self.columns = self._header()
        check_names(self.name, self.columns)

    @property
    def likely_rows(self) -> int | None:
        """By the length of the first lines; None for what is compressed."""
        if self._is_gzip():
            return None
        with self._path.open("rb") as file:
            sample = file.read(_SAMPLE_BYTES)
        lines = sample.count(b"\n")
        whole = self._path.stat().st_size if len(sample) == _SAMPLE_BYTES else len(sample)
        return max(0, round(lines * whole / max(1, len(sample))) - 1)

    def kinds(self) -> Mapping[str, ColumnKind]:
        found = dict.fromkeys(self.columns, ColumnKind(None, "no values"))
        pending = {column for column in self.columns if column}
        if "" in found:
            found[""] = ColumnKind(False, "a column without a name")
        for _, batch in self._texts(sorted(pending)):
            for column in sorted(pending):
                cells = batch.column(column)
                for value in cells.filter(pc.invert(_is_missing(cells))):
                    number = _number(value.as_py())
                    if number is None or not math.isnan(number):
                        found[column] = _kind(value.as_py(), number)
                        pending.remove(column)
                        break
            if not pending:
                break
        return found

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        """Columns of which no cell in the first block is a number hold something else."""
        require_columns(self, [*columns, *keep])
        for _, batch in itertools.islice(self._texts(columns), 1):
            for column in columns:
                cells = batch.column(column)
                there = cells.filter(pc.invert(_is_missing(cells)))
                if len(there) and not pc.any(pc.match_substring_regex(there, _NUMBER)).as_py():
                    raise no_numbers(self.name, column, _kind(there[0].as_py(), None).holds)

    def kept_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        """Text, as it stands in the file."""
        return dict.fromkeys(keep, pa.string())

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        require_columns(self, [*columns, *keep])
        row = 0
        if not set(columns).isdisjoint(keep):
            # What is kept is text, and what is taken for a number is none any more.
            yield from self._careful_chunks(columns, keep, start)
            return
        try:
            for batch in self._batches(columns, pa.float64(), keep):
                begins, row = row, row + len(batch)
                if row > start:
                    picked = batch.slice(max(0, start - begins))
                    numbers = picked.select(list(columns))
                    faults: dict[int, Fault] = {}
                    kept = kept_text(picked, keep, faults)
                    yield Chunk(
                        numbers.to_tensor(null_to_nan=True, row_major=True).to_numpy(),
                        kept,
                        tuple(faults[at] for at in sorted(faults)),
                    )
        except pa.ArrowInvalid:
            yield from self._careful_chunks(columns, keep, max(start, row))

    def place(self, row: int) -> str:
        for number, line, _ in self._records():
            if number == row:
                return f"row {row} (line {line})"
        return f"row {row}"

    def _careful_chunks(
        self, columns: Sequence[str], keep: Sequence[str], start: int
    ) -> Iterator[Chunk]:
        ragged: deque[tuple[int, int]] = deque()
        row = 0
        for is_last, batch in self._texts(list(dict.fromkeys([*columns, *keep])), ragged):
            end = row + len(batch)
            torn = []
            while ragged and (is_last or ragged[0][0] < end):
                torn.append(ragged.popleft())
                end += 1
            if end > start:
                chunk = self._careful_chunk(batch, columns, keep, row, end, torn)
                yield chunk.slice(max(0, start - row), end - row)
            row = end

    def _careful_chunk(
        self,
        batch: pa.RecordBatch,
        columns: Sequence[str],
        keep: Sequence[str],
        row: int,
        end: int,
        torn: Sequence[tuple[int, int]],
    ) -> Chunk:
        """The rows ``row`` to ``end`` of the file: those of the batch, and those that are torn."""
        whole = np.setdiff1d(np.arange(row, end), [number for number, _ in torn]) - row
        points = np.full((end - row, len(columns)), np.nan)
        faults = {
            number - row: Fault(
                number - row,
                "",
                f"has {cells} cells, and the header has {len(self.columns)}; "
                "quote cells that hold a comma",
            )
            for number, cells in torn
        }
        for index, column in enumerate(columns):
            cells = batch.column(column)
            numbers, bad = _floats(cells)
            points[whole, index] = numbers
            for place in bad.tolist():
                text = cells[place].as_py().decode(errors="surrogateescape")
                at = int(whole[place])
                faults.setdefault(
                    at,
                    Fault(
                        at,
                        column,
                        f"{text[:60]!r} is not a number; "
                        "write a missing value as an empty cell, NA or NaN",
                    ),
                )
        if torn:
            places = np.full(end - row, -1)
            places[whole] = np.arange(len(batch))
            batch = batch.take(pa.array(places, mask=places < 0))
        kept = kept_text(batch, keep, faults)
        return Chunk(points, kept, tuple(faults[at] for at in sorted(faults)))

    def _header(self) -> tuple[str, ...]:
        try:
            with self._open() as file:
                header = next((record for record in csv.reader(file, strict=True) if record), None)
        except csv.Error as error:
            raise UnreadableFile(
                f"{self.name}: the header is not CSV: {error}; is a quote not closed?"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise self._damaged(error) from None
        if header is None:
            raise UnreadableFile(f"{self.name}: is empty; the first line should name the columns")
        for name in header:
            if not _is_utf8(name):
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

    def _is_gzip(self) -> bool:
        return self._path.suffix.lower() == ".gz"

    def _open(self) -> TextIO:
        # The byte order mark that spreadsheets write is no part of the first name. What is not
        # UTF-8 matters only in the cells that are used.
        file: Any = gzip.GzipFile(self._path) if self._is_gzip() else self._path.open("rb")
        return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")

    def _texts(
        self, columns: Sequence[str], ragged: deque[tuple[int, int]] | None = None
    ) -> Iterator[tuple[bool, pa.RecordBatch]]:
        """The rows as binary, and with each batch whether it is the last.

        Rows of another length than the header are left out; their numbers (from 0) and lengths go
        to ``ragged``.
        """

        def on_ragged(row: pacsv.InvalidRow) -> str:
            if ragged is not None and row.number is not None:
                # pyarrow counts from 1, with the header and without blank lines.
                ragged.append((row.number - 2, row.actual_columns))
            return "skip"

        before: pa.RecordBatch | None = None
        for batch in self._batches(columns, pa.binary(), (), on_ragged):
            if before is not None:
                yield False, before
            before = batch
        if before is None and ragged:
            before = pa.record_batch([pa.array([], pa.binary())] * len(columns), list(columns))
        if before is not None:
            yield True, before

    def _batches(
        self,
        columns: Sequence[str],
        kind: pa.DataType,
        keep: Sequence[str],
        on_ragged: Any = None,
    ) -> Iterator[pa.RecordBatch]:
        """Raises pyarrow.ArrowInvalid where a cell is not of its kind or a row is ragged."""
        if not self._has_rows():
            return
        try:
            with (
                closing(self._watched()) as file,
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
                        null_values=list(MISSING),
                        strings_can_be_null=False,
                        check_utf8=False,
                    ),
                ) as reader,
            ):
                yield from reader
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, pa.ArrowInvalid) and on_ragged is None:
                raise
            if on_ragged is not None and str(error).startswith("Empty CSV"):
                return
            self._check_quotes()  # says more of one that is not closed
            raise UnreadableFile(f"{self.name}: cannot be read: {error}") from None

    def _watched(self) -> Any:
        return WatchedQuotes(pa.input_stream(str(self._path)), self._check_quotes)

    def _check_quotes(self) -> None:
        """Read all of the file, strictly. Raises UnreadableFile at a quote that is not closed."""
        for _ in self._records():
            pass

    def _has_rows(self) -> bool:
        records = self._records()
        try:
            return next(records, None) is not None
        finally:
            records.close()

    def _records(self) -> Generator[tuple[int, int, list[str]]]:
        """Row number, number of its last line, cells. Raises UnreadableFile at what is not CSV."""
        row = line = 0
        with self._open() as file:
            reader = csv.reader(file, strict=True)
            try:
                for row, record in enumerate(record for record in reader if record):
                    line = reader.line_num
                    if row:
                        yield row, line, record
            except csv.Error as error:
                raise UnreadableFile(
                    f"{self.name}: row {row + 1} (after line {line}): {error}; "
                    "is a quote not closed?"
                ) from None
            except (OSError, EOFError, zlib.error) as error:
                raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> UnreadableFile:
        reason = getattr(error, "strerror", None) or error
        return UnreadableFile(f"{self.name}: cannot be read: {reason}")


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _number(cell: bytes) -> float | None:
    """What pyarrow's CSV reader takes this cell for; None when it is text."""
    try:
        text = cell.decode().strip(" \t")
        number: float = pa.scalar(text).cast(pa.float64()).as_py()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return number


def _is_missing(cells: "pa.Array[Any]") -> "pa.Array[Any]":
    return pc.is_in(cells, pa.array(MISSING, pa.binary()))


def _floats(cells: "pa.Array[Any]") -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numbers, NaN where there is none; and the places of what is neither that nor missing."""
    number = pc.match_substring_regex(cells, _NUMBER)
    bad = pc.invert(pc.or_(number, _is_missing(cells)))
    texts = pc.if_else(number, cells, pa.scalar(None, cells.type)).cast(pa.string())
    floats = pc.ascii_trim(texts, " \t").cast(pa.float64())
    return floats.to_numpy(zero_copy_only=False), np.flatnonzero(bad.to_numpy(zero_copy_only=False))


def _kind(cell: bytes, number: float | None) -> ColumnKind:
    if number is None:
        return ColumnKind(False, f"text ({cell[:40].decode(errors='surrogateescape')!r})")
    return ColumnKind(True, "numbers")
