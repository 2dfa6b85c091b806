"""The rows of a source in the model's space: the passes before a fit's first step, and its blocks.

What is found is the same bits as of an array in memory: extremes and sums of integers do not depend
on blocks, and the sample is of the same rows. What is held is a few blocks for each core.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain, cycle
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .aligned_window import BlockMemory
from .array_types import Array, Float32, Float64, Table
from .blocks import block_ranges, rows_per_block
from .cores import core_ranges, one_ahead, run_in_parallel
from .errors import InvalidPoints, InvalidWeights
from .fixed_point import FixedSum
from .model_space import Distance, ModelSpace, find_space, mean_direction
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

#: Numbers of a block. Each core holds two.
_BLOCK_NUMBERS: Final = 2**21

T = TypeVar("T")


class RowBlock(NamedTuple):
    """Rows that follow each other.

    Attributes:
        first: the number of the first.
        points: [m, d].
        weight: float32 [m].
    """

    first: int
    points: Rows
    weight: Float32


@dataclass(frozen=True, eq=False)
class SourceRows(RowTotals):
    """The rows of a source, which are read a block at a time, and what is known of all of them.

    Attributes:
        source: where they come from.
        space: the model's.
    """

    source: RowSource
    space: ModelSpace

    @classmethod
    def enter(
        cls,
        source: RowSource,
        *,
        standardize: bool,
        distance: Distance,
        feature_weight: Float64 | None = None,
    ) -> "SourceRows":
        """Find what a fit must know of all rows, by two to five passes over them.

        Raises:
            InvalidPoints, InvalidWeights: as `fit` says.
        """
        _check_source(source)
        weights = _weight_range(source)
        numbers = _weighted_numbers(source, sample_places(weights.counted, source.shape[1]))
        sample = source.take(numbers)
        space = find_space(
            source,
            source.weights,
            sample,
            has_zero_weight=weights.least == 0,
            standardize=standardize,
            distance=distance,
            feature_weight=feature_weight,
        )
        if distance == "cosine":
            mean = mean_direction(_Directions(source, space), source.weights)
            space = replace(space, mean=mean)
        totals = _measure(source, space, weights, sample)
        return cls(source=source, space=space, **vars(totals))

    def blocks(self, start: int, stop: int) -> Iterator[RowBlock]:
        """The rows ``start`` to before ``stop``, block by block; one is read ahead."""
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


def _weight_range(source: RowSource) -> WeightRange:
    """What the weights are, once they are checked. Raises InvalidWeights."""
    if not source.is_weighted:
        return WeightRange(1.0, 1.0, 1.0, len(source))

    def find_range(start: int, stop: int) -> WeightRange:
        parts = (
            WeightRange.of(check_weight_values(source.read_weights(first, last), first))
            for first, last in block_ranges(start, stop, rows_per_block(1))
        )
        return reduce(WeightRange.merge, parts)

    found = reduce(WeightRange.merge, run_in_parallel(find_range, core_ranges(len(source))))
    if not found.counted:
        raise InvalidWeights(NO_WEIGHT)
    return found


def _weighted_numbers(source: RowSource, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of the rows at these places, which rise, among those of positive weight."""
    if not source.is_weighted:
        return places
    found, before = [], 0
    for first, last in block_ranges(0, len(source), rows_per_block(1)):
        weighted = np.flatnonzero(source.weights[first:last])
        start, stop = np.searchsorted(places, [before, before + len(weighted)])
        found.append(first + weighted[places[start:stop] - before])
        before += len(weighted)
    return np.concatenate(found)


def _measure(
    source: RowSource, space: ModelSpace, weights: WeightRange, sample: Array
) -> RowTotals:
    """What is known of all rows, given the raw ones of the sample."""
    n = len(source)

    def find_least(columns: NDArray[np.bool_]) -> Float64:
        def of_range(start: int, stop: int) -> list[Float64]:
            return [
                least_magnitude(block.points, block.weight, columns, 0, len(block.weight))
                for block in _placed_blocks(source, space, start, stop)
            ]

        least: Float64 = np.min(_map_ranges(of_range, n), axis=0)
        return np.where(np.isfinite(least), least, 0)

    def sum_range(start: int, stop: int) -> list[tuple[FixedSum, ...]]:
        return [
            measure.sums(block.points.squared_norms(0, len(block.weight)), block.weight)
            for block in _placed_blocks(source, space, start, stop)
        ]

    placed = space.place(sample).gather(np.arange(len(sample)))
    typical = typical_numbers(placed, space.largest, find_least)
    measure = RowMeasure(space.largest, typical, weights, n)
    return measure.totals(_map_ranges(sum_range, n))


def _map_ranges(function: Callable[[int, int], list[T]], n: int) -> list[T]:
    """What the function gives for each core's range of the rows, joined."""
    return list(chain(*run_in_parallel(function, core_ranges(n))))


def _placed_blocks(
    source: RowSource, space: ModelSpace, start: int, stop: int
) -> Iterator[RowBlock]:
    """The rows of a range, block by block; one is valid until the next is asked for."""
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
    """The rows of a source at length 1, float32 [n, d]."""

    def __init__(self, source: RowSource, space: ModelSpace) -> None:
        self._source, self._space = source, space

    @property
    def shape(self) -> tuple[int, ...]:
        return self._source.shape

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, rows: slice, /) -> Float32:
        return self._space.place(self._source[rows], rows.start).array
