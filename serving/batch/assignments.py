"""The clusters of the rows of tables, batch by batch, for who writes them elsewhere himself."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.contract import BAD_ROW
from serving.clients.results import Assignment

from ..tables.feature_columns import model_columns
from ..tables.table import Block, Table
from .scorer import Assigner

#: Bytes of points that are scored at a time; a request to a server stays below its limits too.
_BATCH_BYTES: Final = 2 * 2**20

_BATCH_ROWS: Final = 2**15


def batch_rows(n_features: int) -> int:
    """The rows that are scored at a time."""
    return min(_BATCH_ROWS, max(1, _BATCH_BYTES // (4 * n_features)))


def as_points(block: Block) -> NDArray[np.float32]:
    """A block as a model takes it; a number beyond float32 becomes infinity, so that it is bad."""
    with np.errstate(over="ignore"):
        points: NDArray[Any] = block.astype(np.float32, copy=False)
    return points


def assignments(
    tables: Iterable[Table], scorer: Assigner, feature_names: Sequence[str]
) -> Iterator[Assignment]:
    """Score the rows of ``tables`` in order, batch by batch; the columns are checked at once.

    A row with a missing value or infinity has -1 in both columns.

    Raises:
        ColumnMismatch: a table lacks a column, or it holds no numbers.
        BadCell: a cell is not a number.
        UnreadableFile: a file is damaged.
    """
    picked = [(table, model_columns(table, feature_names)) for table in tables]
    return _assignments(picked, scorer)


def _assignments(
    picked: Iterable[tuple[Table, Sequence[str]]], scorer: Assigner
) -> Iterator[Assignment]:
    for table, columns in picked:
        rows = batch_rows(len(columns))
        for block in table.blocks(columns):
            points = as_points(block)
            for start in range(0, len(points), rows):
                yield scorer.assign(points[start : start + rows])


def count_not_scored(assignment: Assignment) -> int:
    """The rows that have -1 for an answer."""
    return int(np.count_nonzero(assignment.cluster_index == BAD_ROW))
