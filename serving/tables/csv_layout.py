"""The layout of a CSV file: the first row, the column names and the delimiter.

The first lines determine the layout. Contradictions are refused with a message that shows row 1 and
the option that reads the file.
"""

import csv
import io
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Final

from .columns import BLANKS
from .csv_cells import CellReader, show_cell
from .errors import UnreadableFile
from .messages import format_count
from .reading_options import DELIMITERS, ReadingOptions

_BOM: Final = b"\xef\xbb\xbf"

#: The examined rows at the start, and their maximum total length.
_SAMPLE_ROWS: Final = 200
_SAMPLE_CHARACTERS: Final = 2**18

#: The maximum length of a record.
_LONGEST_RECORD: Final = 2**22

#: If a smaller share of rows fits the header, the header does not belong to them.
_FEW: Final = 0.1

_DELIMITER_WORDS: Final = {"\t": "tab", " ": "' '"}


@dataclass(frozen=True)
class CsvLayout:
    """The layout of a file, from its start.

    Attributes:
        columns: the names of the columns, without surrounding blanks.
        delimiter: the delimiter of cells.
        bytes_before: the bytes before the first row.
        lines_before: the lines before the first row.
        has_empty_end: whether each row ends with a delimiter and an empty cell.
        looks_headerless: whether the names look like a row of values.
    """

    columns: tuple[str, ...]
    delimiter: str
    bytes_before: int
    lines_before: int
    has_empty_end: bool
    looks_headerless: bool


@dataclass(frozen=True)
class _Record:
    """The cells of a row or of the header, and the position of its end."""

    cells: list[str]
    bytes_after: int
    lines_after: int


@dataclass(frozen=True)
class _Start:
    """The first records of a file, and the position before them."""

    name: str
    delimiter: str
    options: ReadingOptions
    bytes_before: int
    records: Sequence[_Record]


def read_layout(
    name: str, ending: str, source: Callable[[], BinaryIO], options: ReadingOptions
) -> CsvLayout:
    """Read the first lines of a file.

    Args:
        name: the name of the file in messages.
        ending: the ending of its name without ``.gz``, which determines the delimiter.
        source: opens the bytes of the file.

    Raises:
        UnreadableFile: the file is empty, its header is not CSV, or the rows do not fit it.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    start = _read_start(name, ending, source, options)
    for text in start.records[0].cells:
        # Bytes that are not UTF-8 were read as surrogates.
        if options.has_header and any("\udc80" <= character <= "\udcff" for character in text):
            raise UnreadableFile(
                f"{name}: the header holds {_show_text(text, 60)}; save the file as CSV in UTF-8"
            )
    _refuse_other_delimiter(start)
    return _without_header(start) if not options.has_header else _with_header(start)


def _with_header(start: _Start) -> CsvLayout:
    header, *others = start.records
    names = tuple(cell.strip(BLANKS) for cell in header.cells)
    rows = [record.cells for record in others]
    has_empty_end = False
    cells = CellReader(start.options)
    if (title := _count_title_records(start)) or _is_padded_title(start, names, rows):
        raise UnreadableFile(f"{start.name}: {_describe_title(start, title or 1)}")
    if _is_seldom(len(names), rows):
        if all(len(row) == len(names) + 1 and not row[-1].strip(BLANKS) for row in rows):
            has_empty_end = True
        elif not names[-1] and all(len(row) == len(names) - 1 for row in rows):
            names = names[:-1]
        elif _has_row_names(len(names), rows, cells):
            names = ("", *names)
        else:
            raise UnreadableFile(f"{start.name}: {_describe_misfit(start)}")
    if texts := _find_texts_above_numbers(rows, cells):
        raise UnreadableFile(f"{start.name}: {_describe_texts(start, texts)}")
    return CsvLayout(
        names,
        start.delimiter,
        header.bytes_after,
        header.lines_after,
        has_empty_end,
        _looks_headerless(names, rows, cells),
    )


def _without_header(start: _Start) -> CsvLayout:
    rows = [record.cells for record in start.records]
    width = len(rows[0])
    if _is_seldom(width, rows[1:]):
        raise UnreadableFile(
            f"{start.name}: row 1 holds {_show(rows[0])}, and row 2 {_show(rows[1])}; if the rows "
            f"begin later, give --skip-rows {_lines_to_skip(start)}"
        )
    return CsvLayout(
        # Like the names of an .npy file, which has none.
        tuple(f"feature_{index}" for index in range(width)),
        start.delimiter,
        start.bytes_before,
        start.options.skip_rows,
        has_empty_end=False,
        looks_headerless=False,
    )


def _read_start(
    name: str, ending: str, source: Callable[[], BinaryIO], options: ReadingOptions
) -> _Start:
    if options.delimiter is not None:
        marks: tuple[str, ...] = (options.delimiter,)
    else:
        marks = DELIMITERS if ending == ".txt" else ("\t" if ending == ".tsv" else ",",)
    best: _Start | None = None
    for mark in marks:
        with source() as file:
            is_marked = file.read(len(_BOM)) == _BOM
        with source() as file:
            file.read(len(_BOM) * is_marked)
            lines = _Lines(file, len(_BOM) * is_marked, options.skip_rows)
            before = lines.bytes_read
            records = list(_read_records(name, lines, mark))
        if not records:
            continue
        if best is None or len(records[0].cells) > len(best.records[0].cells):
            best = _Start(name, mark, options, before, records)
    if best is None:
        if options.skip_rows:
            raise UnreadableFile(
                f"{name}: has no line after the {options.skip_rows} of --skip-rows; skip fewer"
            )
        raise UnreadableFile(f"{name}: is empty; the first line should name the columns")
    return best


class _Lines:
    """The counted lines of a text file, limited to the size of the sample."""

    def __init__(self, file: BinaryIO, bytes_read: int, skip: int) -> None:
        self._file = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        self.bytes_read = bytes_read
        self.lines_read = 0
        self._limit = 0
        for _ in range(skip):
            self._count(self._file.readline())
        self.start_record()

    def start_record(self) -> None:
        self._limit = self.bytes_read + _LONGEST_RECORD

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.bytes_read > self._limit:
            raise StopIteration
        line = self._file.readline(_LONGEST_RECORD)
        if not line:
            raise StopIteration
        self._count(line)
        return line

    def _count(self, line: str) -> None:
        self.bytes_read += len(line.encode("utf-8", "surrogateescape"))
        self.lines_read += bool(line)


def _read_records(name: str, lines: _Lines, delimiter: str) -> Iterator[_Record]:
    """Yield the first records that are not blank. Raises UnreadableFile if the first is not CSV."""
    before = lines.bytes_read
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    count = 0
    while count <= _SAMPLE_ROWS and lines.bytes_read - before < _SAMPLE_CHARACTERS:
        lines.start_record()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if count:  # the rows are read later, and errors in them are reported then
                return
            raise UnreadableFile(
                f"{name}: the header is not CSV: {error}; is a quote not closed?"
            ) from None
        if cells is None:
            return
        if cells:
            count += 1
            yield _Record(cells, lines.bytes_read, lines.lines_read)


def _refuse_other_delimiter(start: _Start) -> None:
    """Raise UnreadableFile if the rows have one column that another delimiter seems to separate."""
    first, *others = (record.cells for record in start.records)
    if len(first) > 1 or start.options.delimiter is not None:
        return
    following = start.delimiter.join(others[0]) if others else first[0]
    marks = [mark for mark in DELIMITERS if mark != start.delimiter]
    # Names contain blanks too, but no number between two blanks.
    if len(following.split()) > 1 and all(
        map(CellReader(start.options).is_number, following.split())
    ):
        marks.append(" ")
    other = next((mark for mark in marks if mark in first[0] and mark in following), None)
    if other is None:
        return
    what = "the header is one column" if start.options.has_header else "row 1 is one cell"
    raise UnreadableFile(
        f"{start.name}: {what}, {_show_text(first[0], 60)}; if {other!r} separates its columns, "
        f"give --delimiter {_DELIMITER_WORDS.get(other, repr(other))}"
    )


def _is_seldom(width: int, rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row, and nearly all following rows, have another width."""
    if not rows or len(rows[0]) == width:
        return False
    return sum(len(row) == width for row in rows) <= _FEW * len(rows)


