"""The clusters of the rows of tables, batch by batch, for callers that write them themselves."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from kmeans_module.contract import BAD_ROW
from serving.clients.results import Assignment

from ..tables.columns import select_model_columns, to_float32
from ..tables.table import Table
from .scorer import Assigner

#: Bytes of points that are scored at a time; a request to a server stays below its limits too.
_BATCH_BYTES: Final = 2 * 2**20

_BATCH_ROWS: Final = 2**15


def batch_rows(n_features: int) -> int:
    """The rows that are scored at a time."""
    return min(_BATCH_ROWS, max(1, _BATCH_BYTES // (4 * n_features)))


def assign_rows(
    tables: Iterable[Table], scorer: Assigner, feature_names: Sequence[str]
) -> Iterator[Assignment]:
    """Score the rows of ``tables`` in order, batch by batch; the columns are checked at once.

    A row with a missing value or infinity has -1 in both columns.

    Raises:
        ColumnMismatch: a table lacks a column, or it holds no numbers.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
    """
    picked = [(table, select_model_columns(table, feature_names)) for table in tables]
    return _assign(picked, scorer)


def _assign(
    picked: Iterable[tuple[Table, Sequence[str]]], scorer: Assigner
) -> Iterator[Assignment]:
    for table, columns in picked:
        rows = batch_rows(len(columns))
        for block in table.blocks(columns):
            points = to_float32(block)
            for start in range(0, len(points), rows):
                yield scorer.assign(points[start : start + rows])


def count_not_scored(assignment: Assignment) -> int:
    """The rows that have -1 for an answer."""
    return int(np.count_nonzero(assignment.cluster_index == BAD_ROW))
