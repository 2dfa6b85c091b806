"""The rows of a source in the model's space: the passes before the first step, and the blocks.

The results have the same bits as those of an array in memory: extremes and sums of integers do not
depend on blocks, and the sample has the same rows. Memory has a few blocks for each core.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain, cycle
from operator import add
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .aligned_window import BlockMemory
from .array_types import Array, Float32, Float64, Table
from .blocks import block_ranges, rows_per_block
from .cores import one_ahead
from .errors import InvalidPoints, InvalidWeights
from .fixed_point import FixedSum
from .model_space import Distance, ModelSpace, find_space, mean_direction
from .row_share import RowShare
from .row_source import RowSource
from .rows import Rows, sample_places
from .validation import NO_WEIGHT, check_weight_values
from .weighted_rows import (
    RowMeasure,
    RowTotals,
    WeightRange,
    least_magnitude,
    typical_numbers,
)

#: Numbers of a block. Each core has two blocks in memory.
_BLOCK_NUMBERS: Final = 2**21


class RowBlock(NamedTuple):
    """Consecutive rows.

    Attributes:
        first: the number of the first row.
        points: [m, d].
        weight: float32 [m].
    """

    first: int
    points: Rows
    weight: Float32


@dataclass(frozen=True, eq=False)
class SourceRows(RowTotals):
    """The rows of a source, read in blocks, and the totals over all of them.

    Attributes:
        source: the source of the rows.
        space: the model's space.
        share: the share of rows that this process reads.
    """

    source: RowSource
    space: ModelSpace
    share: RowShare

    @classmethod
    def enter(
        cls,
        source: RowSource,
        *,
        standardize: bool,
        distance: Distance,
        feature_weight: Float64 | None = None,
        share: RowShare | None = None,
    ) -> "SourceRows":
        """Compute the totals that a fit needs, in two to five passes over all rows.

        Args:
            source: all rows.
            standardize, distance, feature_weight: see `fit`.
            share: the share of rows that this process reads, by default all.

        Raises:
            InvalidPoints, InvalidWeights: see `fit`.
        """
        _check_source(source)
        share = share or RowShare.whole(len(source))
        own = _weight_range(source, share)
        weights = _reduce_range(own, share)
        places = sample_places(weights.counted, source.shape[1])
        numbers = _weighted_numbers(source, places, own.counted, share)
        sample = share.reducer.gather(source.take(numbers))
        space = find_space(
            source,
            source.weights,
            sample,
            has_zero_weight=weights.least == 0,
            standardize=standardize,
            distance=distance,
            feature_weight=feature_weight,
            share=share,
        )
        if distance == "cosine":
            mean = mean_direction(_Directions(source, space), source.weights, share)
            space = replace(space, mean=mean)
        totals = _measure(source, space, weights, sample, share)
        return cls(source=source, space=space, share=share, **vars(totals))

    def blocks(self, start: int, stop: int) -> Iterator[RowBlock]:
        """Yield the rows ``start`` to ``stop`` (exclusive) in blocks; one block is read ahead."""
        return _placed_blocks(self.source, self.space, start, stop)


def _check_source(source: RowSource) -> None:
    n, d = source.shape
    if n < 1 or d < 1:
        raise InvalidPoints(
            f"the source has the shape {(n, d)}; give at least one row and one feature"
        )
    if source.dtype.kind not in "buif":
        raise InvalidPoints(
            f"the source has dtype {source.dtype}, which is not numeric; give numbers"
        )


def _weight_range(source: RowSource, share: RowShare) -> WeightRange:
    """Check the weights of the share, and return their range. Raises InvalidWeights."""
    nothing = WeightRange(np.inf, np.inf, 0.0, 0)
    if not source.is_weighted:
        rows = share.stop - share.start
        return WeightRange(1.0, 1.0, 1.0, rows) if rows else nothing

    def find_range(start: int, stop: int) -> WeightRange:
        parts = (
            WeightRange.of(check_weight_values(source.read_weights(first, last), first))
            for first, last in block_ranges(start, stop, rows_per_block(1))
        )
        return reduce(WeightRange.merge, parts)

    return reduce(WeightRange.merge, share.map_ranges(find_range), nothing)


def _reduce_range(own: WeightRange, share: RowShare) -> WeightRange:
    """Return the range of the weights of all rows. Raises InvalidWeights."""
    least, light, heavy = share.reducer.maximum([-own.least, -own.light, own.heavy])
    (counted,) = share.reducer.sum([own.counted])
    if not counted:
        raise InvalidWeights(NO_WEIGHT)
    return WeightRange(float(-least), float(-light), float(heavy), int(counted))


def _weighted_numbers(
    source: RowSource, places: NDArray[np.int64], counted: int, share: RowShare
) -> NDArray[np.int64]:
    """Return the row numbers of ascending places among the rows of positive weight.

    Only rows in the share are returned; ``counted`` of its rows have a positive weight.
    """
    if not source.is_weighted:
        return share.part(places)
    counts = share.reducer.gather(np.array([counted]))
    found, before = [np.empty(0, np.int64)], int(counts[: share.reducer.worker].sum())
    for first, last in block_ranges(share.start, share.stop, rows_per_block(1)):
        weighted = np.flatnonzero(source.weights[first:last])
        start, stop = np.searchsorted(places, [before, before + len(weighted)])
        found.append(first + weighted[places[start:stop] - before])
        before += len(weighted)
    return np.concatenate(found)


def _measure(
    source: RowSource, space: ModelSpace, weights: WeightRange, sample: Array, share: RowShare
) -> RowTotals:
    """Compute the totals of all rows, given the raw rows of the sample."""
    n = len(source)

    def find_least(columns: NDArray[np.bool_]) -> Float64:
        def of_range(start: int, stop: int) -> list[Float64]:
            return [
                least_magnitude(block.points, block.weight, columns, 0, len(block.weight))
                for block in _placed_blocks(source, space, start, stop)
            ]

        nothing = np.full(np.count_nonzero(columns), np.inf)
        found = chain([nothing], *share.map_ranges(of_range))
        least: Float64 = -share.reducer.maximum(-np.min(list(found), axis=0))
        return np.where(np.isfinite(least), least, 0)

    def sum_range(start: int, stop: int) -> list[tuple[FixedSum, ...]]:
        return [
            measure.sums(block.points.squared_norms(0, len(block.weight)), block.weight)
            for block in _placed_blocks(source, space, start, stop)
        ]

    placed = space.place(sample).gather(np.arange(len(sample)))
    typical = typical_numbers(placed, space.largest, find_least)
    measure = RowMeasure(space.largest, typical, weights, n)
    own = measure.sums(np.empty(0), np.empty(0, np.float32))
    for sums in chain(*share.map_ranges(sum_range)):
        own = tuple(map(add, own, sums))
    return measure.totals([tuple(each.reduce(share.reducer) for each in own)])


def _placed_blocks(
    source: RowSource, space: ModelSpace, start: int, stop: int
) -> Iterator[RowBlock]:
    """Yield the rows of a range in blocks; a block is valid until the next is requested."""
    d = source.shape[1]
    m = min(rows_per_block(d, _BLOCK_NUMBERS), stop - start)
    memories = cycle([BlockMemory(m, d), BlockMemory(m, d)])
    lies_ready = source.dtype == np.float32 and space.distance == "euclidean"

    def read(memory: BlockMemory, first: int, last: int) -> RowBlock:
        rows, weight = memory.rows(last - first), source.weights[first:last]
        shift, scale = space.shift, space.scale
        if lies_ready:
            source.read_into(first, rows)
        else:
            placed = space.place(source[first:last], first)
            rows[:], shift, scale = placed.array, placed.shift, placed.scale
        return RowBlock(first, memory.place(last - first, shift, scale), weight)

    ranges = block_ranges(start, stop, m)
    yield from one_ahead(read, [(next(memories), *part) for part in ranges])


class _Directions(Table):
    """The rows of a source, normalised to length 1, float32 [n, d]."""

    def __init__(self, source: RowSource, space: ModelSpace) -> None:
        self._source, self._space = source, space

    @property
    def shape(self) -> tuple[int, ...]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, rows: slice, /) -> Float32:
        return self._space.place(self._source[rows], rows.start).array
