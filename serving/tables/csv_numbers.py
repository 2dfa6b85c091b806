"""Recognise numbers in cells of text, and suggest options for other cells."""

import re
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from .reading_options import ReadingOptions

_COMMA: Final = (".", ",")

#: The tried pairs of decimal mark and thousands separator, the simplest first.
_MARKS: Final = (
    *((".", None), (",", None), _COMMA, (",", ".")),
    *((".", " "), (",", " "), (".", "'"), (",", "'")),
)

_WORDS: Final = {".": "point", ",": "comma", " ": "blank", "'": "quote"}

#: A pattern of numbers with any of these marks.
_MARKED: Final = re.compile(rb"[ \t]*[+-]?[0-9][0-9., ']*(?:[eE][+-]?[0-9]+)?[ \t]*")

#: Numbers in brackets, separated by commas or blanks, perhaps on several lines or abbreviated.
_NUMBERS: Final = r"[-+.0-9eEnaif,\s]*[0-9][-+.0-9eEnaif,\s]*"
_VECTOR: Final = rf"^\s*(?:array)?(?:\(?\[{_NUMBERS}\]\)?|\({_NUMBERS}\))\s*$"

#: The number of examined cells.
_SAMPLE: Final = 1000


def number_pattern(options: ReadingOptions) -> str:
    """Return the pattern of numbers of pyarrow's CSV reader, with the marks of the options."""
    whole = "[0-9]+"
    if options.thousands is not None:
        # Also lakhs, such as 12,34,567.
        mark = re.escape(options.thousands)
        whole = f"(?:[0-9]{{1,3}}(?:{mark}[0-9]{{2,3}})*{mark}[0-9]{{3}}|[0-9]+)"
    point = re.escape(options.decimal)
    return (
        rf"^[ \t]*[+-]?(?:(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
        r"|(?:[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN]))[ \t]*$"
    )


def describe_other_marks(
    cells: "pa.Array[Any]", options: ReadingOptions, cell: bytes | None = None
) -> str:
    """Return the options that make most of these binary cells numbers; "" if there are none.

    Args:
        cells: the cells of a column, of which the first are examined; a missing value is not a
            number.
        options: the options with which too few cells are numbers.
        cell: a cell that must become a number too.
    """
    if cell is not None and not _MARKED.fullmatch(cell):
        return ""
    sample = cells[:_SAMPLE]
    best = max(len(sample) // 2, _count_numbers(sample, options))
    # A comma may be either mark; a number with thousands does not begin with 0.
    found: list[ReadingOptions] = []
    for decimal, thousands in _MARKS:
        other = replace(options, decimal=decimal, thousands=thousands)
        if cell is not None and not re.match(number_pattern(other).encode(), cell):
            continue
        count = _count_numbers(sample, other)
        if count > best:
            found, best = [other], count
        elif count == best and found and found[0].decimal == "," and (decimal, thousands) == _COMMA:
            found += [other] * (not _begin_with_zero(sample))
    return "; ".join(
        f"numbers with {_describe_marks(other)}? {_describe_mend(other, options)}"
        for other in found
    )


def look_like_vectors(cells: "pa.Array[Any]") -> bool:
    """Whether most of these binary cells are numbers in brackets, like printed arrays and lists."""
    sample = cells[:_SAMPLE]
    return 2 * _count_matches(sample, _VECTOR) > len(sample)


def _count_numbers(cells: "pa.Array[Any]", options: ReadingOptions) -> int:
    return _count_matches(cells, number_pattern(options))


def _count_matches(cells: "pa.Array[Any]", pattern: str) -> int:
    found: Any = pc.match_substring_regex(cells, pattern)
    return int(found.true_count)


def _begin_with_zero(cells: "pa.Array[Any]") -> bool:
    return _count_matches(cells, r"^[ \t]*[+-]?0,") > 0


def _describe_marks(options: ReadingOptions) -> str:
    words = [f"a decimal {_WORDS[options.decimal]}"] if options.decimal != "." else []
    if options.thousands is not None:
        words.append(f"a {_WORDS[options.thousands]} between thousands")
    return " and ".join(words) or "a decimal point"


def _describe_mend(wanted: ReadingOptions, given: ReadingOptions) -> str:
    give, leave_out = [], []
    for flag, mark, before, default in (
        ("--decimal", wanted.decimal, given.decimal, "."),
        ("--thousands", wanted.thousands, given.thousands, None),
    ):
        if mark == default != before:
            leave_out.append(flag)
        elif mark != before:
            give.append(f"{flag} {mark!r}")
    parts = [f"give {' '.join(give)}"] * bool(give)
    parts += [f"leave out {' and '.join(leave_out)}"] * bool(leave_out)
    return " and ".join(parts)
