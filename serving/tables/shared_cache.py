"""The caches of several workers: each has its own rows, and all know what is known of all rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from export.feature_names import shorten_names
from kmeans_module.row_sample import draw_sample
from kmeans_module.row_source import RowSource
from kmeans_module.shared_source import share_rows
from kmeans_module.workers import Reducer

from .errors import NoRows
from .float32_rounding import Float32Rounding
from .row_cache import CacheHeader, RowCache, sample_rows


def share_cache(cache: RowCache | None, widths: Mapping[str, int], reducer: Reducer) -> RowCache:
    """The rows of this worker, with the header and the sample that a cache of all rows has.

    Args:
        cache: of this worker's rows; None where it has none.
        widths: how many numbers each column has.
        reducer: how the workers come together.

    Raises:
        NoRows: no worker has a row.
        WorkerLost, WorkerFailed: as ``connect_workers`` says.
    """
    header = _merge_headers(_gather_headers(None if cache is None else cache.header, reducer))
    d = sum(widths.values())
    source = RowSource.without_rows(d) if cache is None else cache.source
    shared, share = share_rows(source, reducer)
    numbers, weights = draw_sample(shared.weights, sample_rows(d), 0, share)
    sample = reducer.gather(shared.take(numbers))
    return RowCache(header, source, sample, reducer.gather(weights))


def _gather_headers(header: CacheHeader | None, reducer: Reducer) -> list[CacheHeader]:
    """Those of all workers that have a cache."""
    text = b"" if header is None else json.dumps(asdict(header)).encode() + b"\n"
    lines = reducer.gather(np.frombuffer(text, np.uint8)).tobytes().splitlines()
    return [CacheHeader(**json.loads(line)) for line in lines]


def _merge_headers(headers: Sequence[CacheHeader]) -> CacheHeader:
    """What is known of the rows of all. Raises NoRows."""
    first, rows = headers[0], sum(each.rows for each in headers)
    # Of a file that several workers read, each has the fingerprint.
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
        categories={},
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
