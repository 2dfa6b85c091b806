"""The rows of a fit of a model that encodes the columns of tables.

Missing numbers can be replaced, and texts can be categories. The encoding does not depend on the
order of the rows and files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from export.feature_names import shorten_names
from kmeans_module.column_fitting import STATISTICS, Impute, Unknown, find_fill
from kmeans_module.columns import (
    MOST_CATEGORY_VALUES,
    CategoryColumn,
    Column,
    NumberColumn,
    VectorColumn,
)

from .columns import expand_columns
from .errors import ColumnMismatch, NoRows
from .float32_rounding import Float32Rounding
from .messages import format_count
from .raw_rows import CategoryCells, RawRows, encode_values
from .table import Table
from .training_rows import (
    TrainingRows,
    check_finite,
    lay_out_columns,
    read_weights,
)

if TYPE_CHECKING:
    pass

Values = NDArray[np.float32] | CategoryCells

#: A category with many values, more than this share of its rows, counts as an id.
_MOST_VALUES_OF_ROWS: Final = 0.5
_LEAST_VALUES_OF_ID: Final = 20


@dataclass(frozen=True)
class Encoding:
    """The options for encoding columns as features.

    Attributes:
        categories: the category columns.
        impute: the replacement of missing numbers.
        unknown: the encoding of a category value that is missing or was not in the fit.
    """

    categories: tuple[str, ...] = ()
    impute: Impute = None
    unknown: Unknown = "zeros"


@dataclass(frozen=True)
class EncodedRows(TrainingRows):
    """Rows of a fit, and the columns from which they were encoded.

    Attributes:
        takes: the columns of the model.
        values: the values of these columns in the rows of the fit.
        imputed: the number of replaced missing numbers of each column that has some.
        impute: the requested replacement.
    """

    takes: tuple[Column, ...] = ()
    values: tuple[Values, ...] = ()
    imputed: Mapping[str, int] = field(default_factory=dict)
    impute: Impute = None

    @property
    def widths(self) -> Sequence[tuple[str, int]]:
        return [(column.name, len(column.feature_names)) for column in self.takes]

    def keep(self, is_kept: NDArray[np.bool_]) -> Self:
        return replace(super().keep(is_kept), values=tuple(each[is_kept] for each in self.values))

    def table(self) -> "dict[str, Any]":
        """Return the columns by name, for ``publish_fit``."""
        return {
            column.name: each.to_arrow() if isinstance(each, CategoryCells) else each
            for column, each in zip(self.takes, self.values, strict=True)
        }

    def notes(self) -> list[str]:
        lines = describe_encoding(self.takes, self.rows_read, self.imputed, self.impute)
        return super().notes() + lines


def describe_encoding(
    takes: Sequence[Column], rows_read: int, imputed: Mapping[str, int], impute: Impute
) -> list[str]:
    """Return notes for the user about the encoding of columns, after reading ``rows_read`` rows."""
    lines = []
    if imputed:
        fills = {each.name: each.fill for each in takes if isinstance(each, NumberColumn)}
        counts = shorten_names(
            [f"{name}: {count} by {fills[name]:g}" for name, count in imputed.items()]
        )
        by = f" by the {impute} of the column" if impute in STATISTICS else ""
        lines.append(f"imputed missing numbers{by} ({counts})")
    for column in takes:
        if isinstance(column, CategoryColumn) and _is_id(column, rows_read):
            lines.append(
                f"warning: the category {column.name!r} has {len(column.values):,} values in "
                f"{format_count(rows_read, 'row')}: if it is an id, leave it out of --categories, "
                "because it makes nearly all rows equally far apart"
            )
    return lines


def recode(
    name: str, codes: dict[str, int], given: CategoryCells, rows_read: int
) -> NDArray[np.int32]:
    """Convert the codes of a chunk to the codes of all rows in ``codes``, to which new values are
    added.

    Raises ColumnMismatch if there are too many values.
    """
    known = [codes.setdefault(text, len(codes)) for text in given.values]
    require_few_values(name, len(codes), rows_read)
    return np.array([*known, -1], np.int32)[given.codes]


def require_few_values(name: str, values: int, rows_read: int) -> None:
    """Check the number of values of a category against the limit. Raises ColumnMismatch."""
    if values > MOST_CATEGORY_VALUES:
        raise ColumnMismatch(
            f"--categories {name}: has more than {MOST_CATEGORY_VALUES:,} values in its first "
            f"{format_count(rows_read, 'row')}, and each is a feature; leave it out, or merge "
            "values"
        )


def read_encoded_rows(
    tables: Sequence[Table],
    columns: Sequence[str],
    encoding: Encoding,
    *,
    weight_column: str | None = None,
    skip_zero_rows: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> EncodedRows:
    """Read columns of all tables, fit their encoding, and encode them.

    Rows without a weight or a vector, or with a missing number without a replacement, are omitted
    and counted. The arguments are those of ``read_training_rows``.

    Raises:
        ColumnMismatch: a category has too many values; and the errors of ``read_training_rows``.
    """
    names = ", ".join(table.name for table in tables)
    draft, features = _draft_columns(tables, columns, encoding)
    reading = _Reading(draft, features, encoding)
    weights: list[NDArray[np.float64]] = []
    for table in tables:
        if weight_column is not None:
            weights.append(read_weights(table, weight_column))
        rows = RawRows(table, draft)
        before = 0
        for chunk in rows.chunks():
            rows.table.require_no_fault(chunk, before)
            check_finite(rows.table, features, chunk.points, before)
            reading.add(chunk.points, rows.values(chunk))
            before += len(chunk.points)
            if on_rows is not None:
                on_rows(len(chunk.points))
    if not reading.rows_read:
        raise NoRows(f"{names}: has a header and no rows; give at least one row")
    weight = np.concatenate(weights) if weights else None
    found = reading.finish(names, weight, weight_column)
    return found.without_zero_rows(names) if skip_zero_rows else found


class _Reading:
    """The values of columns from chunks, and the fitted encoding."""

    def __init__(
        self, columns: Sequence[Column], features: Sequence[str], encoding: Encoding
    ) -> None:
        self._columns, self._features, self._encoding = columns, features, encoding
        self._parts: list[list[NDArray[Any]]] = [[] for _ in columns]
        self._codes: list[dict[str, int]] = [{} for _ in columns]
        self._rounding = Float32Rounding(len(features))
        self.rows_read = 0

    def add(self, points: NDArray[np.floating[Any]], values: Sequence[Values]) -> None:
        """Add the rows of a chunk. Raises ColumnMismatch."""
        self.rows_read += len(points)
        if points.dtype != np.float32:
            self._rounding.round(points[~np.isnan(points).any(axis=1)])
        for place, given in enumerate(values):
            if isinstance(given, CategoryCells):
                codes = self._codes[place]
                name = self._columns[place].name
                self._parts[place].append(recode(name, codes, given, self.rows_read))
            else:
                self._parts[place].append(np.ascontiguousarray(given))

    def finish(
        self, names: str, weights: NDArray[np.float64] | None, weight_column: str | None
    ) -> EncodedRows:
        """Return all rows, encoded. Raises NoRows, ColumnMismatch."""
        values: list[Values] = []
        columns: list[Column] = []
        missing, imputed = dict[str, int](), dict[str, int]()
        is_complete = np.ones(self.rows_read, bool)
        for place in range(len(self._columns)):
            column, given, absent = self._fit(place, names)
            columns.append(column)
            values.append(given)
            has_fill = isinstance(column, NumberColumn) and column.fill is not None
            if not has_fill:
                is_complete &= ~absent
            if count := int(np.count_nonzero(absent)):
                (imputed if has_fill else missing)[column.name] = count
        if weights is not None and weight_column is not None:
            lacks_weight = np.isnan(weights)
            is_complete &= ~lacks_weight
            if lacks_weight.any():
                missing[weight_column] = int(np.count_nonzero(lacks_weight))
        _require_rows(names, is_complete, weights, missing)
        if not is_complete.all():
            values = [each[is_complete] for each in values]
            weights = None if weights is None else weights[is_complete]
        lost = np.array(self._features, object)[self._rounding.has_lost_digits()]
        return EncodedRows(
            columns=tuple(name for each in columns for name in each.feature_names),
            points=encode_values(columns, values),
            rows_read=self.rows_read,
            missing=missing,
            rounded=tuple(lost),
            weights=weights,
            weight_column=weight_column,
            takes=tuple(columns),
            values=tuple(values),
            imputed=imputed,
            impute=self._encoding.impute,
        )

    def _fit(self, place: int, names: str) -> tuple[Column, Values, NDArray[np.bool_]]:
        """Return a fitted column, its values, and a mask of the rows with a value. Raises
        ColumnMismatch.
        """
        column, encoding = self._columns[place], self._encoding
        whole = np.concatenate(self._parts[place])
        self._parts[place].clear()
        if isinstance(column, CategoryColumn):
            found, cells = _fit_category(names, column, whole, self._codes[place])
            return found, cells, np.zeros(len(whole), bool)
        absent: NDArray[np.bool_] = np.isnan(whole).reshape(len(whole), -1).any(axis=1)
        if absent.all():
            raise ColumnMismatch(
                f"{names}: column {column.name!r} holds no value; leave it out with --exclude"
            )
        if isinstance(column, NumberColumn):
            column = NumberColumn(column.name, find_fill(whole, encoding.impute))
        return column, whole, absent


def _require_rows(
    names: str,
    is_complete: NDArray[np.bool_],
    weights: NDArray[np.float64] | None,
    missing: Mapping[str, int],
) -> None:
    """Check that a row of positive weight remains. Raises NoRows."""
    if not is_complete.any():
        lacking = shorten_names([f"{name!r} lacks {count}" for name, count in missing.items()])
        raise NoRows(
            f"{names}: each of the {len(is_complete)} rows has a missing value ({lacking}); give "
            "--impute for numbers, or choose other columns with --columns or --exclude"
        )
    if weights is not None and not weights[is_complete].any():
        raise NoRows(
            f"{names}: no row that is left has a weight above 0 in its column; give at least one"
        )


def _draft_columns(
    tables: Sequence[Table], columns: Sequence[str], encoding: Encoding
) -> tuple[list[Column], tuple[str, ...]]:
    """Return the columns without fitted values, and the features of numbers and vectors.

    Raises ColumnMismatch.
    """
    numbers = [name for name in columns if name not in encoding.categories]
    widths = lay_out_columns(tables, numbers)[0] if numbers else {}
    draft: list[Column] = []
    for name in columns:
        if name in encoding.categories:
            draft.append(CategoryColumn(name, (), encoding.unknown == "category"))
        elif widths[name] > 1:
            draft.append(VectorColumn(name, widths[name]))
        else:
            draft.append(NumberColumn(name))
    return draft, expand_columns(widths)


def _fit_category(
    names: str, column: CategoryColumn, codes: NDArray[np.int32], known: Mapping[str, int]
) -> tuple[CategoryColumn, CategoryCells]:
    """Return the category with sorted values, and its rows. Raises ColumnMismatch."""
    if not known:
        raise ColumnMismatch(
            f"{names}: column {column.name!r} holds no value; leave it out of --categories"
        )
    values = tuple(sorted(known))
    order = np.array([*(values.index(text) for text in known), -1], np.int32)
    return replace(column, values=values), CategoryCells(order[codes], values)


def _is_id(column: CategoryColumn, rows: int) -> bool:
    count = len(column.values)
    return count >= _LEAST_VALUES_OF_ID and count > _MOST_VALUES_OF_ROWS * rows
