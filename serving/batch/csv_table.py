"""CSV: comma-separated, UTF-8, the first line names the columns (RFC 4180).

An empty cell, ``NA`` and ``NaN`` are missing values. Blank lines are no rows, as in most readers.
Parsing is pyarrow's. It does not say where a bad cell is, so when it fails the file is read again,
slowly, to name the row and the line.
"""

import csv
import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from .errors import BadCell, BatchError, NoRows, UnreadableFile
from .table import Block, ColumnKind, check_names, require_columns

MISSING: Final = ("", "NA", "NaN")

#: Bytes that are parsed at a time; a row must fit.
_BLOCK_BYTES: Final = 4 * 2**20

_SEARCH_ROWS: Final = 4096


class CsvTable:
    """A CSV file. ``name`` is what messages call it, the path when not given."""

    named = True

    def __init__(self, path: Path, name: str | None = None) -> None:
        """Read the header. Raises UnreadableFile, ColumnMismatch."""
        self._path = path
        self.name = name or str(path)
        self.columns = self._header()
        check_names(self.name, self.columns)

    def kinds(self) -> Mapping[str, ColumnKind]:
        found = dict.fromkeys(self.columns, ColumnKind(None, "no values"))
        pending = {column for column in self.columns if column}
        if "" in found:
            found[""] = ColumnKind(False, "a column without a name")
        if not pending:
            return found
        for batch in self._batches(sorted(pending), pa.binary()):
            for column in sorted(pending):
                for value in batch.column(column).drop_null():
                    number = _number(value.as_py())
                    if number is None or not math.isnan(number):
                        found[column] = _kind(value.as_py(), number)
                        pending.remove(column)
                        break
            if not pending:
                break
        return found

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        require_columns(self, columns)
        for batch in self._batches(columns, pa.float64()):
            yield batch.to_tensor(null_to_nan=True, row_major=True).to_numpy()

    def place(self, row: int) -> str:
        for number, line, _ in self._records():
            if number == row:
                return f"row {row} (line {line})"
        return f"row {row}"

    def _header(self) -> tuple[str, ...]:
        try:
            with self._open() as file:
                header = next((record for record in csv.reader(file) if record), None)
        except csv.Error as error:
            raise UnreadableFile(f"{self.name}: the header is not CSV: {error}") from None
        except OSError as error:
            raise UnreadableFile(f"{self.name}: cannot be read: {error.strerror}") from None
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

    def _open(self) -> TextIO:
        # The byte order mark that spreadsheets write is no part of the first name. What is not
        # UTF-8 matters only in the cells that are used.
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _batches(self, columns: Sequence[str], kind: pa.DataType) -> Iterator[pa.RecordBatch]:
        try:
            with pacsv.open_csv(
                str(self._path),
                read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pacsv.ParseOptions(newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(columns),
                    column_types=dict.fromkeys(columns, kind),
                    null_values=list(MISSING),
                    strings_can_be_null=True,
                    check_utf8=False,
                ),
            ) as reader:
                yield from reader
        except (pa.ArrowException, OSError) as error:
            cause = self._cause(columns if kind == pa.float64() else ())
            if isinstance(cause, NoRows):
                return
            raise cause or UnreadableFile(f"{self.name}: cannot be read: {error}") from None

    def _records(self) -> Generator[tuple[int, int, list[str]]]:
        """Row number, number of its last line, cells. Raises UnreadableFile at what is not CSV."""
        row = line = 0
        with self._open() as file:
            reader = csv.reader(file)
            try:
                for row, record in enumerate(record for record in reader if record):
                    line = reader.line_num
                    if row:
                        yield row, line, record
            except csv.Error as error:
                raise UnreadableFile(
                    f"{self.name}: after row {row} (line {line}): {error}; is a quote not closed?"
                ) from None

    def _cause(self, numeric: Sequence[str]) -> BatchError | None:
        """The first row that is ragged or has text in a ``numeric`` column; NoRows if no row."""
        records = self._records()
        empty = True
        try:
            while chunk := list(itertools.islice(records, _SEARCH_ROWS)):
                empty = False
                if found := self._bad_row(chunk, numeric):
                    return found
        except UnreadableFile as found:
            return found
        finally:
            records.close()
        return NoRows(f"{self.name}: has a header and no rows") if empty else None

    def _bad_row(
        self, chunk: Sequence[tuple[int, int, list[str]]], numeric: Sequence[str]
    ) -> BadCell | None:
        places = [(column, self.columns.index(column)) for column in numeric]
        whole = all(len(cells) == len(self.columns) for _, _, cells in chunk)
        if whole and all(_numbers(cells[index] for _, _, cells in chunk) for _, index in places):
            return None
        for row, line, cells in chunk:
            where = f"{self.name}: row {row} (line {line})"
            if len(cells) != len(self.columns):
                return BadCell(
                    f"{where} has {len(cells)} cells, and the header has {len(self.columns)}; "
                    "quote cells that hold a comma"
                )
            for column, index in places:
                if cells[index] not in MISSING and _number(_bytes(cells[index])) is None:
                    return BadCell(
                        f"{where}, column {column!r}: {cells[index][:60]!r} is not a number; "
                        "write a missing value as an empty cell, NA or NaN"
                    )
        return None


def _is_utf8(text: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in text)


def _bytes(cell: str) -> bytes:
    return cell.encode(errors="surrogateescape")


def _number(cell: bytes) -> float | None:
    """What pyarrow's CSV reader takes this cell for; None when it is text."""
    try:
        text = cell.decode().strip(" \t")
        number: float = pa.scalar(text).cast(pa.float64()).as_py()
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    return number


def _numbers(cells: Iterable[str]) -> bool:
    """Whether pyarrow's CSV reader takes each of these cells for a number or a missing value."""
    values = [None if cell in MISSING else _bytes(cell) for cell in cells]
    try:
        texts = pa.array(values, pa.binary()).cast(pa.string())
        pc.ascii_trim(texts, " \t").cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _kind(cell: bytes, number: float | None) -> ColumnKind:
    if number is None:
        return ColumnKind(False, f"text ({cell[:40].decode(errors='surrogateescape')!r})")
    return ColumnKind(True, "numbers")
