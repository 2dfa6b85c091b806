"""The columns of tables: what they hold, what is missing, and which of them a model takes.

This is decided and put into words here, for every reader and every command; which are the features
of a fit, in ``feature_selection``. A reader says which ``ColumnKind`` each of its columns has.
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

#: The cells of a file of text that are missing values, with or without blanks round them: those
#: that pandas reads as missing, and two marks of public data sets. NaN and null are elsewhere.
MISSING_TEXTS: Final = (
    *("", "NA", "N/A", "n/a", "<NA>", "#NA", "#N/A", "#N/A N/A"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("NULL", "null", "None", "?", "-"),
)

#: A column of which so many values are numbers, booleans or vectors is taken for them.
MOSTLY: Final = 0.9

#: What is round a value in a cell of text, and no part of it.
BLANKS: Final = " \t"


@dataclass(frozen=True)
class ColumnKind:
    """What a column holds: numbers, something else, or (``is_numeric`` None) no values at all.

    ``holds`` says it in words, as in "text ('Adelie')" or "no values". ``width`` is how many
    numbers a value has: more than one is a vector.
    """

    is_numeric: bool | None
    holds: str
    width: int = 1


NUMBERS: Final = ColumnKind(True, "numbers")
NO_VALUES: Final = ColumnKind(None, "no values")
UNNAMED: Final = ColumnKind(False, "a column without a name")


def vectors(width: int) -> ColumnKind:
    """What a column of vectors of so many numbers holds."""
    return ColumnKind(True, f"vectors of {width} numbers", width) if width > 1 else NUMBERS


def usual_vectors(lengths: Mapping[int, int]) -> ColumnKind:
    """What a column of vectors holds, by how often each length is there; one at least is.

    Of two lengths alike often it is the larger: the first would depend on the order of the rows.
    """
    return vectors(max(lengths, key=lambda length: (lengths[length], length)))


def column_widths(tables: Sequence["Table"], columns: Sequence[str]) -> dict[str, int]:
    """How many numbers each of these columns gives, by the first table in which it has a value.

    Raises ColumnMismatch where a table lacks one, or two columns give features of one name.
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
                f"{tables[0].name}: the numbers of the vectors in {column!r} are called "
                f"{column}[0] to {column}[{width - 1}], and a column beside it has such a name; "
                "rename one of the two columns"
            )
    return ordered


def expand_columns(widths: Mapping[str, int]) -> tuple[str, ...]:
    """The names of the features that columns of these widths are, side by side."""
    return tuple(name for item in widths.items() for name in vector_features(*item))


def select_model_columns(table: "Table", feature_names: Sequence[str]) -> dict[str, int]:
    """The columns of ``table`` that the model takes, in its order, and the width of each.

    By name; features of a vector may also be columns of their own. A table without names of its own
    is also taken by place, when its width is the model's. Raises ColumnMismatch.
    """
    there = set(table.columns)
    if table.has_names:
        # A model of an earlier release may know a column by a name with the blanks round it.
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
        # A file has the features of a vector as one column of lists, or each as its own column.
        each = vector_features(column, width)
        is_flat = any(name in there for name in each)
        widths |= dict.fromkeys(each, 1) if is_flat else {column: width}
    require_columns(table, list(widths))
    return widths


def unused_columns_note(tables: Iterable["Table"], used: Iterable[str]) -> str | None:
    """What a user is told of the columns that are not used, each once; None when all are."""
    given = [column for table in tables if table.has_names for column in table.columns]
    taken = set(used)
    unused = [column for column in dict.fromkeys(given) if column not in taken]
    if not unused:
        return None
    return f"ignored {format_count(len(unused), 'column')}: {shorten_names(unused)}"


def require_columns(table: "Table", wanted: Sequence[str]) -> None:
    """Check that a table has every column that is wanted.

    Raises ColumnMismatch: names those that it lacks, and those that it has; or one that is there
    twice.
    """
    there = set(table.columns)
    lacking = [column for column in wanted if column not in there]
    if lacking:
        hint = find_near_name(lacking[0], table.columns)
        if table.looks_headerless:
            hint = "; has the file no header? give --no-header"
        raise ColumnMismatch(
            f"{table.name}: no column {shorten_names(list(map(repr, lacking)))}{hint} "
            f"(it has {shorten_names(table.columns)})"
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
    """Check that what a column holds, if anything, has so many numbers. Raises OtherWidth."""
    if kind.is_numeric and kind.width != width:
        raise OtherWidth(
            f"{table.name}: column {column!r} holds {kind.holds}, and {vectors(width).holds} are "
            "needed",
            column,
        )


def require_header(table: "Table") -> None:
    """Check that the names of the columns are none of its rows. Raises ColumnMismatch."""
    if table.looks_headerless:
        shown = ", ".join(table.columns[:4]) + (", ..." if len(table.columns) > 4 else "")
        raise ColumnMismatch(
            f"{table.name}: the first line ({shown}) looks like a row of values and not like the "
            "names of the columns; give --no-header, or, if they are names, choose with --columns"
        )


def require_numbers(table: "Table", column: str, kind: ColumnKind, width: int = 1) -> None:
    """Check that a column holds numbers, or no values at all. Raises ColumnMismatch.

    ``width`` is how many a value is to have: who needs vectors cannot leave the column out.
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
    """Numbers as a model takes them; one beyond float32 becomes infinity, so that it is bad."""
    # A damaged file may hold a NaN that signals.
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32, copy=False)
