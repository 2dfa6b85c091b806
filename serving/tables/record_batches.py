"""Record batches of pyarrow as points, and as columns that are carried along."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from .table import Block, Fault


def read_points(batch: pa.RecordBatch, columns: Sequence[str], dtype: pa.DataType) -> Block:
    """Numeric columns as an array [n, len(columns)] of ``dtype``; null becomes NaN.

    A decimal or a large integer is rounded to the nearest float.
    """
    schema = pa.schema([(column, dtype) for column in columns])
    cast = batch.select(list(columns)).cast(schema, safe=False)
    return cast.to_tensor(null_to_nan=True, row_major=True).to_numpy()


def keep_columns(
    batch: pa.RecordBatch, types: Mapping[str, pa.DataType], faults: dict[int, Fault]
) -> pa.RecordBatch | None:
    """The columns of these names, cast to these types; None when there are none.

    Where bytes are to be text, a cell that is not UTF-8 becomes null, and a fault of its row, which
    may have one already.
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
        pass  # of all cells together; which they are, only a look at each can tell
    texts: list[str | None] = []
    for row, cell in enumerate(cells.to_pylist()):
        try:
            texts.append(cell if cell is None else cell.decode())
        except UnicodeDecodeError as error:
            texts.append(None)
            reason = f"{error.object[:60]!r} is not UTF-8; write text in UTF-8"
            faults.setdefault(row, Fault(name, reason))
    return pa.array(texts, pa.string())
