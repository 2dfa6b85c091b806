"""Select the features of a fit among the columns of tables, for any order of the rows.

Columns of numbers are features. Other columns, the index of a data frame, and row counters (numbers
of rows in a file) are omitted. A column with the name of an id remains a feature, and a note names
it: only the user knows its meaning.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from export.feature_names import group_vectors, shorten_names
from kmeans_module.columns import MOST_CATEGORY_VALUES
from kmeans_module.near_names import find_near_name

from .columns import (
    NO_VALUES,
    ColumnKind,
    expand_columns,
    require_columns,
    require_header,
    require_numbers,
)
from .errors import ColumnMismatch, NoRows
from .messages import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .table import Table

#: The names of pandas for an unnamed index, in Parquet and in CSV.
_INDEX_NAME: Final = re.compile(r"__index_level_\d+__|Unnamed: 0(\.\d+)*")

_INDEX: Final = ColumnKind(False, "the index of a data frame")

#: With fewer rows, consecutive numbers may be measurements, such as months or ranks.
_LEAST_ROWS_OF_COUNTER: Final = 100

#: The share of rows with a value, and the share of the numbers between minimum and maximum that
#: occur, of a row counter: many files lack some rows.
_LEAST_PART_OF_COUNTER: Final = 0.9

#: The words of a name such as ``customer_id``, ``userId``, ``USER-ID`` and ``ZIPCode``.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

#: Without the "s" of the plural.
_ID_WORDS: Final = frozenset(
    {"id", "uuid", "guid", "zip", "zipcode", "postcode", "postal", "postalcode", "phone"}
)


#: The beginnings of descriptions of text, by the kind of file.
_TEXT: Final = ("text", "string", "large_string")

#: A text column may be a category if each value is in at least this many rows on average.
_LEAST_ROWS_OF_VALUE: Final = 3


@dataclass(frozen=True)
class FeatureSelection:
    """The features of a fit.

    Attributes:
        widths: the number of features of each used column, in the order of the files.
        left_out: the descriptions of the other columns, except excluded ones.
        categories: the columns that the user named as categories.
        order: all used columns, in the order of the files.
        may_be_categories: the omitted columns of text with few values in the first rows.
        is_headerless: whether the names look like a row of numbers.
    """

    widths: Mapping[str, int]
    left_out: Mapping[str, str]
    is_headerless: bool = False
    categories: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    may_be_categories: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The used columns, in the order of the files."""
        return self.order or tuple(self.widths)

    def notes(self) -> list[str]:
        """Return notes for the user, one line each."""
        features = expand_columns(self.widths)
        # A vector counts as one column, also if the file has a column for each of its numbers.
        count = format_count(len(group_vectors(features)), "numeric column")
        lines = [f"features: {count} ({shorten_names(features)})"] if features else []
        if self.categories:
            kinds = "category" if len(self.categories) == 1 else "categories"
            names = shorten_names(self.categories)
            lines.append(f"features: {len(self.categories)} {kinds} ({names})")
        if self.left_out:
            others = shorten_names(
                [f"{name or '(unnamed)'}: {holds}" for name, holds in self.left_out.items()]
            )
            lines.append(f"left out {format_count(len(self.left_out), 'column')} ({others})")
        if self.may_be_categories:
            lines.append(
                f"--categories {','.join(self.may_be_categories)} would take "
                f"{format_count(len(self.may_be_categories), 'column')} of text as categories"
            )
        ids = [name for name, width in self.widths.items() if width == 1 and is_id_name(name)]
        if ids:
            lines.append(
                f"warning: these columns have names of ids: {shorten_names(ids)}; leave out ids "
                "with --exclude"
            )
        if self.is_headerless:
            lines.append("warning: the names of the columns are numbers; has the file no header?")
        return lines


