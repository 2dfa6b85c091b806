"""Convert record batches of pyarrow to points and kept columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from numpy.typing import NDArray

from .table import Block, Fault


def read_points(
    batch: pa.RecordBatch,
    widths: Mapping[str, int],
    dtype: pa.DataType,
    faults: dict[int, Fault],
    *,
    by_columns: bool = False,
) -> Block:
    """Convert columns of numbers and vectors to an array [n, sum of widths] of ``dtype``.

    With ``by_columns``, points with only numbers are in column-major order.

    Null and empty vectors become NaN, and also a vector of another length than the width of its
    column, which is a fault of its row unless the row already has one. Decimals and large integers
    are rounded to the nearest float.
    """
    if not widths:
        return np.empty((len(batch), 0), dtype.to_pandas_dtype())
    if all(width == 1 and not is_list(batch.column(name).type) for name, width in widths.items()):
        schema = pa.schema([(name, dtype) for name in widths])
        cast = batch.select(list(widths)).cast(schema, safe=False)
        return cast.to_tensor(null_to_nan=True, row_major=not by_columns).to_numpy()
    blocks = [
        _read_vectors(name, batch.column(name), width, dtype, faults)
        for name, width in widths.items()
    ]
    return blocks[0] if len(blocks) == 1 else np.hstack(blocks)


def is_list(kind: pa.DataType) -> bool:
    """Whether the values of a type are lists, or tensors, which are lists of a fixed length."""
    return (
        pt.is_list(kind)
        or pt.is_large_list(kind)
        or pt.is_fixed_size_list(kind)
        or pt.is_list_view(kind)
        or pt.is_large_list_view(kind)
        or isinstance(kind, pa.FixedShapeTensorType)
    )


def storage_type(kind: pa.DataType) -> pa.DataType:
    """Return the list type in which tensors are stored; other types are unchanged."""
    return kind.storage_type if isinstance(kind, pa.FixedShapeTensorType) else kind


def list_lengths(cells: "pa.Array[Any]") -> NDArray[np.int64]:
    """Return the length of each list; 0 for null. Raises pyarrow.ArrowInvalid."""
    # The offsets of lists in an Arrow file may point outside the memory.
    cells.validate(full=True)
    lengths = pc.list_value_length(_storage(cells)).fill_null(0).cast(pa.int64())
    found: NDArray[np.int64] = lengths.to_numpy()
    return found


def _read_vectors(
    name: str,
    cells: "pa.Array[Any]",
    width: int,
    dtype: pa.DataType,
    faults: dict[int, Fault],
) -> Block:
    """Return a column as an array [n, width]; a view of its numbers if possible."""
    if not is_list(cells.type):
        numbers = cells.cast(dtype, safe=False).to_numpy(zero_copy_only=False)
        return np.broadcast_to(numbers[:, np.newaxis], (len(cells), width))
    lengths = list_lengths(cells)
    has_width = lengths == width
    if not has_width.all():
        for row in np.flatnonzero(~has_width & (lengths > 0)).tolist():
            reason = f"holds a vector of {lengths[row]} numbers, and {width} are needed"
            faults.setdefault(row, Fault(name, reason))
        cells = cells.filter(pa.array(has_width))
    flat = _storage(cells).flatten().cast(dtype, safe=False).to_numpy(zero_copy_only=False)
    vectors: Block = flat.reshape(-1, width)
    if len(vectors) == len(lengths):
        return vectors
    block = np.full((len(lengths), width), np.nan, flat.dtype)
    block[has_width] = vectors
    return block


def _storage(cells: "pa.Array[Any]") -> Any:
    """Return the lists of an array of lists or tensors."""
    return cells.storage if isinstance(cells, pa.ExtensionArray) else cells


def keep_columns(
    batch: pa.RecordBatch, types: Mapping[str, pa.DataType], faults: dict[int, Fault]
) -> pa.RecordBatch | None:
    """Select columns by name and cast them to these types; None if there are none.

    When bytes are cast to text, a cell that is not UTF-8 becomes null and a fault of its row,
    unless the row already has one.
    """
    if not types:
        return None
    columns = [
        _decode(name, cells, faults)
        if pt.is_binary(cells.type) and pt.is_string(kind)
        else cells.cast(kind)
        for name, kind in types.items()
        for cells in [batch.column(name)]
    ]
    return pa.record_batch(columns, schema=pa.schema(types))


def _decode(name: str, cells: "pa.Array[Any]", faults: dict[int, Fault]) -> "pa.Array[Any]":
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        pass  # of all cells together; the bad cells are then found one by one
    texts: list[str | None] = []
    for row, cell in enumerate(cells.to_pylist()):
        try:
            texts.append(cell if cell is None else cell.decode())
        except UnicodeDecodeError as error:
            texts.append(None)
            reason = f"{error.object[:60]!r} is not UTF-8; write text in UTF-8"
            faults.setdefault(row, Fault(name, reason))
    return pa.array(texts, pa.string())
