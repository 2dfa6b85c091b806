"""The rows of a fit that are read repeatedly from a cache."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from export.feature_names import group_vectors, shorten_names
from kmeans_module.column_fitting import Impute
from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn
from kmeans_module.row_source import RowSource
from kmeans_module.workers import ALONE, Reducer

from .column_fills import find_fills
from .columns import expand_columns
from .encoded_rows import Encoding, describe_encoding
from .errors import ColumnMismatch, NoRows
from .kept_rows import KeptRows
from .raw_rows import CategoryCells, encode_values
from .row_cache import CacheHeader, RowCache
from .training_rows import ONLY_ZEROS, ClusteredRows

#: The most numbers of the encoded sample: 64 MiB.
_MOST_OF_SAMPLE = 2**24

#: Weights per read.
_WEIGHTS = 2**20


@dataclass(frozen=True, eq=False)
class StreamedRows(ClusteredRows):
    """Rows of a fit that need not fit in memory.

    Attributes:
        source: the source of the rows [n, d], float32, finite, and of their weights.
        sample: float32 [m, d], a uniform sample of the rows.
        sample_weights: float32 [m].
        rounded: the features that lost digits when they were rounded to float32.
        feature_weight: the weights of the d features; None if all are 1.
        takes: the columns of a model that takes them by name; else empty.
        raw: the same rows before encoding.
        header: the statistics of the cache.
        imputed: the number of replaced missing numbers of each column that has some.
        impute: the requested replacement.
        rows_elsewhere: the number of rows of the fit on other workers. All attributes except
            ``source`` and ``raw`` refer to the rows of all workers.
    """

    columns: tuple[str, ...]
    source: RowSource
    sample: NDArray[np.float32]
    sample_weights: NDArray[np.float32]
    rows_read: int
    missing: Mapping[str, int]
    zero_rows: int
    rounded: tuple[str, ...]
    weight_column: str | None
    raw: RowSource
    header: CacheHeader
    feature_weight: Sequence[float] | None = None
    takes: tuple[Column, ...] = ()
    imputed: Mapping[str, int] = field(default_factory=dict)
    impute: Impute = None
    rows_elsewhere: int = 0

    @property
    def widths(self) -> Sequence[tuple[str, int]]:
        if not self.takes:
            return group_vectors(self.columns)
        return [(column.name, len(column.feature_names)) for column in self.takes]

    @property
    def n_rows(self) -> int:
        return len(self.source) + self.rows_elsewhere

    @property
    def fit_points(self) -> RowSource:
        """The rows for a fit."""
        return self.source

    @property
    def fit_weights(self) -> None:
        """None, because a source has its own weights."""

    def features_beyond_float32(self) -> tuple[str, ...]:
        return self.rounded

    def take_columns(self, numbers: NDArray[np.int64]) -> dict[str, Any]:
        """Return the columns of the model by name, in the rows with these ascending numbers."""
        values = _values(self.header, self.takes, self.raw.take(numbers))
        return {
            column.name: each.to_arrow() if isinstance(each, CategoryCells) else each
            for column, each in zip(self.takes, values, strict=True)
        }

    def with_every_row(self, raw: RowSource) -> Self:
        """Return the same rows with the raw rows of all workers on one worker."""
        source = _EncodedRows(raw, self.header, self.takes) if self.takes else raw
        return replace(self, raw=raw, source=source, rows_elsewhere=0)

    def notes(self) -> list[str]:
        encoded = describe_encoding(self.takes, self.rows_read, self.imputed, self.impute)
        return super().notes() + encoded


def stream_rows(
    cache: RowCache,
    columns: Sequence[str],
    encoding: Encoding | None = None,
    *,
    skip_zero_rows: bool = False,
    reducer: Reducer = ALONE,
) -> StreamedRows:
    """Return the complete rows of a cache for a fit.

    If rows may be incomplete, or rows of zeros are omitted, one pass over all rows finds them.
    Replacing missing numbers by the mean takes one more pass, by the median six.

    Args:
        cache: the open cache.
        columns: the columns, in the order of their features.
        encoding: the options of the encoding; None if the model takes only numbers.
        skip_zero_rows: whether to omit rows of zeros too.
        reducer: the reducer of the workers; each has a cache of ``share_cache``.

    Raises:
        ColumnMismatch: a column to encode has no value.
        NoRows: there is no row, or none of positive weight.
        UnreadableRows: the cache cannot be read.
    """
    header = cache.header
    takes = () if encoding is None else _fit_columns(cache, columns, encoding, reducer)
    source, sample, sample_weights = cache.source, cache.sample, cache.sample_weights
    if takes:
        source = _EncodedRows(source, header, takes)
        # For categories with many values, fewer rows of the sample: one in ``step``.
        step = math.ceil(len(sample) * source.shape[1] / _MOST_OF_SAMPLE)
        sample, sample_weights = sample[:: max(1, step)], sample_weights[:: max(1, step)]
        sample = encode_values(takes, _values(header, takes, sample))
    filled = {
        each.name for each in takes if isinstance(each, NumberColumn) and each.fill is not None
    }
    missing = {name: count for name, count in header.missing.items() if name not in filled}
    files = ", ".join(each[0] for each in header.inputs)
    raw, zero_rows, is_used = cache.source, 0, ~np.isnan(sample).any(axis=1)
    if skip_zero_rows or missing:
        kept = KeptRows.find(source, skip_zero_rows=skip_zero_rows)
        rows, zero_rows = map(int, reducer.sum([len(kept), kept.zero_rows]))
        _require_rows(files, rows, zero_rows, header.rows, missing)
        source = kept
        raw = KeptRows(cache.source, kept.kept, 0)
        is_used &= sample.any(axis=1) | (not skip_zero_rows)
    _require_weight(files, source, header.weight_column, reducer)
    features = [name for each in takes for name in each.feature_names]
    return StreamedRows(
        columns=tuple(features) or expand_columns(header.widths),
        source=source,
        sample=sample[is_used],
        sample_weights=sample_weights[is_used],
        rows_read=header.rows,
        missing=missing,
        zero_rows=zero_rows,
        rounded=header.rounded,
        weight_column=header.weight_column,
        raw=raw,
        header=header,
        takes=takes,
        imputed={name: count for name, count in header.missing.items() if name in filled},
        impute=None if encoding is None else encoding.impute,
        rows_elsewhere=int(reducer.sum([len(source)])[0]) - len(source),
    )


class _EncodedRows(RowSource):
    """The rows of a cache, encoded as points."""

    def __init__(self, source: RowSource, header: CacheHeader, takes: Sequence[Column]) -> None:
        self._source, self._header, self._takes = source, header, takes
        self.shape = len(source), sum(len(each.feature_names) for each in takes)
        self.dtype, self.is_weighted = source.dtype, source.is_weighted

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        values = _values(self._header, self._takes, self._source.read(start, stop))
        return encode_values(self._takes, values)

    def read_weights(self, start: int, stop: int) -> NDArray[Any]:
        return self._source.read_weights(start, stop)


def _values(
    header: CacheHeader, takes: Sequence[Column], rows: NDArray[np.float32]
) -> list[NDArray[np.float32] | CategoryCells]:
    """Return the columns of a model in rows of a cache, as inputs of its encoder."""
    places = _places(header)
    found: list[NDArray[np.float32] | CategoryCells] = []
    for column in takes:
        start, stop = places[column.name]
        if isinstance(column, CategoryColumn):
            codes = rows[:, start].astype(np.int32)
            found.append(CategoryCells(codes, tuple(header.categories[column.name])))
        else:
            is_vector = isinstance(column, VectorColumn)
            found.append(rows[:, start:stop] if is_vector else rows[:, start])
    return found


def _places(header: CacheHeader) -> dict[str, tuple[int, int]]:
    """Return the range of each column in the numbers of a row."""
    places, start = {}, 0
    for name, width in [*header.widths.items(), *((name, 1) for name in header.categories)]:
        places[name] = start, start + width
        start += width
    return places


def _fit_columns(
    cache: RowCache, columns: Sequence[str], encoding: Encoding, reducer: Reducer
) -> tuple[Column, ...]:
    """Fit the columns of a model to all rows. Raises ColumnMismatch."""
    header, places = cache.header, _places(cache.header)
    files = ", ".join(each[0] for each in header.inputs)
    found: list[Column] = []
    for name in columns:
        if name in header.categories:
            values = tuple(sorted(header.categories[name]))
            if not values:
                raise ColumnMismatch(
                    f"{files}: column {name!r} holds no value; leave it out of --categories"
                )
            found.append(CategoryColumn(name, values, encoding.unknown == "category"))
            continue
        if header.missing.get(name) == header.rows:
            raise ColumnMismatch(
                f"{files}: column {name!r} holds no value; leave it out with --exclude"
            )
        width = header.widths[name]
        found.append(VectorColumn(name, width) if width > 1 else NumberColumn(name))
    numbers = [places[each.name][0] for each in found if isinstance(each, NumberColumn)]
    counts = [header.counts[place] for place in numbers]
    fills = iter(find_fills(cache.source, numbers, counts, encoding.impute, reducer))
    return tuple(
        replace(each, fill=next(fills)) if isinstance(each, NumberColumn) else each
        for each in found
    )


def _require_rows(
    files: str, rows: int, zero_rows: int, rows_read: int, missing: Mapping[str, int]
) -> None:
    """Check that a row remains. Raises NoRows."""
    if not rows + zero_rows:
        lacking = shorten_names([f"{name!r} lacks {count}" for name, count in missing.items()])
        raise NoRows(
            f"{files}: each of the {rows_read} rows has a missing value ({lacking}); give "
            "--impute for numbers, or choose other columns with --columns or --exclude"
        )
    if not rows:
        raise NoRows(f"{files}: {ONLY_ZEROS}")


def _require_weight(files: str, source: RowSource, column: str | None, reducer: Reducer) -> None:
    """Check that a row has a weight above 0. Raises NoRows."""
    if column is None:
        return
    starts = range(0, len(source), _WEIGHTS)
    has_weight = any(source.weights[n : n + _WEIGHTS].any() for n in starts)
    if not reducer.sum([has_weight])[0]:
        raise NoRows(
            f"{files}: no row that is left has a weight above 0 in the column {column!r}; give at "
            "least one"
        )
