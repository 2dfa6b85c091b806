"""Text that is carried along from files that do not promise to hold UTF-8."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from .table import Fault


def kept_text(
    batch: pa.RecordBatch, keep: Sequence[str], faults: dict[int, Fault]
) -> pa.RecordBatch | None:
    """The columns to keep, bytes as text; other types stay. None when there are none to keep.

    A cell that is not UTF-8 becomes null, and a fault of its row, which may have one already.
    """
    if not keep:
        return None
    columns = [
        _text(name, cells, faults) if pt.is_binary(cells.type) else cells
        for name in keep
        for cells in [batch.column(name)]
    ]
    return pa.record_batch(columns, list(keep))


def _text(name: str, cells: "pa.Array[Any]", faults: dict[int, Fault]) -> "pa.Array[Any]":
    try:
        return cells.cast(pa.string())
    except pa.ArrowInvalid:
        pass  # of all cells together; which they are, only a look at each can tell
    good = [cell is None or _is_utf8(cell) for cell in cells.to_pylist()]
    for row, is_good in enumerate(good):
        if not is_good:
            reason = f"{cells[row].as_py()[:60]!r} is not UTF-8; write text in UTF-8"
            faults.setdefault(row, Fault(row, name, reason))
    text: pa.Array[Any] = pc.if_else(pa.array(good), cells, pa.scalar(None, cells.type))
    return text.cast(pa.string())


def _is_utf8(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
