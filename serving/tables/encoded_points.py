"""Encode the rows of a scorer as points, like the served graph, but without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module.columns import CategoryColumn, Column

from .raw_rows import CategoryCells, encode_values


def encode_points(columns: Sequence[Column], rows: Any) -> NDArray[np.floating[Any]] | None:
    """Return the points of rows, [n, d] in raw units; None if the rows are not from ``ModelRows``.

    Args:
        columns: the columns that the model takes by name.
        rows: points, or columns by name.
    """
    if isinstance(rows, np.ndarray):
        return rows if rows.ndim == 2 and rows.dtype.kind == "f" else None
    if not isinstance(rows, Mapping) or not columns:
        return None
    values: list[NDArray[np.float32] | CategoryCells] = []
    for column in columns:
        given = rows.get(column.name)
        if isinstance(column, CategoryColumn):
            given = _read_codes(given)
        elif not isinstance(given, np.ndarray):
            given = None
        if given is None:
            return None
        values.append(given)
    return encode_values(columns, values)


def _read_codes(given: Any) -> CategoryCells | None:
    import pyarrow as pa

    if not isinstance(given, pa.DictionaryArray):
        return None
    codes = given.indices.fill_null(-1).to_numpy()
    return CategoryCells(codes, tuple(text or "" for text in given.dictionary.to_pylist()))
