"""Convert cells of text to numbers: numbers, missing values, and the kinds of columns."""

import re
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .columns import BLANKS, MISSING_TEXTS, MOSTLY, NO_VALUES, NUMBERS, ColumnKind
from .csv_numbers import describe_other_marks, look_like_vectors, number_pattern
from .reading_options import ReadingOptions
from .table import Block

BOOLEANS: Final = ColumnKind(True, "booleans")

TRUE_TEXTS: Final = ("true", "True", "TRUE")
FALSE_TEXTS: Final = ("false", "False", "FALSE")

#: The values of a column of booleans, which may also contain 1 and 0.
BOOLEAN_TRUES: Final = (*TRUE_TEXTS, "1")
BOOLEAN_FALSES: Final = (*FALSE_TEXTS, "0")


class CellReader:
    """Reads cells by the reading options. ``missing`` are the texts of missing values."""

    def __init__(self, options: ReadingOptions) -> None:
        self._options = options
        self._missing_texts = tuple(text.strip(BLANKS) for text in options.na_values)
        self.missing = (*MISSING_TEXTS, *self._missing_texts)
        self._number = number_pattern(options)
        self._number_text = re.compile(self._number)
        self._is_missing = _any_of(self.missing)
        found = [self._read(text) for text in options.na_values if self._number_text.match(text)]
        self._missing_numbers = np.array(found, np.float64)

    def parse(self, cells: "pa.Array[Any]", kind: ColumnKind) -> tuple[Block, NDArray[np.int64]]:
        """Return the numbers of binary cells of a column of this kind, NaN if missing.

        Return also the indices of cells that are neither numbers nor missing.
        """
        if kind == BOOLEANS:
            is_true, is_false = (
                pc.match_substring_regex(cells, _any_of(texts))
                for texts in (BOOLEAN_TRUES, BOOLEAN_FALSES)
            )
            is_value = pc.or_(is_true, is_false)
            found = pc.if_else(is_value, is_true, pa.scalar(None, pa.bool_()))
            numbers: Block = _to_numpy(found.cast(pa.float64()))
        else:
            is_value = pc.match_substring_regex(cells, self._number)
            texts: Any = pc.if_else(is_value, cells, pa.scalar(None, cells.type)).cast(pa.string())
            texts = pc.ascii_trim(texts, BLANKS)
            if self._options.thousands is not None:
                texts = pc.replace_substring(texts, self._options.thousands, "")
            if self._options.decimal != ".":
                texts = pc.replace_substring(texts, self._options.decimal, ".")
            numbers = self.without_missing(_to_numpy(texts.cast(pa.float64())))
            if np.isinf(numbers).any():
                is_too_large = pc.and_(
                    pa.array(np.isinf(numbers)), pc.match_substring_regex(cells, "[0-9]")
                )
                is_value = pc.and_not(is_value, is_too_large)
                numbers = np.where(_to_numpy(is_too_large), np.nan, numbers)
        bad = pc.invert(pc.or_(is_value, self.find_missing(cells)))
        return numbers, np.flatnonzero(_to_numpy(bad))

    def without_missing(self, numbers: Block) -> Block:
        """Replace numbers that mark missing values by NaN."""
        if not len(self._missing_numbers):
            return numbers
        return np.where(np.isin(numbers, self._missing_numbers), np.nan, numbers)

    def find_missing(self, cells: "pa.Array[Any]") -> "pa.Array[Any]":
        """Return whether each of these binary cells is a missing value."""
        found: pa.Array[Any] = pc.match_substring_regex(cells, self._is_missing)
        return found

    def kind(self, cells: "pa.Array[Any]") -> ColumnKind:
        """Return the kind of a column from its cells; it does not depend on their order."""
        present = cells.filter(pc.invert(self.find_missing(cells)))
        if not len(present):
            return NO_VALUES
        # A number outside the range is a number too.
        is_number: Any = pc.match_substring_regex(present, self._number)
        numbers = is_number.true_count
        booleans = len(present) - len(self.parse(present, BOOLEANS)[1])
        if max(numbers, booleans) >= MOSTLY * len(present):
            return NUMBERS if numbers >= booleans else BOOLEANS
        return self._text_kind(present, present.filter(pc.invert(is_number)))

    def are_numbers(self, cells: "pa.Array[Any]") -> bool | None:
        """Whether all cells that are not missing are numbers; None if all are missing.

        Digits after a leading 0, such as 007, are a code, not a number.
        """
        present = cells.filter(pc.invert(self.find_missing(cells)))
        if not len(present):
            return None
        is_number: Any = pc.match_substring_regex(present, self._number)
        is_code: Any = pc.match_substring_regex(present, "^[ \\t]*[+-]?0[0-9]")
        return bool(is_number.true_count == len(present) and not is_code.true_count)

    def kind_without_numbers(self, cells: "pa.Array[Any]") -> ColumnKind | None:
        """Return the kind of text if no cell is a number or a boolean; else None."""
        present = cells.filter(pc.invert(self.find_missing(cells)))
        if not len(present):
            return None
        kinds = (NUMBERS, BOOLEANS)
        if any(len(self.parse(present, kind)[1]) < len(present) for kind in kinds):
            return None
        return self._text_kind(present, present[:1])

    def other_marks(self, cells: "pa.Array[Any]", cell: bytes) -> str:
        """Return the options with which a cell and most of its column are numbers, or ""."""
        return describe_other_marks(cells, self._options, cell)

    def _text_kind(self, present: "pa.Array[Any]", texts: "pa.Array[Any]") -> ColumnKind:
        """Return the kind of a column of text with these values, some of which are not numbers."""
        # The smallest value, which does not depend on the order of the rows.
        least: bytes = pc.min(texts).as_py()
        if look_like_vectors(present):
            hint = "it looks like vectors; use Parquet or JSON lines for these"
        else:
            hint = describe_other_marks(present, self._options)
        shown = show_cell(least, 40)
        return ColumnKind(False, f"text ({shown}; {hint})" if hint else f"text ({shown})")

    def is_number(self, text: str) -> bool:
        """Whether a cell is a number, and not a missing value."""
        return bool(self._number_text.match(text)) and text.strip(BLANKS) not in self.missing

    def is_value(self, text: str) -> bool:
        """Whether a cell is a number or a boolean."""
        return self.is_number(text) or text.strip(BLANKS) in (*TRUE_TEXTS, *FALSE_TEXTS)

    def is_missing(self, text: str) -> bool:
        return text.strip(BLANKS) in self.missing

    def plain_text(self, text: str) -> str:
        """Return the text of a cell of a category; for a number without blanks, in Python's format.

        It is empty if the options name the cell as missing; other texts for missing values are
        values.
        """
        stripped = text.strip(BLANKS)
        if stripped in self._missing_texts:
            return ""
        if not self._number_text.match(text):
            return text
        plain = self._unmark(text)
        return "" if float(plain) in self._missing_numbers else plain

    def _read(self, text: str) -> float:
        return float(self._unmark(text))

    def _unmark(self, text: str) -> str:
        plain = text.strip(BLANKS).replace(self._options.thousands or "\0", "")
        return plain.replace(self._options.decimal, ".")


def show_cell(cell: bytes, length: int) -> str:
    """Return the first ``length`` characters, quoted; as bytes (b'...') if they are not UTF-8."""
    try:
        return repr(cell.decode()[:length])
    except UnicodeDecodeError:
        return f"{cell[:length]!r}, which is not UTF-8"


def _any_of(texts: tuple[str, ...]) -> str:
    return rf"^[ \t]*(?:{'|'.join(map(re.escape, texts))})[ \t]*$"


def _to_numpy(array: Any) -> NDArray[Any]:
    found: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return found
