"""The rows of a fit: columns of tables, without rows that have a missing value."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from export.feature_names import group_vectors, shorten_names

from .columns import NO_VALUES, column_widths, expand_columns, select_model_columns, to_float32
from .errors import BadCell, NoRows, OtherWidth
from .float32_rounding import Float32Rounding
from .messages import describe_not_finite, format_count
from .table import Block, Table

#: The most columns that a warning names.
_WARNED: Final = 10

#: The message if cosine distance leaves no row.
ONLY_ZEROS: Final = (
    "every row is of zeros, which have no direction for cosine distance; use euclidean distance"
)

#: Rows per rounded block.
_ROWS: Final = 2**16


class ClusteredRows(ABC):
    """The rows of a fit, in memory or not, and counts of the omitted rows.

    Attributes:
        columns: the names of the d features: of a column, or of a number of its vectors.
        rows_read: the number of rows of the fit and of omitted rows.
        missing: the number of missing values of each column of the files that has some.
        zero_rows: the number of omitted rows of zeros.
        weight_column: the column of the weights; None if all weights are 1.
        feature_weight: the weights of the d features; None if all are 1.
    """

    columns: tuple[str, ...]
    rows_read: int
    missing: Mapping[str, int]
    zero_rows: int
    weight_column: str | None
    feature_weight: Sequence[float] | None

    @property
    def widths(self) -> Sequence[tuple[str, int]]:
        """The columns with their numbers of features."""
        return group_vectors(self.columns)

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Return n, the number of rows of the fit."""

    @abstractmethod
    def features_beyond_float32(self) -> tuple[str, ...]:
        """Return the features that lose digits as float32, the dtype of models."""

    @property
    def rows_left_out(self) -> int:
        return self.rows_read - self.n_rows

    def describe_incomplete(self) -> list[str]:
        """Return a note about the rows with a missing value, if there are any."""
        incomplete = self.rows_left_out - self.zero_rows
        if not incomplete:
            return []
        lacking = shorten_names([f"{name}: {count}" for name, count in self.missing.items()])
        return [
            f"left out {incomplete:,} of {format_count(self.rows_read, 'row')} "
            f"with a missing value ({lacking})"
        ]

    def notes(self) -> list[str]:
        """Return notes for the user about omitted rows and lost digits."""
        lines = self.describe_incomplete()
        costly = [
            f"warning: column {name!r} removes {count:,} of {format_count(self.rows_read, 'row')}, "
            "which have no value there; --exclude removes the column instead"
            for name, count in self.missing.items()
            if 2 * count > self.rows_read and name != self.weight_column
        ]
        lines += _first_of(costly)
        if self.zero_rows:
            lines.append(
                f"left out {format_count(self.zero_rows, 'row')} of zeros, which have no direction "
                "for cosine distance"
            )
        lossy = [
            f"warning: column {name!r} loses digits as float32, the dtype of the model: its values "
            "are large and close together; subtract a constant from it"
            for name in self.features_beyond_float32()
        ]
        return lines + _first_of(lossy)


@dataclass(frozen=True)
class TrainingRows(ClusteredRows):
    """Rows of a fit in memory.

    Attributes:
        points: float32 or float64 [n, d], finite.
        rounded: the features that lost digits by rounding to float32, which is done for files with
            vectors to save memory.
        weights: float64 [n], the weights of the rows, not negative; None if all are 1.
    """

    columns: tuple[str, ...]
    points: NDArray[np.floating[Any]]
    rows_read: int
    missing: Mapping[str, int]
    zero_rows: int = 0
    rounded: tuple[str, ...] = ()
    weights: NDArray[np.float64] | None = None
    weight_column: str | None = None
    feature_weight: Sequence[float] | None = None

    @property
    def n_rows(self) -> int:
        return len(self.points)

    @property
    def fit_points(self) -> NDArray[np.float32]:
        """The rows for a fit."""
        return self.points.astype(np.float32, copy=False)

    @property
    def fit_weights(self) -> NDArray[np.float64] | None:
        """The weights for a fit."""
        return self.weights

    def features_beyond_float32(self) -> tuple[str, ...]:
        return self.rounded or columns_beyond_float32(self.points, self.columns)

    def keep(self, is_kept: NDArray[np.bool_]) -> Self:
        """Return the selected rows; the others are not counted as omitted."""
        weights = None if self.weights is None else self.weights[is_kept]
        return replace(self, points=self.points[is_kept], weights=weights)

    def without_zero_rows(self, names: str) -> Self:
        """Return the rows that are not zeros in float32; ``names`` are those of the files.

        Raises NoRows if no remaining row has a weight.
        """
        is_kept: NDArray[np.bool_] = np.any(to_float32(self.points), axis=1)
        if is_kept.all():
            return self
        counts = is_kept if self.weights is None else is_kept & (self.weights > 0)
        if not counts.any():
            raise NoRows(f"{names}: {ONLY_ZEROS}")
        return replace(self.keep(is_kept), zero_rows=int(np.count_nonzero(~is_kept)))


