"""The rows that a model is fitted to: which columns, and all their rows without a missing value."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import BadCell, ColumnMismatch, NoRows
from .table import Block, Table, require_columns

#: A column whose values float32 moves by more than this part of its spread is warned of.
_ROUNDING: Final = 1e-3

#: Rows that are looked at together.
_ROWS: Final = 2**16


@dataclass(frozen=True)
class TrainingRows:
    """Rows ready for a fit.

    Attributes:
        points: float32 or float64 [n, d], finite.
        rows_read: n and those that were left out for a missing value.
        missing: for each column that has some, the number of missing values.
    """

    points: NDArray[np.floating[Any]]
    rows_read: int
    missing: Mapping[str, int]

    @property
    def rows_left_out(self) -> int:
        return self.rows_read - len(self.points)


def numeric_columns(tables: Sequence[Table]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The numeric columns, in the order of the first table, and what each of the others holds.

    A column is judged by the first table in which it has a value.
    Raises ColumnMismatch when the tables have not the same columns, or none of them is numeric;
    NoRows when there is no value at all.
    """
    first, *others = tables
    for table in others:
        require_columns(table, first.columns)
        for column in table.columns:
            if column not in first.columns:
                raise ColumnMismatch(
                    f"{table.name}: has a column {column!r} and {first.name} has not; "
                    "choose with --columns what both have"
                )
    kinds = dict(first.kinds())
    for table in others:
        if all(kind.numeric is not None for kind in kinds.values()):
            break
        later = table.kinds()
        kinds |= {name: later[name] for name, kind in kinds.items() if kind.numeric is None}
    taken = tuple(name for name in first.columns if kinds[name].numeric)
    left = {name: kind.holds for name, kind in kinds.items() if not kind.numeric}
    if all(kind.numeric is None for kind in kinds.values()):
        names = ", ".join(table.name for table in tables)
        raise NoRows(f"{names}: has no row with a value; give at least one row of numbers")
    if not taken:
        held = "; ".join(f"{name!r} holds {holds}" for name, holds in left.items())
        raise ColumnMismatch(f"{first.name}: no column holds numbers ({held})")
    return taken, left


def collect(
    tables: Sequence[Table],
    columns: Sequence[str],
    *,
    on_rows: Callable[[int], None] | None = None,
) -> TrainingRows:
    """Read these columns of all tables; rows with a missing value are left out and counted.

    ``on_rows`` is called with the number of rows of each block that was read.

    Raises:
        ColumnMismatch: a table lacks a column, or it holds no numbers.
        BadCell: a cell is not a number, is infinite or beyond float32.
        UnreadableFile: a file is damaged.
        NoRows: there is no row, or none without a missing value.
    """
    for table in tables:
        require_columns(table, columns)
    kept: deque[Block] = deque()
    missing = np.zeros(len(columns), np.int64)
    rows_read = 0
    for table in tables:
        before = 0
        for block in table.blocks(columns):
            _check_finite(table, columns, block, before)
            absent = np.isnan(block)
            missing += absent.sum(axis=0)
            kept.append(block[~absent.any(axis=1)])
            before += len(block)
            if on_rows is not None:
                on_rows(len(block))
        rows_read += before
    names = ", ".join(table.name for table in tables)
    if not rows_read:
        raise NoRows(f"{names}: has a header and no rows; give at least one row")
    counts = {name: int(n) for name, n in zip(columns, missing, strict=True) if n}
    points = _joined(kept, len(columns))
    if not len(points):
        raise NoRows(
            f"{names}: each of the {rows_read} rows has a missing value "
            f"({_described(counts)}); choose other columns with --columns"
        )
    return TrainingRows(points, rows_read, counts)


def without_zero_rows(rows: TrainingRows, origin: str) -> TrainingRows:
    """The rows that are not zeros alone, as float32 has them; for cosine distance.

    Raises NoRows, naming ``origin``, when none is left.
    """
    kept = rows.points.astype(np.float32, copy=False).any(axis=1)
    if not kept.any():
        raise NoRows(
            f"{origin}: every row is of zeros, which have no direction for cosine distance; "
            "use euclidean distance"
        )
    return rows if kept.all() else replace(rows, points=rows.points[kept])


def columns_beyond_float32(
    points: NDArray[np.floating[Any]], columns: Sequence[str]
) -> tuple[str, ...]:
    """The columns that lose more than a thousandth of their standard deviation as float32."""
    if points.dtype == np.float32:
        return ()
    error = np.zeros(len(columns))
    for start in range(0, len(points), _ROWS):
        rows = points[start : start + _ROWS]
        error = np.maximum(error, np.abs(rows - rows.astype(np.float32)).max(axis=0))
    spread = np.array([points[:, index].std() for index in range(len(columns))])
    varies = points.max(axis=0) > points.min(axis=0)
    lost = varies & (error > _ROUNDING * spread)
    return tuple(column for column, bad in zip(columns, lost, strict=True) if bad)


def _check_finite(table: Table, columns: Sequence[str], block: Block, rows_before: int) -> None:
    with np.errstate(over="ignore"):
        bad = np.isinf(block.astype(np.float32, copy=False))
    if not bad.any():
        return
    row, index = divmod(int(np.argmax(bad)), len(columns))
    value = block[row, index]
    what = "is infinite" if np.isinf(value) else "is more than float32 can hold"
    raise BadCell(
        f"{table.name}: {table.place(rows_before + row + 1)}, column {columns[index]!r}: "
        f"{value:g} {what}; mend it, or write it as missing (NA)"
    )


def _joined(blocks: deque[Block], width: int) -> NDArray[np.floating[Any]]:
    """All rows in one array. Each block goes as it is copied, so that there is one copy of all."""
    dtype = np.result_type(np.float32, *{block.dtype for block in blocks})
    points = np.empty((sum(map(len, blocks)), width), dtype)
    filled = 0
    while blocks:
        block = blocks.popleft()
        points[filled : filled + len(block)] = block
        filled += len(block)
    return points


def _described(missing: Mapping[str, int]) -> str:
    return ", ".join(f"{name!r} lacks {count}" for name, count in missing.items())
