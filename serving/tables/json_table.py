"""JSON lines: one object per line, UTF-8, plain or gzip.

The columns are the keys of all objects; the first objects with a value determine the kind of a
column. Booleans are 0 and 1, lists of numbers are vectors; null, a missing key, an empty list and a
text of ``na_values`` are missing values. Blank lines are not rows. pyarrow parses the lines; lines
with unexpected values are parsed again by Python's parser, to separate bad rows from good ones.
"""

import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson
import pyarrow.types as pt

from kmeans_module.columns import CategoryColumn

from .columns import MISSING_TEXTS, MOSTLY, NO_VALUES, NUMBERS, ColumnKind, usual_vectors
from .errors import UnreadableFile
from .record_batches import keep_columns, read_points
from .table import Chunk, Fault, Table

#: Bytes of lines per parsed block.
_BLOCK_BYTES: Final = 4 * 2**20

#: The exclusive limit of int64, and the largest integer up to which float64 is exact.
_INT64_END: Final = 2**63
_EXACT_IN_FLOAT64: Final = 2**53

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class _NotSo(ValueError):
    """A value does not fit its column; the message describes it."""


class JsonTable(Table):
    """A file of JSON lines."""

    def __init__(self, path: Path, na_values: Sequence[str] = ()) -> None:
        """Read the objects to find their keys. Raises UnreadableFile.

        Args:
            na_values: see ``ReadingOptions``.
        """
        self._path = path
        self._na_texts = frozenset(text.strip() for text in na_values)
        self._na_numbers = frozenset(
            number for text in na_values if (number := _number_of(text)) is not None
        )
        self.name = str(path)
        self._is_gzip = path.suffix.lower() == ".gz"
        blocks = self._blocks()
        lines = next(blocks, [])
        objects = _parse_objects(lines)
        if not objects or not any(objects):
            raise UnreadableFile(
                f"{self.name}: none of its first lines is a JSON object with a value; write one "
                'object per line, such as {"x": 1.5}'
            )
        self._line_bytes = max(1, sum(map(len, lines)) // len(lines))
        self._found: dict[str, ColumnKind] = {}
        self._types: dict[str, pa.DataType] = {}
        #: The columns whose values are mostly lists, also of one number.
        self._of_lists: set[str] = set()
        #: The columns with a text.
        self._with_texts: set[str] = set()
        self._learn_columns(objects)
        # A key, or its first value, may be in any line of a file without a header.
        for later in blocks:
            self._learn_columns(_parse_objects(later))
        self.columns = tuple(self._found)

    def _learn_columns(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Find the kinds of columns without a known value from these rows."""
        self._with_texts.update(
            name for each in objects for name, value in each.items() if isinstance(value, str)
        )
        for name in dict.fromkeys(name for each in objects for name in each):
            if self._found.get(name, NO_VALUES) == NO_VALUES:
                values = [each.get(name) for each in objects]
                self._types[name] = _type(values)
                if self._na_texts:
                    values = [self._without_missing(value) for value in values]
                self._found[name] = _kind(values)
                if sum(map(_is_vector, values)) > sum(map(_is_number, values)):
                    self._of_lists.add(name)

    def _without_missing(self, value: Any) -> Any:
        """Return the value, or None for a value of ``na_values``."""
        if isinstance(value, list):
            return [self._without_missing(each) for each in value]
        if isinstance(value, str):
            return None if value.strip() in self._na_texts else value
        is_missing = isinstance(value, int | float) and value in self._na_numbers
        return None if is_missing and not isinstance(value, bool) else value

    @property
    def estimated_rows(self) -> int | None:
        """Estimate by the length of the first lines; None for compressed files."""
        return None if self._is_gzip else round(self._path.stat().st_size / self._line_bytes)

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return self._found

    def _has_vector(self, column: str, width: int) -> bool:
        objects = (each for lines in self._blocks() for each in _parse_objects(lines))
        return any(
            isinstance(value := each.get(column), list) and len(value) == width for each in objects
        )

    def column_types(self, keep: Sequence[str]) -> Mapping[str, pa.DataType]:
        """Return the types; other objects and lists are kept as JSON text."""
        # For a category any text counts, also one that marks missing numbers.
        texts = self._categories & self._with_texts
        return {name: pa.string() if name in texts else self._types[name] for name in keep}

    def spell(self, column: CategoryColumn, value: Any) -> str:
        plain = value.item() if isinstance(value, np.generic) else value
        # Among texts, a number is a text.
        is_missing = isinstance(plain, str) and _number_of(plain) in self._na_numbers
        if is_missing or self._without_missing(plain) is None:
            return ""
        return super().spell(column, value)

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        widths = {column: self._width(column, self._found[column]) for column in columns}
        numbers = {
            name: pa.list_(pa.float64()) if width > 1 or name in self._of_lists else pa.float64()
            for name, width in widths.items()
        }
        # pyarrow has no type for numbers or booleans.
        strict = numbers | {
            name: pa.bool_() for name in columns if pt.is_boolean(self._types[name])
        }
        kept_types = self.column_types(keep)
        # A feature that is also kept is parsed with both types.
        apart = not set(columns).isdisjoint(keep)
        beside = {} if apart else kept_types
        one_value = dict.fromkeys(self._categories.intersection(keep), _require_one_value)
        row = 0
        for lines in self._blocks():
            begins, row = row, row + len(lines)
            if row <= start:
                continue
            given = lines[max(0, start - begins) :]
            faults: dict[int, Fault] = {}
            types = {**numbers, **beside}
            batch = _parse_block(given, {**strict, **beside})
            if batch is None:
                clean = dict.fromkeys(numbers, self._without_missing) if self._na_texts else {}
                batch = _parse_each(given, types, faults, clean if apart else clean | one_value)
            points = read_points(batch, widths, pa.float64(), faults)
            if self._na_numbers:
                points = np.where(np.isin(points, list(self._na_numbers)), np.nan, points)
            kept = batch
            if apart:
                kept = _parse_block(given, kept_types) or _parse_each(
                    given, kept_types, faults, one_value
                )
            yield Chunk(points, keep_columns(kept, kept_types, faults), faults)

    def place(self, row: int) -> str:
        with self._open() as file:
            numbers = (number for number, line in enumerate(file, start=1) if line.strip())
            for count, number in enumerate(numbers, start=1):
                if count == row:
                    return f"row {row} (line {number})"
        return f"row {row}"

    def _blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines that are not blank, in blocks of bytes. Raises UnreadableFile."""
        with self._open() as file:
            is_first = True
            while lines := file.readlines(_BLOCK_BYTES):
                if is_first:
                    lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
                    is_first = False
                if filled := [line for line in lines if line.strip()]:
                    yield filled

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with self._path.open("rb") as raw:
                yield gzip.GzipFile(fileobj=raw) if self._is_gzip else raw
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnreadableFile(f"{self.name}: cannot be read: {reason}") from None


def _parse_line(line: bytes) -> Any:
    """Parse a line; return None if it is not JSON, which differs from every object."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parse_objects(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    return [each for line in lines if isinstance(each := _parse_line(line), dict)]


def _parse_block(lines: Sequence[bytes], types: Mapping[str, pa.DataType]) -> pa.RecordBatch | None:
    """Parse lines with pyarrow; return None if a line has unexpected values."""
    content = b"".join(lines)
    try:
        table = pajson.read_json(
            io.BytesIO(content),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(content) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=pa.schema(types), unexpected_field_behavior="ignore"
            ),
        )
        table.validate(full=True)
    except pa.ArrowException:
        return None
    # pyarrow treats two objects on a line as two rows.
    if len(table) != len(lines):
        return None
    return table.combine_chunks().to_batches()[0]


def _parse_each(
    lines: Sequence[bytes],
    types: Mapping[str, pa.DataType],
    faults: dict[int, Fault],
    clean: Mapping[str, Callable[[Any], Any]] = MappingProxyType({}),
) -> pa.RecordBatch:
    """Parse lines one by one; an unexpected value becomes null and a fault of its row.

    ``clean`` has for each column a function that is first applied to its values.
    """
    cells: dict[str, list[Any]] = {name: [None] * len(lines) for name in types}
    for row, line in enumerate(lines):
        found = _parse_line(line)
        if not isinstance(found, dict):
            text = line.strip()[:60].decode(errors="replace")
            faults[row] = Fault("", f"{text!r} is not a JSON object; write one object per line")
            continue
        for name, kind in types.items():
            try:
                value = found.get(name)
                cells[name][row] = _convert(clean[name](value) if name in clean else value, kind)
            except _NotSo as error:
                faults.setdefault(row, Fault(name, str(error)))
    return pa.record_batch(
        [pa.array(cells[name], kind) for name, kind in types.items()], schema=pa.schema(types)
    )


def _convert(value: Any, kind: pa.DataType) -> Any:
    """Convert a value to its type, None if missing. Raises _NotSo."""
    if value is None or pt.is_string(kind):
        return value if value is None or isinstance(value, str) else json.dumps(value)
    if _is_missing(value):
        return None
    if pt.is_list(kind):
        if not isinstance(value, list):
            raise _NotSo(f"{_shorten(value)} is not a list of numbers; write a missing one as null")
        return [_to_float(each) for each in value]
    if pt.is_floating(kind):
        return _to_float(value)
    is_whole = isinstance(value, int) and abs(value) < _INT64_END
    if not is_whole or isinstance(value, bool) != pt.is_boolean(kind):
        holds = "a boolean" if pt.is_boolean(kind) else "a whole number"
        raise _NotSo(f"{_shorten(value)} is not {holds}, unlike the first values of the column")
    return value


def _require_one_value(value: Any) -> Any:
    """Check the value of a category, None if missing. Raises _NotSo."""
    if isinstance(value, list | dict) and value != []:
        raise _NotSo(
            f"{_shorten(value)} is not a category value; write one text, number or boolean"
        )
    return value if isinstance(value, str) or not _is_missing(value) else None


def _to_float(value: Any) -> float | None:
    if _is_missing(value):
        return None
    if not _is_number(value):
        raise _NotSo(f"{_shorten(value)} is not a number; write a missing value as null")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _number_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shorten(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() in MISSING_TEXTS
    return value is None or value == [] or value != value  # noqa: PLR0124 (NaN alone differs)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(each) or _is_missing(each) for each in value)


def _is_number(value: Any) -> bool:
    """Whether a value is a number or a boolean, which is 0 or 1."""
    return isinstance(value, int | float)


def _kind(values: Sequence[Any]) -> ColumnKind:
    """Return the kind of a column from all these values."""
    present = [value for value in values if not _is_missing(value)]
    if not present:
        return NO_VALUES
    numbers = sum(map(_is_number, present))
    lengths = Counter(len(value) for value in present if _is_vector(value))
    if numbers + lengths.total() < MOSTLY * len(present):
        others = [value for value in present if not _is_number(value) and not _is_vector(value)]
        # The smallest value, which does not depend on the order of the rows.
        texts = [value for value in others if isinstance(value, str)]
        return ColumnKind(
            False, f"text ({min(texts)[:40]!r})" if texts else min(map(_shorten, others))
        )
    if numbers >= lengths.total():
        return NUMBERS
    return usual_vectors(lengths)


def _type(values: Sequence[Any]) -> pa.DataType:
    """Return the type of a kept column from all these values, without loss of digits."""
    present = [value for value in values if not _is_missing(value)]
    if not present:
        return pa.string()
    if all(isinstance(value, bool) for value in present):
        return pa.bool_()
    if all(map(_is_number, present)):
        largest = max((abs(value) for value in present if isinstance(value, int)), default=0)
        is_whole = all(isinstance(value, int) and not isinstance(value, bool) for value in present)
        if is_whole and largest < _INT64_END:
            return pa.int64()
        return pa.float64() if largest <= _EXACT_IN_FLOAT64 else pa.string()
    return pa.list_(pa.float64()) if all(map(_is_vector, present)) else pa.string()