def read_training_rows(
    tables: Sequence[Table],
    columns: Sequence[str],
    *,
    weight_column: str | None = None,
    skip_zero_rows: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> TrainingRows:
    """Read columns of all tables; rows with a missing value are omitted and counted.

    A column of vectors gives as many features as its width, which must be the same in all tables.

    Args:
        weight_column: the column of the weights, not in ``columns``; a row without a weight is
            omitted too.
        skip_zero_rows: whether to omit rows of zeros in float32 too: they have no direction for
            cosine distance.
        on_rows: called with the number of rows of each block.

    Raises:
        ColumnMismatch: a table lacks a column, or the column is not numeric.
        BadCell: a cell is not a number, is infinite or outside float32; a vector has another length
            than its column; a weight is negative.
        UnreadableFile: a file is damaged.
        NoRows: there is no row, or all are omitted.
    """
    widths, tables = lay_out_columns(tables, columns)
    given = [(table, columns) for table in tables]
    rows = _read(given, widths, weight_column=weight_column, on_rows=on_rows)
    names = ", ".join(table.name for table in tables)
    return rows.without_zero_rows(names) if skip_zero_rows else rows


def lay_out_columns(
    tables: Sequence[Table], columns: Sequence[str]
) -> tuple[dict[str, int], list[Table]]:
    """Return the width of each column, and the tables with these widths.

    Raises ColumnMismatch.
    """
    widths = column_widths(tables, columns)
    given = [table.with_widths(widths) for table in tables]
    for table in given:
        _require_width(table, widths, tables)
    return widths, given


def _require_width(table: Table, widths: Mapping[str, int], tables: Sequence[Table]) -> None:
    """Check the widths of the vectors of a table against those of the first table with vectors.

    Raises OtherWidth.
    """
    kinds = table.kinds()
    other = [n for n in widths if kinds[n].is_numeric and kinds[n].width != widths[n]]
    if not other:
        return
    try:
        table.check(other)
    except OtherWidth as error:
        column = error.column
        first = next(each for each in tables if each.kinds()[column] != NO_VALUES)
        raise OtherWidth(
            f"{error}, as in {first.name}; use one length, or leave the column out with --exclude "
            "or --columns",
            column,
        ) from None


def read_model_rows(
    tables: Sequence[Table],
    feature_names: Sequence[str],
    *,
    on_rows: Callable[[int], None] | None = None,
) -> TrainingRows:
    """Read the features of a model from all tables, by name.

    Raises as ``read_training_rows`` does.
    """
    given = []
    for table in tables:
        columns = select_model_columns(table, feature_names)
        given.append((table.with_widths(columns), list(columns)))
    mend = "give rows that have a value in each of these columns"
    return _read(given, dict(group_vectors(feature_names)), mend=mend, on_rows=on_rows)


def _read(
    given: Sequence[tuple[Table, Sequence[str]]],
    widths: Mapping[str, int],
    *,
    mend: str = "choose other columns with --columns or --exclude",
    weight_column: str | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> TrainingRows:
    """Read these columns, with these widths, from each table.

    ``mend`` says what to do where no row is complete.
    """
    features = expand_columns(widths)
    starts = np.cumsum([0, *widths.values()])[:-1]
    has_vectors = len(features) > len(widths)
    rounding = Float32Rounding(len(features))
    complete: deque[Block] = deque()
    weights: list[NDArray[np.float64]] = []
    missing = np.zeros(len(widths) + 1, np.int64)
    rows_read = 0
    for table, columns in given:
        before = 0
        weight = None if weight_column is None else read_weights(table, weight_column)
        for block in table.blocks(columns):
            check_finite(table, features, block, before)
            absent = np.logical_or.reduceat(np.isnan(block), starts, axis=1)
            missing[:-1] += absent.sum(axis=0)
            is_complete = ~absent.any(axis=1)
            if weight is not None:
                of_block = weight[before : before + len(block)]
                missing[-1] += np.count_nonzero(np.isnan(of_block))
                is_complete &= ~np.isnan(of_block)
                weights.append(of_block[is_complete])
            rows = block[is_complete]
            complete.append(rounding.round(rows) if has_vectors else rows)
            before += len(block)
            if on_rows is not None:
                on_rows(len(block))
        rows_read += before
    names = ", ".join(table.name for table, _ in given)
    if not rows_read:
        raise NoRows(f"{names}: has a header and no rows; give at least one row")
    counted = zip([*widths, weight_column or ""], missing, strict=True)
    counts = {name: int(count) for name, count in counted if count}
    points = _concat(complete, len(features))
    if not len(points):
        lacking = shorten_names([f"{name!r} lacks {count}" for name, count in counts.items()])
        raise NoRows(
            f"{names}: each of the {rows_read} rows has a missing value ({lacking}); {mend}"
        )
    weigh = None if weight_column is None else np.concatenate(weights)
    if weigh is not None and not weigh.any():
        raise NoRows(
            f"{names}: no row that is left has a weight above 0 in the column {weight_column!r}; "
            "give at least one"
        )
    return TrainingRows(
        columns=features,
        points=points,
        rows_read=rows_read,
        missing=counts,
        rounded=tuple(np.array(features, object)[rounding.has_lost_digits()]),
        weights=weigh,
        weight_column=weight_column,
    )


def read_weights(table: Table, column: str) -> NDArray[np.float64]:
    """Read the weight of each row, float64 [n]; NaN is missing. Raises BadCell."""
    blocks = [np.empty((0, 1)), *table.blocks([column])]
    weights = np.concatenate(blocks)[:, 0].astype(np.float64)
    check_weights(table, column, weights)
    return weights


def check_weights(
    table: Table, column: str, weights: NDArray[np.floating[Any]], rows_before: int = 0
) -> None:
    """Check that numbers of a table are weights, or missing. Raises BadCell."""
    held = to_float32(weights)
    # TensorFlow treats a subnormal number as 0.
    is_lost = (weights > 0) & (held < np.finfo(np.float32).tiny)
    bad = (weights < 0) | np.isinf(held) | is_lost
    if bad.any():
        row = int(np.argmax(bad))
        value = weights[row]
        if value < 0:
            reason = "is negative; a weight must be at least 0"
        elif is_lost[row]:
            reason = "is less than float32 can hold; multiply all weights by a constant"
        else:
            reason = describe_not_finite(value).removeprefix(f"{value:g} ")
        raise BadCell(
            f"{table.name}: {table.place(rows_before + row + 1)}, column {column!r}: "
            f"{value:g} {reason}"
        )


def _first_of(warnings: Sequence[str]) -> list[str]:
    """Return the first warnings of one kind, and the number of others."""
    more = len(warnings) - _WARNED
    rest = [f"warning: the same of {format_count(more, 'column')} more"] if more > 0 else []
    return [*warnings[:_WARNED], *rest]


def columns_beyond_float32(
    points: NDArray[np.floating[Any]], columns: Sequence[str]
) -> tuple[str, ...]:
    """Return the columns that float32 changes by over a thousandth of their standard deviation."""
    rounding = Float32Rounding(len(columns))
    for start in range(0, len(points), _ROWS):
        rounding.round(points[start : start + _ROWS])
    return tuple(np.array(columns, object)[rounding.has_lost_digits()])


def check_finite(table: Table, columns: Sequence[str], block: Block, rows_before: int) -> None:
    """Check that no number of a block is infinite, also as float32. Raises BadCell."""
    bad = np.isinf(to_float32(block))
    if not bad.any():
        return
    row, index = divmod(int(np.argmax(bad)), len(columns))
    value = block[row, index]
    reason = describe_not_finite(value)
    if np.isinf(value):
        reason = f"{value:g} {reason}"
    raise BadCell(
        f"{table.name}: {table.place(rows_before + row + 1)}, column {columns[index]!r}: {reason}; "
        "correct it, or write it as missing (NA)",
        columns[index],
        is_number=True,
    )


def _concat(blocks: deque[Block], width: int) -> NDArray[np.floating[Any]]:
    """Join blocks to one array; each block is released after its copy."""
    dtype = np.result_type(np.float32, *{block.dtype for block in blocks})
    points = np.empty((sum(map(len, blocks)), width), dtype)
    start = 0
    while blocks:
        block = blocks.popleft()
        points[start : start + len(block)] = block
        start += len(block)
    return points
