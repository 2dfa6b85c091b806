"""The columns of tables: their kinds, missing values, and the columns of a model.

This module has the rules and messages for every reader and command; ``feature_selection`` selects
the features of a fit. A reader gives the ``ColumnKind`` of each of its columns.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.feature_names import group_vectors, shorten_names, vector_features
from kmeans_module.near_names import find_near_name

from .errors import ColumnMismatch, NoNumbers, OtherWidth
from .messages import format_count

if TYPE_CHECKING:
    from .table import Table

#: The cells of text files that are missing values, with or without surrounding blanks: those of
#: pandas, and two markers of public data sets. NaN and null are handled elsewhere.
MISSING_TEXTS: Final = (
    *("", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("NULL", "null", "None", "?", "-"),
)

#: The share of values that are numbers, booleans or vectors from which on a column has this kind.
MOSTLY: Final = 0.9

#: The characters around a value in a cell of text that are not part of it.
BLANKS: Final = " \t"


@dataclass(frozen=True)
class ColumnKind:
    """The kind of a column: numbers, other values, or no values (``is_numeric`` is None).

    ``holds`` describes it in words, such as "text ('Adelie')" or "no values". ``width`` is the
    number of numbers in a value; vectors have more than one.
    """

    is_numeric: bool | None
    holds: str
    width: int = 1


NUMBERS: Final = ColumnKind(True, "numbers")
NO_VALUES: Final = ColumnKind(None, "no values")
UNNAMED: Final = ColumnKind(False, "a column without a name")


def vectors(width: int) -> ColumnKind:
    """Return the kind of a column of vectors of this length."""
    return ColumnKind(True, f"vectors of {width} numbers", width) if width > 1 else NUMBERS


def usual_vectors(lengths: Mapping[int, int]) -> ColumnKind:
    """Return the kind of a column of vectors, from the frequencies of their lengths (at least one).

    On ties the larger length is used, which does not depend on the order of the rows.
    """
    return vectors(max(lengths, key=lambda length: (lengths[length], length)))


def column_widths(tables: Sequence["Table"], columns: Sequence[str]) -> dict[str, int]:
    """Return the width of each column, from the first table in which it has a value.

    Raises ColumnMismatch if a table lacks a column, or two features have the same name.
    """
    widths: dict[str, int] = {}
    for table in tables:
        require_columns(table, columns)
    for table in tables:
        kinds = table.kinds()
        found = {name: kinds[name].width for name in columns if kinds[name] != NO_VALUES}
        widths = found | widths
        if len(widths) == len(columns):
            break
    ordered = {name: widths.get(name, 1) for name in columns}
    names = expand_columns(ordered)
    groups = group_vectors(names)
    for column, width in ordered.items():
        if width > 1 and (len(set(names)) < len(names) or (column, width) not in groups):
            raise ColumnMismatch(
                f"{tables[0].name}: the features of the vectors in {column!r} are named "
                f"{column}[0] to {column}[{width - 1}], and another column has such a name; rename "
                "one of the two columns"
            )
    return ordered


def expand_columns(widths: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of the features of columns with these widths."""
    return tuple(name for item in widths.items() for name in vector_features(*item))


def select_model_columns(table: "Table", feature_names: Sequence[str]) -> dict[str, int]:
    """Return the columns of ``table`` that the model takes, in its order, with their widths.

    Columns are matched by name; features of a vector may also be separate columns. A table without
    names is matched by position if its width is that of the model. Raises ColumnMismatch.
    """
    there = set(table.columns)
    if table.has_names:
        # A model of an earlier release may have a column name with surrounding blanks.
        feature_names = [n if n in there else n.strip(BLANKS) for n in feature_names]
    if not table.has_names and not set(feature_names) <= there:
        if len(table.columns) != len(feature_names):
            raise ColumnMismatch(
                f"{table.name}: has {len(table.columns)} columns, and the model takes "
                f"{len(feature_names)}: {shorten_names(feature_names)}"
            )
        return dict.fromkeys(table.columns, 1)
    widths: dict[str, int] = {}
    for column, width in group_vectors(feature_names):
        # A file has the features of a vector in one column of lists, or in separate columns.
        each = vector_features(column, width)
        is_flat = any(name in there for name in each)
        widths |= dict.fromkeys(each, 1) if is_flat else {column: width}
    require_columns(table, list(widths))
    return widths


def unused_columns_note(tables: Iterable["Table"], used: Iterable[str]) -> str | None:
    """Return a note about unused columns, each named once; None if all are used."""
    given = [column for table in tables if table.has_names for column in table.columns]
    taken = set(used)
    unused = [column for column in dict.fromkeys(given) if column not in taken]
    if not unused:
        return None
    return f"ignored {format_count(len(unused), 'column')}: {shorten_names(unused)}"


def require_columns(table: "Table", wanted: Sequence[str]) -> None:
    """Check that a table has every column of ``wanted``.

    Raises ColumnMismatch, which names the missing and the present columns, or a repeated one.
    """
    there = set(table.columns)
    lacking = [column for column in wanted if column not in there]
    if lacking:
        hint = find_near_name(lacking[0], there - {*wanted})
        if table.looks_headerless:
            hint = "; has the file no header? give --no-header"
        raise ColumnMismatch(
            f"{table.name}: no column {shorten_names(list(map(repr, lacking)))} "
            f"(columns: {shorten_names(table.columns)}){hint}"
        )
    if len(there) < len(table.columns):
        counts = Counter(table.columns)
        for column in wanted:
            if column and counts[column] > 1:
                places = [str(n) for n, name in enumerate(table.columns, 1) if name == column]
                raise ColumnMismatch(
                    f"{table.name}: columns {' and '.join(places[:2])} are both named {column!r}; "
                    "rename one, or leave them out"
                )


def require_width(table: "Table", column: str, kind: ColumnKind, width: int) -> None:
    """Check the width of a column with values. Raises OtherWidth."""
    if kind.is_numeric and kind.width != width:
        raise OtherWidth(
            f"{table.name}: column {column!r} holds {kind.holds}, and {vectors(width).holds} are "
            "needed",
            column,
        )


def require_header(table: "Table") -> None:
    """Check that the column names are not a row of values. Raises ColumnMismatch."""
    if table.looks_headerless:
        shown = ", ".join(table.columns[:4]) + (", ..." if len(table.columns) > 4 else "")
        raise ColumnMismatch(
            f"{table.name}: the first line ({shown}) looks like a row of values and not like the "
            "names of the columns; give --no-header, or, if they are names, choose with --columns"
        )


def require_numbers(table: "Table", column: str, kind: ColumnKind, width: int = 1) -> None:
    """Check that a column has numbers, or no values. Raises ColumnMismatch.

    ``width`` is the required width; if vectors are required, the message does not suggest to omit
    the column.
    """
    if kind.is_numeric is False:
        mend = "leave it out, or write it as a number"
        if width > 1:
            mend = f"{vectors(width).holds} are needed; write it so"
        raise NoNumbers(
            f"{table.name}: column {column!r} holds {kind.holds}, not numbers; {mend}", column
        )


def is_missing(cell: str) -> bool:
    """Whether a cell of text is a missing value."""
    return cell.strip(BLANKS) in MISSING_TEXTS


def to_float32(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Convert numbers to float32; a number outside float32 becomes infinity, and so bad."""
    # A damaged file may contain a signalling NaN.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)
