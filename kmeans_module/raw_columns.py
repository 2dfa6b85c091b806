"""Convert the columns of a data frame, an Arrow table or a mapping to arrays for an encoder."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .array_input import read_array
from .array_types import Array, Float32
from .category_texts import read_texts
from .columns import CategoryColumn, Column, VectorColumn
from .errors import InvalidColumns, NoArray
from .near_names import find_near_name


def is_table(given: Any) -> bool:
    """Whether an object has named columns: a mapping, a data frame or an Arrow table."""
    if isinstance(given, Mapping):
        return True
    # polars warns on access to the columns of a lazy frame; a lazy frame has no shape.
    is_flat = len(getattr(given, "shape", ())) == 2
    return is_flat and (hasattr(given, "column_names") or hasattr(given, "columns"))


def named_columns(table: Any) -> dict[str, Any]:
    """Return the columns of a table by name, in its order, not converted.

    Args:
        table: a mapping of columns, a pandas or polars frame, or an Arrow table.

    Raises:
        InvalidColumns: the table has another type, or two columns have the same name.
    """
    if not is_table(table):
        raise InvalidColumns(
            f"the table has type {type(table).__name__}; give a data frame, an Arrow table or a "
            "mapping of names to columns"
        )
    if isinstance(table, Mapping):
        labels, read = list(table), table.__getitem__
    elif hasattr(table, "column_names"):  # of Arrow
        labels, read = list(table.column_names), table.column
    else:
        labels, read = list(table.columns), table.__getitem__
    names = [str(label) for label in labels]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidColumns(f"two columns are named {repeated!r}; rename one")
    return {name: read(label) for name, label in zip(names, labels, strict=True)}


class UnusedColumns:
    """Warns once of each column that a model does not take."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def warn(self, model: str, taken: Iterable[str], table: Any, *, stacklevel: int) -> None:
        """Name the new unused columns of this table in one warning."""
        known = {*taken, *self._named}
        unused = [str(name) for name in named_columns(table) if name not in known]
        if unused:
            self._named.update(unused)
            shown = ", ".join(unused[:10]) + (", ..." if len(unused) > 10 else "")
            warnings.warn(f"{model} ignores the columns {shown}", stacklevel=stacklevel + 1)


def read_columns(columns: Sequence[Column], table: Any) -> list[Array]:
    """Read the columns of a model from a table by name, as inputs of its encoder.

    Args:
        columns: the columns of the model; the table may have others.
        table: see `named_columns`.

    Returns:
        An array for each column, in their order: numbers float32 [n], categories as an object array
        [n] of texts, vectors float32 [n, w].

    Raises:
        InvalidColumns: a column is missing, or has values of the wrong kind.
    """
    given = named_columns(table)
    for column in columns:
        if column.name not in given:
            hint = find_near_name(column.name, {*map(str, given)} - {each.name for each in columns})
            raise InvalidColumns(f"there is no column {column.name!r}, which the model takes{hint}")
    arrays = [_read_column(each, given[each.name]) for each in columns]
    check_lengths({each.name: array for each, array in zip(columns, arrays, strict=True)})
    return arrays


def _read_column(column: Column, values: Any) -> Array:
    if isinstance(column, CategoryColumn):
        return read_texts(column.name, values)
    numbers = read_numbers(column.name, values)
    width = column.width if isinstance(column, VectorColumn) else None
    if width is not None and numbers.ndim == 1 and np.isnan(numbers).all():
        return np.full((len(numbers), width), np.nan, np.float32)  # all values are missing
    if numbers.shape[1:] != (() if width is None else (width,)):
        wanted = "numbers" if width is None else f"vectors of {width} numbers"
        raise InvalidColumns(
            f"column {column.name!r} has shape {numbers.shape}, and the model takes {wanted}"
        )
    return numbers


def read_numbers(name: str, values: Any) -> Float32:
    """Read numbers [n] or vectors [n, w] as float32, NaN if missing. Raises InvalidColumns."""
    try:
        array = read_array(values, f"column {name!r}")
    except NoArray as error:
        raise InvalidColumns(str(error)) from None
    if array.ndim not in (1, 2):
        raise InvalidColumns(f"column {name!r} has shape {array.shape}; give one value per row")
    with np.errstate(over="ignore"):  # a number outside float32 becomes infinity
        return array.astype(np.float32, copy=False)


def check_lengths(columns: Mapping[str, Array]) -> None:
    """Check that all columns have the same number of rows. Raises InvalidColumns."""
    first = next(iter(columns))
    n = len(columns[first])
    for name, array in columns.items():
        if len(array) != n:
            raise InvalidColumns(
                f"column {name!r} has {len(array)} rows, and {first!r} has {n}; give as many"
            )