def select_features(
    tables: Sequence["Table"], excluded: Sequence[str] = (), categories: Sequence[str] = ()
) -> FeatureSelection:
    """Select the features among the columns of tables that are not ``excluded``.

    ``categories`` are features with any values; each table must have them.

    Raises:
        ColumnMismatch: no feature remains; a table lacks a feature; a column has numbers in one
            table and other values in another; no table has an excluded column.
        NoRows: there is no value at all.
    """
    require_excluded(tables, excluded)
    for table in tables:
        require_header(table)
    kinds = _kinds(tables, [*excluded, *categories])
    if not categories and all(kind == NO_VALUES for kind in kinds.values()):
        files = ", ".join(table.name for table in tables)
        raise NoRows(f"{files}: has no row with a value; give at least one row of numbers")
    widths = {name: kind.width for name, kind in kinds.items() if kind.is_numeric}
    _require_everywhere(tables, list(widths))
    counters = _row_counters(tables, [name for name, width in widths.items() if width == 1])
    left_out = {name: kind.holds for name, kind in kinds.items() if not kind.is_numeric} | counters
    widths = {name: width for name, width in widths.items() if name not in counters}
    if not widths and not categories:
        held = "; ".join(f"{name!r} holds {holds}" for name, holds in left_out.items())
        raise ColumnMismatch(f"{tables[0].name}: no column holds numbers to cluster ({held})")
    first = tables[0]
    is_headerless = first.has_names and all(_is_number(name) for name in first.columns if name)
    used = {*widths, *categories}
    return FeatureSelection(
        widths,
        {name: left_out[name] for name in kinds if name in left_out},
        is_headerless,
        tuple(categories),
        tuple(dict.fromkeys(name for each in tables for name in each.columns if name in used)),
        _may_be_categories(tables, [name for name in left_out if name not in counters]),
    )


def require_categories(tables: Sequence["Table"], names: Sequence[str]) -> None:
    """Check that each table has each of the categories. Raises ColumnMismatch."""
    for table in tables:
        for name in names:
            if name not in table.columns:
                raise ColumnMismatch(
                    f"--categories {name}: not in {table.name}"
                    f" (columns: {shorten_names(table.columns)})"
                    f"{find_near_name(name, table.columns)}"
                )


