"""Convert arrays of Python objects to numbers: missing values, vectors, and errors."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .array_types import Array, Float64
from .errors import NoArray

Objects = NDArray[np.object_]

#: The dtypes of real numbers, by their kinds.
NUMBERS: Final = "buif"

_MISSING, _TEXT, _OTHER = range(3)


def read_objects(values: Objects, subject: str, wanted: str) -> Array:
    """Convert objects to numbers; in one dimension they may be vectors of equal length.

    A missing value (None, NA) becomes NaN, a missing vector only NaN.

    Args:
        values: [n], [n, d], ...
        subject: the beginning of the message, such as "points have".
        wanted: the end of the message, such as "numbers".

    Raises:
        NoArray: a value is not a number, or a vector has another length; the message names its row.
    """
    if values.ndim == 1:
        first = next((each for each in values if _kind(each) != _MISSING), None)
        if _is_vector(first):
            return _stack(values, subject, wanted)
    kinds = np.asarray(np.frompyfunc(_kind, 1, 1)(values), np.int8)
    try:
        if not (kinds == _TEXT).any():
            return _convert(values, kinds == _MISSING)
    except (OverflowError, TypeError, ValueError):
        pass  # the loop finds the object
    for index, value in np.ndenumerate(values):
        if kinds[index] == _TEXT or (kinds[index] == _OTHER and not _is_number(value)):
            what = "the text " if isinstance(value, str) else ""
            raise NoArray(
                f"{subject} {what}{_shorten(value)} in {_place(index)}, which is not "
                f"numeric; give {wanted}"
            )
    raise NoArray(f"{subject} objects that are not numeric; give {wanted}")


def lengths_differ(subject: str, one: tuple[int, str], other: tuple[int, str]) -> NoArray:
    """Make the error for two vectors of different lengths, given by row and description."""
    return NoArray(
        f"{subject} {one[1]} in row {one[0]}, and {other[1]} in row {other[0]}; give rows of one "
        "length"
    )


def describe_length(length: int) -> str:
    """Describe the length of a vector in words."""
    return "1 number" if length == 1 else f"{length:,} numbers"


def _convert(values: Objects, missing: NDArray[np.bool_]) -> Array:
    if not missing.any():
        plain = np.array(values.tolist())
        if plain.dtype.kind in NUMBERS and plain.shape == values.shape:
            return plain
    filled: Float64 = np.where(missing, np.nan, values).astype(np.float64)
    return filled


def _stack(values: Objects, subject: str, wanted: str) -> Array:
    rows: list[Any] = [None if _kind(each) == _MISSING else _as_row(each) for each in values]
    first = next(index for index, row in enumerate(rows) if row is not None)
    shape = rows[first].shape
    for index, row in enumerate(rows):
        if row is not None and row.shape != shape:
            one, other = ((each, _describe(values[each], rows[each])) for each in (index, first))
            raise lengths_differ(subject, one, other)
    dtypes = {row.dtype for row in rows if row is not None}
    are_numbers = all(dtype.kind in NUMBERS for dtype in dtypes)
    if any(row is None for row in rows):
        dtypes.add(np.dtype(np.float32))  # it has NaN
    dtype = np.result_type(*dtypes) if are_numbers else np.dtype(object)
    missing = np.nan if dtype.kind == "f" else None if dtype.kind == "O" else 0
    stacked = np.full((len(rows), *shape), missing, dtype)
    for index, row in enumerate(rows):
        if row is not None:
            stacked[index] = row
    return stacked if are_numbers else read_objects(stacked, subject, wanted)


def _as_row(value: Any) -> Array:
    try:
        return np.asarray(value)
    except ValueError:  # the value itself is ragged
        return np.array(None, object)


def _is_vector(value: object) -> bool:
    is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_sequence or len(getattr(value, "shape", ())) > 0


def _kind(value: object) -> int:
    # pandas.NA is recognised without importing pandas.
    if value is None or type(value).__name__ == "NAType":
        return _MISSING
    return _TEXT if isinstance(value, str | bytes) else _OTHER


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return True


def _describe(value: object, row: Array) -> str:
    shape = row.shape
    if len(shape) == 1:
        return describe_length(shape[0])
    return f"an array of shape {shape}" if shape else _shorten(value)


def _shorten(value: object) -> str:
    said = " ".join(repr(value).split())
    return said if len(said) <= 40 else f"{said[:37]}..."


def _place(index: tuple[int, ...]) -> str:
    if len(index) > 2:
        return f"place {list(index)}"
    return f"row {index[0]}" + "".join(f", column {column}" for column in index[1:])