def _count_title_records(start: _Start) -> int:
    """Return the number of records before the names, if these are wider than the records above;
    else 0.
    """
    records = [record.cells for record in start.records]
    width = Counter(map(len, records)).most_common(1)[0][0]
    first = next(number for number, cells in enumerate(records) if len(cells) == width)
    below = records[first:]
    cells = CellReader(start.options)
    is_title = (
        sum(len(record) == width for record in below) >= (1 - _FEW) * len(below)
        and _are_names(below[0], cells)
        # The record above may also be names with a wrapped line.
        and (len(records[0]) < width or any(map(cells.is_number, (below[1:] or [[]])[0])))
    )
    return first if is_title else 0


def _is_padded_title(start: _Start, names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a title has as many cells as the names below it, as spreadsheets write it."""
    if len(names) < 2 or len(rows) < 2 or not names[0] or any(names[1:]):
        return False
    cells = CellReader(start.options)
    return _are_names(rows[0], cells) and any(map(cells.is_number, rows[1]))


def _has_row_names(width: int, rows: Sequence[Sequence[str]], cells: CellReader) -> bool:
    """Whether each row begins with a unique name or number without a column name.

    R writes tables in this way by default.
    """
    if not all(len(row) == width + 1 for row in rows):
        return False
    first = [row[0] for row in rows]
    are_names = _are_names(first, cells) and len({*first}) == len(first)
    has_numbers = all(any(map(cells.is_number, row[1:])) for row in rows)
    return (are_names and has_numbers) or _counts_rows(first)


def _find_texts_above_numbers(rows: Sequence[Sequence[str]], cells: CellReader) -> list[str]:
    """Return the texts of row 1 above numbers, if it has no number and no boolean.

    Names below a title and units below names look like this.
    """
    first, *below = rows or [[]]
    below = [row for row in below if len(row) == len(first)]
    if len(below) < 2 or any(map(cells.is_value, first)):
        return []
    columns = list(zip(*below, strict=True))
    above = [
        cell for cell, column in zip(first, columns, strict=True) if _are_numbers(column, cells)
    ]
    return [cell for cell in above if not cells.is_missing(cell)]


def _are_names(row: Sequence[str], cells: CellReader) -> bool:
    return not any(cells.is_value(cell) or cells.is_missing(cell) for cell in row)


def _describe_misfit(start: _Start) -> str:
    """Describe a header with too few or too many names."""
    header, row = (record.cells for record in start.records[:2])
    mend = (
        "name each column in the header, or give "
        f"--skip-rows {start.records[0].lines_after} --no-header to read the rows without names"
        if len(row) > len(header)
        else "write one cell for each name, with the separator of the header"
    )
    return (
        f"the header has {format_count(len(header), 'name')} ({_show(header)}), and row 1 has "
        f"{format_count(len(row), 'cell')} ({_show(row)}); {mend}"
    )


def _describe_title(start: _Start, number: int) -> str:
    """Describe a title; ``number`` is the number of the record with the names, from 0."""
    header, row = (record.cells for record in start.records[:2])
    names = start.records[number].cells
    return (
        f"row 1 holds {_show(row)}, and the header is {_show(header)}; if the names of the columns "
        f"are {_show(names)}, give --skip-rows {start.records[number - 1].lines_after}"
        f"{_comment_hint(header)}"
    )


def _describe_texts(start: _Start, texts: Sequence[str]) -> str:
    """Describe texts in row 1 where numbers are expected."""
    header, row = (record.cells for record in start.records[:2])
    marks = shlex.quote(",".join(dict.fromkeys(text.strip(BLANKS) for text in texts)))
    return (
        f"row 1 holds {_show(row)} above numbers, and the header is {_show(header)}; if row 1 "
        "names the columns, give --skip-rows "
        f"{start.records[0].lines_after}{_comment_hint(header)}; if it holds no values, such as "
        f"units, give --na-values {marks}"
    )


def _comment_hint(header: Sequence[str]) -> str:
    return " or --comment '#'" if header[0].lstrip(BLANKS).startswith("#") else ""


def _lines_to_skip(start: _Start) -> int:
    """Return the number of lines before the first record of the usual length."""
    widths = Counter(len(record.cells) for record in start.records[1:])
    width = widths.most_common(1)[0][0]
    before = start.options.skip_rows
    for record in start.records:
        if len(record.cells) == width:
            break
        before = record.lines_after
    return before


def _show(cells: Sequence[str]) -> str:
    """Return the first cells, shortened."""
    shown = ", ".join(_show_text(cell, 30) for cell in cells[:4])
    return f"{shown}, ..." if len(cells) > 4 else shown


def _show_text(text: str, length: int) -> str:
    """Return text for a message; bytes that are not UTF-8 are shown as read."""
    return show_cell(text.encode("utf-8", "surrogateescape"), length)


def _looks_headerless(
    names: Sequence[str], rows: Sequence[Sequence[str]], cells: CellReader
) -> bool:
    """Whether the header looks like a row of values, with a number or nothing above each number.

    Integers with equal steps are names, such as 0,1,2 for an array and 2019,2020 for years; a
    single integer beside texts is a name too, unless one of the texts occurs again below. If only
    the column of row numbers has no name, as data frames are written, the others are names.
    """
    fitting = [row for row in rows if len(row) == len(names)]
    if not fitting:
        return False
    columns = list(zip(*fitting, strict=True))
    if not names[0] and _counts_rows(columns[0]):
        return False
    of_numbers = [index for index, column in enumerate(columns) if _are_numbers(column, cells)]
    above = [names[index] for index in of_numbers]
    if not above or not all(cells.is_number(name) or cells.is_missing(name) for name in above):
        return False
    texts = [index for index in range(len(names)) if index not in of_numbers and names[index]]
    if any(names[index] in {cell.strip(BLANKS) for cell in columns[index]} for index in texts):
        return True
    return not _may_be_names(above, cells, has_texts=bool(texts))


def _may_be_names(above: Sequence[str], cells: CellReader, *, has_texts: bool) -> bool:
    """Whether numbers and missing values above numbers can be names."""
    try:
        numbers = [int(name) for name in above if cells.is_number(name)]
    except ValueError:
        return False
    if len(numbers) < len(above) or len(numbers) == 1:
        return has_texts and len(numbers) in (0, len(above))
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    return len(steps) == 1 and 0 not in steps


def _are_numbers(column: Sequence[str], cells: CellReader) -> bool:
    """Whether some cells are numbers, and the others missing."""
    return any(map(cells.is_number, column)) and all(
        cells.is_number(cell) or cells.is_missing(cell) for cell in column
    )


def _counts_rows(column: Sequence[str]) -> bool:
    """Whether the cells are row numbers from 0 or 1, at least two."""
    found = [cell.strip(BLANKS) for cell in column]
    counts = ([str(first + place) for place in range(len(found))] for first in (0, 1))
    return len(found) > 1 and found in list(counts)
