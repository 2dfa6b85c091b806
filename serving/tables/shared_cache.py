"""The caches of several workers: each has its own rows, and the statistics of all rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from export.feature_names import shorten_names
from kmeans_module.row_sample import draw_sample
from kmeans_module.row_source import RowSource
from kmeans_module.shared_source import share_rows
from kmeans_module.workers import Reducer

from .encoded_rows import require_few_values
from .errors import NoRows
from .float32_rounding import Float32Rounding
from .row_cache import CacheHeader, RowCache, sample_rows


def share_cache(
    cache: RowCache | None,
    widths: Mapping[str, int],
    categories: Sequence[str],
    reducer: Reducer,
) -> RowCache:
    """Return the rows of this worker with the header and the sample of a cache of all rows.

    Args:
        cache: the cache of the rows of this worker; None without rows.
        widths: the widths of columns of numbers or vectors.
        categories: the category columns.
        reducer: the reducer of the workers.

    Raises:
        ColumnMismatch: a category has too many values.
        NoRows: no worker has a row.
        WorkerLost, WorkerFailed: see ``connect_workers``.
    """
    header = _merge_headers(_gather_headers(None if cache is None else cache.header, reducer))
    for name, values in header.categories.items():
        require_few_values(name, len(values), header.rows)
    d = sum(widths.values()) + len(categories)
    source = RowSource.without_rows(d) if cache is None else _recode(cache, header.categories)
    shared, share = share_rows(source, reducer)
    numbers, weights = draw_sample(shared.weights, sample_rows(d), 0, share)
    sample = reducer.gather(shared.take(numbers))
    return RowCache(header, source, sample, reducer.gather(weights))


def _recode(cache: RowCache, categories: Mapping[str, Sequence[str]]) -> RowSource:
    """Return the rows of a cache with categories as indices in these lists of values."""
    own = cache.header.categories
    # The worker whose values come first already has these indices.
    if all(list(categories[name][: len(values)]) == values for name, values in own.items()):
        return cache.source
    places = {
        name: {text: n for n, text in enumerate(values)} for name, values in categories.items()
    }
    return _RecodedRows(
        cache.source,
        # A missing value is -1, which selects the last.
        [
            np.array([*(places[name][text] for text in values), -1], np.float32)
            for name, values in own.items()
        ],
    )


class _RecodedRows(RowSource):
    """Rows whose last columns are replaced by other numbers."""

    def __init__(self, source: RowSource, numbers: Sequence[NDArray[np.float32]]) -> None:
        """Set the replacement of each number of these columns, that of -1 at the end."""
        self.shape, self.dtype, self.is_weighted = source.shape, source.dtype, source.is_weighted
        self._source, self._numbers = source, numbers

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._source.read(start, stop).copy()
        first = rows.shape[1] - len(self._numbers)
        for place, numbers in enumerate(self._numbers, first):
            rows[:, place] = numbers[rows[:, place].astype(np.intp)]
        return rows

    def read_weights(self, start: int, stop: int) -> NDArray[np.float32]:
        return self._source.read_weights(start, stop)


def _gather_headers(header: CacheHeader | None, reducer: Reducer) -> list[CacheHeader]:
    """Return the headers of all workers that have a cache."""
    text = b"" if header is None else json.dumps(asdict(header)).encode() + b"\n"
    lines = reducer.gather(np.frombuffer(text, np.uint8)).tobytes().splitlines()
    return [CacheHeader(**json.loads(line)) for line in lines]


def _merge_headers(headers: Sequence[CacheHeader]) -> CacheHeader:
    """Merge the statistics of all rows. Raises NoRows."""
    first, rows = headers[0], sum(each.rows for each in headers)
    # If several workers read a file, each has its fingerprint.
    inputs = list({each[0]: each for header in headers for each in header.inputs}.values())
    if not rows:
        names = shorten_names([each[0] for each in inputs])
        raise NoRows(f"{names}: has a header and no rows; give at least one row")
    missing = {
        name: count
        for name in [*first.widths, first.weight_column or ""]
        if (count := sum(each.missing.get(name, 0) for each in headers))
    }
    rounding = Float32Rounding.of(first.rounding)
    for each in headers[1:]:
        rounding.merge(Float32Rounding.of(each.rounding))
    counts, means, variances = (
        np.array([getattr(each, name) for each in headers])
        for name in ("counts", "mean", "variance")
    )
    total = counts.sum(axis=0)
    mean = (counts * means).sum(axis=0) / np.maximum(total, 1)
    squares = counts * (variances + np.square(means - mean))
    return CacheHeader(
        inputs=inputs,
        widths=first.widths,
        categories={
            name: list(dict.fromkeys(text for each in headers for text in each.categories[name]))
            for name in first.categories
        },
        weight_column=first.weight_column,
        rows=rows,
        missing=missing,
        rounding=rounding.numbers.tolist(),
        counts=total.tolist(),
        low=np.min([each.low for each in headers], axis=0).tolist(),
        high=np.max([each.high for each in headers], axis=0).tolist(),
        mean=mean.tolist(),
        variance=(squares.sum(axis=0) / np.maximum(total, 1)).tolist(),
    )
