"""The clusters of the rows of tables, batch by batch, for callers that write them themselves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.clients.results import Assignment

from ..tables.columns import select_model_columns, to_float32
from ..tables.table import Table

#: The ``assign`` of a scorer or of a client: points float32 [n, d] to what is said of them.
Assign = Callable[[NDArray[np.float32]], Assignment]

#: Bytes of points that are scored at a time; a request to a server stays below its limits too.
_BATCH_BYTES: Final = 2 * 2**20

_BATCH_ROWS: Final = 2**15


def batch_rows(n_features: int) -> int:
    """The rows that are scored at a time."""
    return min(_BATCH_ROWS, max(1, _BATCH_BYTES // (4 * n_features)))


def assign_rows(
    tables: Iterable[Table], assign: Assign, feature_names: Sequence[str]
) -> Iterator[Assignment]:
    """Assign the rows of ``tables`` in order, batch by batch; the columns are checked at once.

    A row with a missing value or infinity has -1 in both columns.

    Raises:
        ColumnMismatch: a table lacks a column, or it holds no numbers.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
    """
    selected = [(table, select_model_columns(table, feature_names)) for table in tables]
    rows = batch_rows(len(feature_names))
    return (
        assign(points[start : start + rows])
        for table, columns in selected
        for points in map(to_float32, table.with_widths(columns).blocks(list(columns)))
        for start in range(0, len(points), rows)
    )
