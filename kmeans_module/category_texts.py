"""Convert the values of a category to texts, with the same spelling for all data types.

Does not import TensorFlow.
"""

import re
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Real
from typing import Any, Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .arrow_arrays import arrow_columns, is_arrow
from .errors import InvalidColumns

#: pandas, NumPy, Arrow and polars spell these differently.
_TIMES: Final = (datetime, timedelta, np.datetime64, np.timedelta64)

#: The other types with a single spelling.
_ONE_VALUE: Final = (Real, date, time, Enum, UUID)

#: Texts of booleans, as programs write them, and of whole numbers of float types.
_BOOLEAN_TEXTS: Final = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}
_WHOLE_TEXT: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0*")
_NUMBER_TEXT: Final = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_EXPONENT_TEXT: Final = re.compile(r"-?[1-9](?:\.[0-9]+)?[eE]\+[0-9]{2}")


def is_missing(value: Any) -> bool:
    """Whether an object is a missing value: None, NaN, or a marker that is not equal to itself."""
    if value is None:
        return True
    if np.ndim(value) or isinstance(value, str | bytes):
        return False
    equal = value == value  # noqa: PLR0124 - NaN is not equal to itself, and pandas.NA is neither
    return not isinstance(equal, bool | np.bool_) or not equal


def read_texts(name: str, values: Any) -> NDArray[np.object_]:
    """Return the values of a category as texts [n], spelled by `spell`.

    Raises InvalidColumns for values without a single spelling: vectors, dates and times, and bytes
    that are not UTF-8.
    """
    places, distinct = _number_values(name, values)
    texts = np.empty(len(distinct), object)
    for place, value in enumerate(distinct):
        try:
            texts[place] = spell(value)
            texts[place].encode()
        except (TypeError, ValueError, ArithmeticError):
            raise _no_category(name, value) from None
    return texts[places]


def _number_values(name: str, values: Any) -> tuple[NDArray[np.intp], Sequence[Any]]:
    """Return for each row the index of its value among the distinct values, and these."""
    if is_arrow(values):
        return _number_arrow(name, values)
    if isinstance(values, list | tuple):  # NumPy would convert numbers among texts to texts
        array = np.fromiter(values, object, len(values))
    elif isinstance(values, np.ma.MaskedArray):
        array = values.data.astype(object)
        array[np.ma.getmaskarray(values)] = None
    else:
        array = np.asarray(values)
    if array.ndim != 1:
        kind = type(values).__name__
        what = f"has type {kind}" if not array.ndim else f"has shape {array.shape}"
        raise InvalidColumns(f"column {name!r} {what}; give one value per row")
    if array.dtype.kind in "biufM":
        found, places = np.unique(array, return_inverse=True)
        return places, found.tolist() if array.dtype == "M8[D]" else list(found)
    # 1 and True have the same hash, but are two values.
    numbers: dict[tuple[type, Any], int] = {}
    keys = ((type(value), value) for value in array.astype(object))
    try:
        places = np.fromiter(
            (numbers.setdefault(key, len(numbers)) for key in keys), np.intp, len(array)
        )
    except TypeError:  # of no hash
        value = next(each for each in array.astype(object) if not _has_hash(each))
        raise _no_category(name, value) from None
    return places, [value for _, value in numbers]


def _number_arrow(name: str, values: Any) -> tuple[NDArray[np.intp], Sequence[Any]]:
    """`_number_values` for a column of Arrow or polars."""
    import pyarrow as pa

    labels, (column, *_) = arrow_columns(values)
    if labels is not None or pa.types.is_nested(column.type):
        kind = column.type if labels is None else "struct"
        raise InvalidColumns(f"column {name!r} has type {kind}; give one value per row")
    places: list[NDArray[np.intp]] = []
    distinct: list[Any] = []
    if pa.types.is_fixed_size_binary(column.type):  # polars' objects are addresses in it
        raise InvalidColumns(f"column {name!r} has type {column.type}; give text")
    for chunk in column.chunks:  # each has its own dictionary
        try:
            encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise InvalidColumns(f"column {name!r} has type {chunk.type}; give text") from None
        known = encoded.dictionary
        indices = encoded.indices.cast(pa.int64()).fill_null(len(known)).to_numpy()
        places.append(indices + len(distinct))
        is_float = pa.types.is_floating(known.type)
        distinct += [*(known.to_numpy(False) if is_float else known.to_pylist()), None]
    return np.concatenate(places or [np.empty(0, np.intp)]), distinct


def _has_hash(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def spell(value: Any) -> str:
    """Return the text of a value of a category; the empty text is a missing value.

    Whole numbers, also of float types, are spelled like "1", and booleans "true" and "false"; this
    also applies to texts of other programs such as "1.0" and "True". So a value has the same text
    in a text file, in a typed file and in a frame.

    Raises UnicodeDecodeError for bytes that are not UTF-8, and TypeError for dates and times and
    for objects that are not a single value.
    """
    match value:
        case str() | bytes():
            text = value.decode() if isinstance(value, bytes) else str.__str__(value)  # of an Enum
        case bool() | np.bool_():
            return str(value).lower()
        case _ if is_missing(value):
            return ""
        case Decimal():
            text = format(value, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case float() | np.floating() if float(value).is_integer():
            # By its text, because a float32 with many digits is not equal to the whole number in
            # its text.
            return str(int(float(str(value))))
        case _ if isinstance(value, _TIMES) or not isinstance(value, _ONE_VALUE):
            raise TypeError
        case _:
            text = str(value)
    return _spell_text(text)


def spell_number(text: str) -> str:
    """Return the normalised text of a finite number such as "+1.50".

    Other texts do not change, nor do codes such as "007". Call it only for texts that are numbers;
    version strings, for example, are not.
    """
    if not _NUMBER_TEXT.fullmatch(text) or not np.isfinite(number := float(text)):
        return text
    if text.lstrip("+-").isdigit():  # a whole number keeps all its digits
        return str(int(text))
    return spell(number)


def _spell_text(text: str) -> str:
    if text in _BOOLEAN_TEXTS:
        return _BOOLEAN_TEXTS[text]
    if whole := _WHOLE_TEXT.fullmatch(text):
        return str(whole[1]) if whole[1] != "-0" else "0"
    if _EXPONENT_TEXT.fullmatch(text) and (number := float(text)).is_integer():
        return str(int(number))
    return text


def _no_category(name: str, value: Any) -> InvalidColumns:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    if isinstance(value, _TIMES):
        mend = "but timestamps have no single spelling; convert them to text"
    elif isinstance(value, bytes | str):
        mend = "which is not UTF-8; give text"
    elif isinstance(value, Collection):
        mend = "which is not a category; give one value per row"
    else:
        mend = "which is not a category; give its text"
    return InvalidColumns(f"column {name!r} holds {shown}, {mend}")
