"""Convert Arrow columns of pyarrow, polars or DuckDB to NumPy arrays.

pyarrow reads them by Arrow's own interface; it is imported when needed.
"""

from typing import Any

import numpy as np

from .array_types import Array
from .errors import NoArray
from .object_arrays import describe_length, lengths_differ


def is_arrow(given: object) -> bool:
    """Whether an object has Arrow's interface, except pandas objects, which do not need pyarrow."""
    speaks = hasattr(given, "__arrow_c_stream__") or hasattr(given, "__arrow_c_array__")
    return speaks and not hasattr(given, "iloc")


def arrow_columns(given: Any) -> tuple[list[str] | None, list[Any]]:
    """Return the names and the columns (ChunkedArrays) of a table, or None and a single column.

    Raises ModuleNotFoundError without pyarrow, and NoArray for unsupported objects.
    """
    import pyarrow as pa

    read: Any = pa.chunked_array
    try:
        whole = read(given)
    except pa.ArrowException as error:
        raise NoArray(f"pyarrow does not read the {type(given).__name__}: {error}") from None
    if not pa.types.is_struct(whole.type):
        return None, [whole]
    return [field.name for field in whole.type], whole.flatten()


def read_arrow(column: Any, subject: str, wanted: str) -> Array:
    """Return the numbers of a ChunkedArray, [n], or [n, w] for lists; null becomes NaN.

    Raises NoArray as `object_arrays.read_objects` does.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = column.cast(kind.storage_type)
        return read_arrow(column, subject, wanted)
    if types.is_dictionary(kind) and types.is_primitive(kind.value_type):
        return read_arrow(column.cast(kind.value_type), subject, wanted)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if is_list or types.is_list_view(kind) or types.is_large_list_view(kind):
        return _read_lists(column, subject, wanted)
    if types.is_boolean(kind) and column.null_count:
        column = column.cast(pa.uint8())
    elif types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        raise NoArray(f"{subject}, which is not numeric; give {wanted}")
    return np.asarray(column.to_numpy())


def _read_lists(column: Any, subject: str, wanted: str) -> Array:
    import pyarrow.compute as pc

    lengths = np.asarray(pc.list_value_length(column).fill_null(-1).to_numpy())
    present = np.flatnonzero(lengths >= 0)
    if not len(present):
        return np.full(len(column), np.nan)
    width = int(lengths[present[0]])
    other = present[lengths[present] != width]
    if len(other):
        one, first = ((int(row), describe_length(lengths[row])) for row in (other[0], present[0]))
        raise lengths_differ(f"{subject} with", one, first)
    numbers = read_arrow(pc.list_flatten(column), subject, wanted)
    vectors = numbers.reshape(len(present), width, *numbers.shape[1:])
    if len(present) == len(lengths):
        return vectors
    every = np.full((len(lengths), *vectors.shape[1:]), np.nan, np.result_type(vectors, np.float32))
    every[present] = vectors
    return every
