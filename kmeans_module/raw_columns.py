"""The columns of a data frame, an Arrow table or a mapping as arrays that an encoder takes."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .array_input import read_array
from .array_types import Array, Float32
from .columns import CategoryColumn, Column, VectorColumn
from .errors import InvalidColumns, NoArray

#: Of an object array, what stands for a missing value beside None and NaN.
_MISSING_TEXT = ""

#: Texts of booleans, as programs write them, and of whole numbers that are of a float type.
_BOOLEAN_TEXTS: Final = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_WHOLE_TEXT: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_EXPONENT_TEXT: Final = re.compile(r"-?[1-9](?:\.[0-9]+)?[eE]\+[0-9]{2}")


def is_table(given: Any) -> bool:
    """Whether this is a mapping of columns, a data frame or an Arrow table: columns with names."""
    if isinstance(given, Mapping):
        return True
    # Polars warns where a lazy frame is asked for its columns; it has no shape.
    is_flat = len(getattr(given, "shape", ())) == 2
    return is_flat and (hasattr(given, "column_names") or hasattr(given, "columns"))


def named_columns(table: Any) -> dict[str, Any]:
    """The columns of a table by their names, in its order, not converted yet.

    Args:
        table: a mapping of columns, a pandas or polars frame, or an Arrow table.

    Raises:
        InvalidColumns: it is none of these, or two columns have the same name.
    """
    if isinstance(table, Mapping):
        return dict(table)
    names = getattr(table, "column_names", None)  # of an Arrow table
    if names is None:
        names = getattr(table, "columns", None)
        read = getattr(table, "__getitem__", None)
    else:
        read = table.column
    if names is None or read is None or isinstance(table, np.ndarray):
        raise InvalidColumns(
            f"columns are a {type(table).__name__}, which has no names; give a data frame, an "
            "Arrow table or a mapping of names to columns"
        )
    names = list(names)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InvalidColumns(f"two columns are named {repeated!r}; rename one")
    return {name: read(name) for name in names}


def read_columns(columns: Sequence[Column], table: Any) -> list[Array]:
    """The columns of a model in a table, by their names, as its encoder takes them.

    Args:
        columns: those of the model; the table may have others.
        table: as `named_columns` takes it.

    Returns:
        An array for each, in their order: of numbers float32 [n], of categories objects [n] that
        are texts, of vectors float32 [n, w].

    Raises:
        InvalidColumns: a column is not there, or does not hold what its kind does.
    """
    given = named_columns(table)
    for column in columns:
        if column.name not in given:
            near = get_close_matches(column.name, map(str, given), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
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
        return np.full((len(numbers), width), np.nan, np.float32)  # all are missing
    if numbers.shape[1:] != (() if width is None else (width,)):
        wanted = "numbers" if width is None else f"vectors of {width} numbers"
        raise InvalidColumns(
            f"column {column.name!r} has shape {numbers.shape}, and the model takes {wanted}"
        )
    return numbers


def read_numbers(name: str, values: Any) -> Float32:
    """Numbers [n] or vectors [n, w] as float32; NaN is a missing value. Raises InvalidColumns."""
    try:
        array = read_array(values, f"column {name!r}")
    except NoArray as error:
        raise InvalidColumns(str(error)) from None
    if array.ndim not in (1, 2):
        raise InvalidColumns(f"column {name!r} has shape {array.shape}; give one value a row")
    with np.errstate(over="ignore"):  # a number beyond float32 is as infinity
        return array.astype(np.float32, copy=False)


def check_lengths(columns: Mapping[str, Array]) -> None:
    """Check that all columns have as many rows. Raises InvalidColumns."""
    first = next(iter(columns))
    n = len(columns[first])
    for name, array in columns.items():
        if len(array) != n:
            raise InvalidColumns(
                f"column {name!r} has {len(array)} rows, and {first!r} has {n}; give as many"
            )


def is_missing(value: Any) -> bool:
    """Whether an object stands for a missing value: None, NaN, or a marker that equals nothing."""
    if value is None:
        return True
    if np.ndim(value) or isinstance(value, str | bytes):
        return False
    equal = value == value  # noqa: PLR0124 - NaN is not equal to itself, and pandas.NA is neither
    return not isinstance(equal, bool | np.bool_) or not equal


def read_texts(name: str, values: Any) -> NDArray[np.object_]:
    """The values of a category as texts [n], each as `spell` has it.

    Raises InvalidColumns for vectors, and for bytes that are not UTF-8.
    """
    is_list = isinstance(values, list | tuple)
    # Of a list of numbers and texts NumPy would make texts.
    array = np.fromiter(values, object, len(values)) if is_list else np.asarray(values)
    if array.ndim != 1 or any(isinstance(each, list | tuple | np.ndarray) for each in array[:1]):
        raise InvalidColumns(f"column {name!r} holds vectors, which are no categories")
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype != object:
        found, places = np.unique(array, return_inverse=True)
        distinct = found.tolist() if found.dtype.kind != "f" else [*found]
    else:
        # Of one and the same hash, 1 and True are two values.
        numbers: dict[tuple[type, Any], int] = {}
        keys = ((type(value), None if is_missing(value) else value) for value in array)
        places = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)
        distinct = [value for _, value in numbers]
    try:
        texts = np.array([spell(value) for value in distinct], object)
    except UnicodeDecodeError as error:
        raise InvalidColumns(
            f"column {name!r} holds {error.object[:60]!r}, which is not UTF-8; give text"
        ) from None
    return texts[places]


def spell(value: Any) -> str:
    """The text of a value of a category; the empty text is a missing value.

    Whole numbers are spelled as in "1", also where they are of a float type, and booleans as "true"
    and "false": so are texts that other programs write for these, "1.0" and "True". One value is
    the same text in a file of text, in one that has types, and in a frame.

    Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    match value:
        case bytes():
            return _spell_text(value.decode())
        case bool() | np.bool_():
            return "true" if value else "false"
        case _ if is_missing(value):
            return _MISSING_TEXT
        case Decimal():
            return f"{value.normalize():f}"
        case float() | np.floating() if float(value).is_integer():
            # By its text: of float32, the nearest whole number of many digits is none of these.
            return str(int(float(str(value))))
    return _spell_text(str(value))


def _spell_text(text: str) -> str:
    if text in _BOOLEAN_TEXTS:
        return _BOOLEAN_TEXTS[text]
    if whole := _WHOLE_TEXT.fullmatch(text):
        return str(whole[1]) if whole[1] != "-0" else "0"
    if _EXPONENT_TEXT.fullmatch(text) and (number := float(text)).is_integer():
        return str(int(number))
    return text
