"""Convert lists, frames, series of vectors, Arrow columns and tensors to NumPy arrays.

Only pyarrow is imported, for objects with Arrow's interface. Does not import TensorFlow, so clients
can use it too. Missing values (null, NA, masked) become NaN.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import IOBase
from itertools import chain
from pathlib import PurePath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .array_types import Array
from .arrow_arrays import arrow_columns, is_arrow, read_arrow
from .errors import InvalidPoints, NoArray
from .object_arrays import NUMBERS, describe_length, read_objects

#: The remedy for a column that is not numeric.
_COLUMN: Final = "it as numbers, or leave it out"


@dataclass(frozen=True)
class _Table:
    """Columns with labels.

    Attributes:
        read: returns a column by its index: [n], or [n, w] for vectors.
        whole: all columns, [n, d], if they are one array already.
    """

    labels: list[str]
    read: Callable[[int], Array]
    whole: Array | None = None


def read_array(given: Any, name: str = "points", wanted: str = "numbers") -> Array:
    """Convert an argument to an array of real numbers, of any shape.

    Args:
        given: anything that NumPy converts; a data frame; tables and columns of Arrow and polars. A
            column of vectors has w features.
        name: the name of the argument, for the message.
        wanted: the expected values, for the message.

    Raises:
        NoArray: it is not an array of numbers. The message is one line.
    """
    return read_named_array(given, name, wanted)[0]


def read_named_array(
    given: Any, name: str = "points", wanted: str = "numbers"
) -> tuple[Array, list[str] | None]:
    """`read_array`, and the names of the features if the argument has names.

    A column ``embedding`` of vectors has the features ``embedding[0]``, ``embedding[1]``, ...
    """
    table = _open_table(given, name)
    if table is not None:
        array, features = _join(table, range(len(table.labels)))
        return array, list(chain.from_iterable(features))
    array = _read(given, name, wanted)
    label, shape = getattr(given, "name", None), getattr(given, "shape", ())
    is_named = isinstance(label, str) and label and len(shape) == 1 and array.ndim == 2
    return array, _feature_names(str(label), array) if is_named else None


def read_features(given: Any, feature_names: Callable[[], Sequence[str]]) -> Array:
    """Return the points of a model: the named features, in the order of the names, or all features
    of points without names. ``feature_names`` is called only for points with names.

    Raises NoArray as `read_array` does, and for points that lack a feature.
    """
    table = _open_table(given, "points")
    if table is None:
        return _read(given, "points", "numbers")
    names = feature_names()
    places = {label: index for index, label in enumerate(table.labels)}
    columns: dict[str, list[str]] = {}
    for each in names:
        column = each if each in places else vector_column(each)
        if column not in places:
            raise NoArray(f"points have no column {each!r}, which the model takes")
        columns.setdefault(column, []).append(each)
    array, features = _join(table, [places[column] for column in columns])
    order: dict[str, int] = {}
    for (column, wanted), found in zip(columns.items(), features, strict=True):
        if len(found) != len(wanted):
            has, takes = (describe_length(len(each)) for each in (found, wanted))
            raise NoArray(
                f"points have {has} in each row of column {column!r}, and the model takes {takes}"
            )
        # A column of vectors of length 1 counts as a column of numbers.
        same = found if len(found) > 1 else wanted
        if set(same) != set(wanted):
            raise NoArray(f"points have no column {wanted[0]!r}, which the model takes")
        order |= {feature: len(order) + i for i, feature in enumerate(same)}
    if list(order) == list(names):
        return array
    return array[:, [order[each] for each in names]]


def _feature_names(label: str, array: Array) -> list[str]:
    return [label] if array.ndim == 1 else [f"{label}[{i}]" for i in range(array.shape[1])]


def vector_column(feature: str) -> str:
    """Return the name of the vector column of a feature, or the feature itself."""
    column, bracket, _ = feature.rpartition("[")
    return column if bracket and feature.endswith("]") else feature


def _open_table(given: Any, name: str) -> _Table | None:
    """Return the argument as a table if it has labels. Raises NoArray."""
    if isinstance(given, list | tuple):
        if given and isinstance(given[0], Mapping):
            raise NoArray(
                f"{name} {_have(name)} a {type(given[0]).__name__} in row 0; give "
                f"pd.DataFrame({name})"
            )
        return None
    if isinstance(given, np.ndarray):
        return None if given.dtype.names is None else _open_records(given, name)
    _refuse_what_is_not_dense(given, name)
    _refuse_what_is_no_array(given, name)
    if hasattr(getattr(given, "dtypes", None), "items"):
        return _open_frame(given, name)
    if not is_arrow(given):
        return None
    labels, columns = _arrow_columns(given, name)
    if labels is None:
        return None

    def read(i: int) -> Array:
        subject = f"{name} {_have(name)} a column {labels[i]!r} of type {columns[i].type}"
        return read_arrow(columns[i], subject, _COLUMN)

    return _Table(labels, read)


def _open_records(records: NDArray[Any], name: str) -> _Table:
    labels = list(records.dtype.names or ())
    return _Table(labels, lambda i: _read(records[labels[i]], name, _COLUMN))


def _open_frame(frame: Any, name: str) -> _Table:
    labels, dtypes = [str(label) for label in frame.columns], list(frame.dtypes)
    kinds = {each.kind if isinstance(each, np.dtype) else "O" for each in dtypes}
    # pandas would convert booleans beside numbers to objects.
    if kinds <= {"b"} or kinds <= set(NUMBERS) - {"b"}:
        array = np.asarray(frame)
        return _Table(labels, lambda i: array[:, i], whole=array)

    def read(i: int) -> Array:
        dtype, column = dtypes[i], frame.iloc[:, i]
        subject = f"{name} {_have(name)} a column {labels[i]!r} of dtype {dtype}"
        if hasattr(dtype, "categories") or dtype.kind not in f"{NUMBERS}O":
            raise NoArray(f"{subject}, which is not numeric; give {_COLUMN}")
        array = np.asarray(column)
        if array.dtype.kind in NUMBERS:
            return array
        return read_objects(array.astype(object), f"{subject} with", _COLUMN)

    return _Table(labels, read)


def _join(table: _Table, indices: Sequence[int]) -> tuple[Array, list[list[str]]]:
    """Join columns to [n, d]; return also the names of the features of each."""
    if table.whole is not None and list(indices) == list(range(len(table.labels))):
        return table.whole, [[label] for label in table.labels]
    names, blocks = [], []
    for index in indices:
        label, array = table.labels[index], table.read(index)
        if array.ndim > 2:
            raise NoArray(
                f"column {label!r} has an array of shape {array.shape[1:]} in each row; give "
                "numbers or vectors"
            )
        names.append(_feature_names(label, array))
        blocks.append(array[:, None] if array.ndim == 1 else array)
    if len(blocks) == 1:
        return blocks[0], names
    return np.concatenate(blocks, axis=1) if blocks else np.empty((0, 0)), names


def _read(given: Any, name: str, wanted: str) -> Array:
    """Read an argument without labels."""
    if is_arrow(given):
        _, columns = _arrow_columns(given, name)
        return read_arrow(columns[0], f"{name} {_have(name)} type {columns[0].type}", wanted)
    if isinstance(given, np.ma.MaskedArray) and given.dtype.kind in NUMBERS:
        given = _fill(given)
    try:
        array = np.asarray(given)
    except InvalidPoints:  # the message of a RowSource
        raise
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        if not isinstance(given, list | tuple):
            raise NoArray(
                f"{_introduce(given, name)}, which cannot be read: {_first_line(error)}"
            ) from None
        array = _as_objects(given)
    if array.dtype.kind in NUMBERS:
        return array
    if array.dtype.name == "bfloat16":  # not NumPy's own
        return array.astype(np.float32)
    if not array.ndim:
        raise NoArray(f"{_introduce(given, name)}, which is not an array; give {wanted}")
    if array.dtype.kind not in "OSTU":
        raise NoArray(
            f"{name} {_have(name)} dtype {array.dtype}, which is not numeric; give {wanted}"
        )
    if array is not given and array.dtype != object:  # NumPy makes two texts of [1, "a"]
        array = np.array(given, object)
    return read_objects(array.astype(object), f"{name} {_have(name)}", wanted)


def _arrow_columns(given: Any, name: str) -> tuple[list[str] | None, list[Any]]:
    try:
        return arrow_columns(given)
    except ModuleNotFoundError:
        raise NoArray(
            f"{_introduce(given, name)}, which needs pyarrow: pip install pyarrow, or give an "
            "array of NumPy"
        ) from None


def _fill(masked: "np.ma.MaskedArray[Any, Any]") -> Array:
    if not np.ma.is_masked(masked):
        return np.asarray(masked)
    dtype = np.result_type(masked.dtype, np.float32)
    return np.where(np.ma.getmaskarray(masked), dtype.type(np.nan), masked.data.astype(dtype))


def _as_objects(rows: Sequence[Any]) -> NDArray[np.object_]:
    """Rows of unequal lengths, which NumPy does not convert."""
    objects = np.empty(len(rows), object)
    for index, row in enumerate(rows):
        objects[index] = row
    return objects


def _refuse_what_is_not_dense(given: Any, name: str) -> None:
    """Raise NoArray, with the remedy, for sparse and ragged rows."""
    said = _introduce(given, name)
    if hasattr(given, "nnz") and hasattr(given, "toarray"):
        size = _format_bytes(math.prod(given.shape) * given.dtype.itemsize)
        raise NoArray(
            f"{said} of shape {tuple(given.shape)}, which is sparse: only dense rows are taken; "
            f"give {name}.toarray(), which takes {size}"
        )
    if hasattr(given, "dense_shape") and hasattr(given, "indices"):
        raise NoArray(f"{said}, and only dense rows are taken; give tf.sparse.to_dense({name})")
    if hasattr(given, "bounding_shape") and hasattr(given, "to_tensor"):
        raise NoArray(
            f"{said}, and only rows of one length are taken; give {name}.to_tensor(), which fills "
            "shorter rows with 0"
        )


def _refuse_what_is_no_array(given: Any, name: str) -> None:
    """Raise NoArray, with the remedy, for objects that NumPy would convert wrongly or slowly."""
    said = _introduce(given, name)
    if hasattr(given, "as_numpy_iterator"):
        rank = getattr(getattr(given.element_spec, "shape", None), "rank", None)
        if rank is None:
            mend = f"map it to its rows alone, {name}.map(lambda row, label: row), and give them as"
        else:
            mend = "give its rows as"
        join = "np.concatenate" if rank == 2 else "np.stack"
        raise NoArray(f"{said}; {mend} an array: {join}(list({name}.as_numpy_iterator()))")
    if hasattr(given, "collect") and hasattr(given, "lazy"):
        raise NoArray(f"{said}, which holds no rows yet; give {name}.collect()")
    if hasattr(given, "ngroups"):
        raise NoArray(f"{said}, which is not an array; give the frame or the series that it groups")
    if isinstance(given, str | bytes | PurePath):
        raise NoArray(
            f"{said}, which is not an array; files are not read here: give the numbers, by "
            "pd.read_csv or np.load for a file of them; the command tfkmeans reads files"
        )
    if isinstance(given, IOBase):
        raise NoArray(f"{said}, which is not an array; give the result of pd.read_csv or np.load")
    if hasattr(given, "read_all"):
        raise NoArray(f"{said}, which can be read only once; give {name}.read_all()")
    if hasattr(given, "to_table") and hasattr(given, "count_rows"):
        raise NoArray(f"{said}, which holds no rows yet; give {name}.to_table()")
    if isinstance(given, Iterator):
        raise NoArray(f"{said}, which can be read only once; give list({name})")
    if isinstance(given, Mapping):
        raise NoArray(f"{said}; give a data frame, or np.column_stack(list({name}.values()))")


def _introduce(given: object, name: str) -> str:
    """Return the beginning of a sentence: "points are a csr_matrix"."""
    kind = type(given).__name__.lstrip("_")
    article = "an" if kind[0] in "AEIOUaeiou" else "a"
    return f"{name} {'are' if name.endswith('s') else 'is'} {article} {kind}"


def _have(name: str) -> str:
    return "have" if name.endswith("s") else "has"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _format_bytes(size: int) -> str:
    for unit, one in (("GB", 10**9), ("MB", 10**6)):
        if size >= one:
            return f"{size / one:,.1f} {unit}"
    return f"{size:,} bytes"