def _may_be_categories(tables: Sequence["Table"], names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of text whose values occur often in the first rows."""
    found = []
    for name in names:
        table = next(each for each in tables if name in each.columns)
        holds = table.kinds()[name].holds
        if not name or table.columns.count(name) > 1:  # it cannot be named
            continue
        if not holds.startswith(_TEXT) or ";" in holds:  # it has another correction
            continue
        chunk = next(iter(table.chunks([], [name])), None)
        if chunk is None or chunk.kept is None:
            continue
        values = chunk.kept.column(name).drop_null()
        most = min(MOST_CATEGORY_VALUES, len(values) // _LEAST_ROWS_OF_VALUE)
        if 1 < len(values.unique()) <= most:
            found.append(name)
    return tuple(found)


def is_id_name(name: str) -> bool:
    """Whether a name is that of an id: one of its words is "id", "zip", "phone" or similar."""
    return any(word.lower().removesuffix("s") in _ID_WORDS for word in _WORD.findall(name))


def require_excluded(tables: Sequence["Table"], excluded: Sequence[str]) -> None:
    """Check that each excluded column is in one of the tables. Raises ColumnMismatch."""
    given = list(dict.fromkeys(name for table in tables for name in table.columns if name))
    there = set(given)
    for name in excluded:
        if name not in there:
            raise ColumnMismatch(
                f"--exclude {name}: not in {_file_names(tables)}"
                f" (columns: {shorten_names(given)}){find_near_name(name, given)}"
            )


def require_weight_column(tables: Sequence["Table"], name: str) -> None:
    """Check that each table has this column with one number per row. Raises ColumnMismatch."""
    for table in tables:
        require_columns(table, [name])
        kind = table.kinds()[name]
        if kind != NO_VALUES:
            require_numbers(table, name, kind)
        if kind.width > 1:
            raise ColumnMismatch(
                f"{table.name}: column {name!r} holds {kind.holds}, and a weight is one number"
            )


def _kinds(tables: Sequence["Table"], excluded: Sequence[str]) -> dict[str, ColumnKind]:
    """Return the kind of each column that is not excluded, from all tables in which it has a value.

    A column with numbers in one table and other values later is found when the rows are read.
    """
    names = dict.fromkeys(name for table in tables for name in table.columns)
    indexes = {name for table in tables for name in table.columns if _is_index(table, name)}
    without = set(excluded)
    kinds = {
        name: _INDEX if name in indexes else NO_VALUES for name in names if name not in without
    }
    origins: dict[str, Table] = {}
    for table in tables:
        pending = [
            name
            for name in dict.fromkeys(table.columns)
            if name in kinds and name not in indexes and not kinds[name].is_numeric
        ]
        found = table.kinds() if pending else {}
        for name in pending:
            if kinds[name] == NO_VALUES:
                kinds[name], origins[name] = found[name], table
            elif found[name].is_numeric:
                raise ColumnMismatch(
                    f"{table.name}: column {name!r} holds {found[name].holds}, and in "
                    f"{origins[name].name} {kinds[name].holds}; use one type, or leave the column "
                    "out with --exclude or --columns"
                )
    return kinds


def _is_index(table: "Table", name: str) -> bool:
    return name in table.index_columns or _INDEX_NAME.fullmatch(name) is not None


def _require_everywhere(tables: Sequence["Table"], names: Sequence[str]) -> None:
    """Check that each table has every feature. Raises ColumnMismatch."""
    for table in tables:
        there = set(table.columns)
        lacking = [name for name in names if name not in there]
        if lacking:
            other = next(each for each in tables if lacking[0] in each.columns)
            raise ColumnMismatch(
                f"{table.name}: no column {shorten_names(list(map(repr, lacking)))} (columns: "
                f"{shorten_names(table.columns)}); {other.name} has it; choose columns of all "
                "files with --columns, or leave it out with --exclude"
                f"{find_near_name(lacking[0], table.columns)}"
            )


def _row_counters(tables: Sequence["Table"], names: Sequence[str]) -> dict[str, str]:
    """Return the row counters, over all files or in each file, with their descriptions.

    Rows are read while a column can still be a row counter, in most files only the first chunk.
    """
    pending = _pending_counters(tables, names)
    #: By file.
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in pending}
    for table in tables:
        parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
        for chunk in table.chunks(pending) if values else ():
            for name, column in zip(pending, chunk.points.T, strict=True):
                if name in values and _may_count(column):
                    parts[name].append(column.astype(np.float64))
                else:
                    values.pop(name, None)
            if not values:
                break
        for name, of_file in values.items():
            of_file.append(np.concatenate([np.empty(0), *parts[name]]))
    found = {name: _describe_counter(files) for name, files in values.items()}
    return {name: said for name, said in found.items() if said is not None}


def _describe_counter(files: "Sequence[NDArray[np.float64]]") -> str | None:
    """Describe a row counter, given the integers in each file; None for other columns."""
    together = np.concatenate(files)
    for parts, where in (([together], ""), (files, " in each file")):
        if max(map(len, parts)) >= _LEAST_ROWS_OF_COUNTER and all(map(_is_counter, parts)):
            low, high = np.nanmin(together), np.nanmax(together)
            return f"a row counter, {low:,.0f} to {high:,.0f}{where}"
    return None


def _is_counter(values: "NDArray[np.float64]") -> bool:
    """Whether integers, with NaN for missing ones, are a, a + 1 ... with few gaps."""
    present = values[~np.isnan(values)]
    if not len(present) or len(present) < _LEAST_PART_OF_COUNTER * len(values):
        return not len(values)
    extent = present.max() - present.min() + 1
    return bool(len(present) >= _LEAST_PART_OF_COUNTER * extent) and _is_distinct(present)


def _pending_counters(tables: Sequence["Table"], names: Sequence[str]) -> list[str]:
    """Return the columns that can be row counters by their first rows."""
    if names:
        for table in tables:
            for chunk in table.chunks(names):
                if len(chunk.points):
                    columns = zip(names, chunk.points.T, strict=True)
                    return [name for name, column in columns if _may_count(column)]
    return []


def _may_count(column: "NDArray[np.floating[Any]]") -> bool:
    """Whether values can be those of a row counter: integers or missing, without repetition."""
    if not _is_whole(column[:1]):
        return False
    return _is_whole(column) and _is_distinct(column[~np.isnan(column)])


def _is_whole(values: "NDArray[np.floating[Any]]") -> bool:
    return bool((np.isnan(values) | (np.isfinite(values) & (values == np.floor(values)))).all())


def _is_distinct(values: "NDArray[np.floating[Any]]") -> bool:
    ordered = np.sort(values)
    return bool((ordered[1:] != ordered[:-1]).all())


def _file_names(tables: Sequence["Table"]) -> str:
    more = len(tables) - 1
    return tables[0].name + (f" and {format_count(more, 'other file')}" if more else "")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True
