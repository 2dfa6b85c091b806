"""The clusters of the rows of tables, batch by batch, for callers that write them themselves."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from serving.clients.results import Assignment

from ..tables.model_rows import Inputs, ModelRows

#: The ``assign`` of a scorer or of a client: n rows to what is said of them.
Assign = Callable[[Inputs], Assignment]

#: Bytes of points that are scored at a time; a request to a server stays below its limits too.
_BATCH_BYTES: Final = 2 * 2**20

_BATCH_ROWS: Final = 2**15


def batch_rows(n_features: int) -> int:
    """The rows that are scored at a time."""
    return min(_BATCH_ROWS, max(1, _BATCH_BYTES // (4 * n_features)))


def assign_rows(tables: Sequence[ModelRows], assign: Assign) -> Iterator[Assignment]:
    """Assign the rows of ``tables`` in order, batch by batch; the columns are checked at once.

    A row with a missing value that nothing takes the place of, or infinity, has -1 in both columns.

    Raises:
        ColumnMismatch: a column holds what the model does not take.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
    """
    for rows in tables:
        rows.check()
    return (
        assign(rows.inputs(chunk.slice(start, start + size)))
        for rows in tables
        for size in [batch_rows(rows.count_features())]
        for chunk in rows.sound_chunks()
        for start in range(0, len(chunk.points), size)
    )
