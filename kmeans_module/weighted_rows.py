"""The rows of a fit with their weights, and what a fit must know of all of them at once.

Who takes the steps of a part of the rows, a core or later a worker, takes it along: its sums are
written in the scale of all rows, so that the sums of the parts add up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import reduce
from itertools import chain
from operator import add
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .blocks import block_ranges
from .cluster_sums import SumScale, sum_scale
from .cores import core_ranges, run_in_parallel
from .fixed_point import FixedPoint, FixedSum, fixed_point, sum_column
from .quiet_tensorflow import tf
from .rows import Rows, aligned_empty, sample_rows, share_memory

#: This share of a column's numbers may be smaller than what is called typical.
_SMALLER: Final = 0.01

#: No rounding of a bound goes beyond it.
_WIDER: Final = 1 + 2.0**-16

#: Half an ulp of float32, relative.
_ROUNDING: Final = 2.0**-25

_BLOCK_ROWS: Final = 65_536


class WeightRange(NamedTuple):
    """What the weights of all rows are.

    Attributes:
        least: the smallest.
        light: the smallest above 0.
        heavy: the largest.
        counted: how many are above 0.
    """

    least: float
    light: float
    heavy: float
    counted: int

    @classmethod
    def of(cls, sample_weight: Float32) -> "WeightRange":
        """That of weights [n]; without one above 0, the smallest of these is infinity."""
        least, heavy = float(sample_weight.min()), float(sample_weight.max())
        if least > 0:
            return cls(least, least, heavy, len(sample_weight))
        light = float(sample_weight[sample_weight > 0].min(initial=np.inf))
        return cls(least, light, heavy, int(np.count_nonzero(sample_weight)))

    def merge(self, other: "WeightRange") -> "WeightRange":
        """That of the weights of both."""
        least, light = map(min, self[:2], other[:2])
        return WeightRange(least, light, max(self.heavy, other.heavy), self.counted + other.counted)


@dataclass(frozen=True, eq=False)
class RowTotals:
    """What is known of all rows.

    Attributes:
        n: how many there are.
        scale: of the sums of clusters.
        squares: the weighted sum of the squared norms.
        mean_square: of the numbers of the rows of positive weight.
        heaviest: the largest weight.
        longest: at least the largest squared norm of a row of positive weight.
        resolution: what may be lost of a weighted squared distance: a rounding error of float32 in
            a typical number, squared, of the smallest weight.
    """

    n: int
    scale: SumScale
    squares: float
    mean_square: float
    heaviest: float
    longest: float
    resolution: float

    def with_rows(self, points: Rows, weight: Float32, norms: Float32) -> "WeightedRows":
        """These rows, of which this is known; norms begin at an aligned address."""
        known = {each.name: getattr(self, each.name) for each in fields(RowTotals)}
        return WeightedRows(
            points=points, weight=tf.constant(weight), norms=share_memory(norms), **known
        )

    def mean_variance(self, mean: Float64) -> float:
        """Mean over the columns of their variance, given their mean float64 [d]."""
        return max(0.0, self.mean_square - float(np.square(mean).mean()))

    def inertia_scale(self, centroids: Float32) -> FixedPoint:
        """The scale of the weighted squared distances to centroids [k, d]."""
        longest = float(np.square(centroids, dtype=np.float64).sum(axis=1).max())
        # |x - c|^2 <= 2 |x|^2 + 2 |c|^2
        largest = 2 * _WIDER * self.heaviest * (self.longest + longest)
        return fixed_point(largest, self.n, limbs=2, resolution=self.resolution)


@dataclass(frozen=True, eq=False)
class WeightedRows(RowTotals):
    """Points and weights, and what is known of all rows, of which these may be a block.

    Attributes:
        points: [m, d].
        weight: float32 [m].
        norms: float32 [m], of the points.
    """

    points: Rows
    weight: tf.Tensor
    norms: tf.Tensor


class RowMeasure:
    """What must be known of all rows to sum their squared norms, in parts that add up to the whole.

    Args:
        largest: float64 [d], at least every |x| of a row of positive weight.
        typical: float64 [d], what `typical_numbers` gives.
        weights: of all rows.
        n: how many rows there are.
    """

    def __init__(self, largest: Float64, typical: Float64, weights: WeightRange, n: int) -> None:
        largest = _WIDER * largest
        self._n, self._d, self._weights = n, len(largest), weights
        lost = (_ROUNDING * float(typical[typical > 0].min(initial=np.inf))) ** 2
        self._scale = sum_scale(largest, typical, (weights.light, weights.heavy), n)
        self._longest = float(np.square(largest).sum())
        self._is_varied = weights.least < weights.heavy
        self._resolution = weights.light * lost
        self._plain = fixed_point(_WIDER * self._longest, n, limbs=2, resolution=lost)
        self._weighted = fixed_point(
            _WIDER * self._longest * weights.heavy, n, limbs=2, resolution=self._resolution
        )

    def sums(self, squared: Float64, weight: Float32) -> tuple[FixedSum, ...]:
        """The sum of squared norms float64 [m], and the weighted sum where weights differ."""
        if not self._is_varied:
            return (sum_column(squared, self._plain),)
        # A row of weight 0 may be beyond any scale.
        squared = np.where(weight > 0, squared, 0)
        return sum_column(squared, self._plain), sum_column(squared * weight, self._weighted)

    def totals(self, sums: Iterable[tuple[FixedSum, ...]]) -> RowTotals:
        """What is known of all rows, given the sums of their parts."""
        totals = [float(reduce(add, parts).value) for parts in zip(*sums, strict=True)]
        return RowTotals(
            n=self._n,
            scale=self._scale,
            squares=totals[-1] if self._is_varied else self._weights.heavy * totals[0],
            mean_square=totals[0] / self._weights.counted / self._d,
            heaviest=self._weights.heavy,
            longest=self._longest,
            resolution=self._resolution,
        )


def weigh(points: Rows, sample_weight: Float32, largest: Float64) -> WeightedRows:
    """What is known of points [n, d] and weights [n], of which one at least is positive.

    Args:
        points: in the model's space.
        sample_weight: not negative.
        largest: float64 [d], at least every |x| of a row of positive weight.
    """
    n = len(sample_weight)
    sample = points.gather(sample_rows(sample_weight, len(points.shift)))
    typical = typical_numbers(
        sample, largest, lambda columns: _least_numbers(points, sample_weight, columns)
    )
    measure = RowMeasure(largest, typical, WeightRange.of(sample_weight), n)
    norms = aligned_empty(n)

    def measure_range(start: int, stop: int) -> list[tuple[FixedSum, ...]]:
        sums: list[tuple[FixedSum, ...]] = []
        for first, last in block_ranges(start, stop, _BLOCK_ROWS):
            squared = points.squared_norms(first, last)
            with np.errstate(over="ignore"):
                norms[first:last] = np.sqrt(squared)
            sums.append(measure.sums(squared, sample_weight[first:last]))
        return sums

    totals = measure.totals(chain(*run_in_parallel(measure_range, core_ranges(n))))
    return totals.with_rows(points, sample_weight, norms)


def typical_numbers(
    sample: Float32, largest: Float64, find_least: Callable[[NDArray[np.bool_]], Float64]
) -> Float64:
    """Of each column what nearly all |x| but the zeros reach, by a sample; 0 without others.

    Args:
        sample: [m, d], in the model's space.
        largest: float64 [d], at least every |x|.
        find_least: gives of chosen columns, bool [d], the least |x| that is not 0, or 0.
    """
    magnitudes = np.abs(sample)
    magnitudes.sort(axis=0)
    zeros = np.count_nonzero(magnitudes == 0, axis=0)
    place = zeros + (_SMALLER * (len(sample) - zeros)).astype(np.int64)
    place = np.minimum(place, len(sample) - 1)
    typical: Float64 = np.take_along_axis(magnitudes, place[None], axis=0)[0].astype(np.float64)
    unknown = (typical == 0) & (largest > 0)
    if unknown.any():
        typical[unknown] = find_least(unknown)
    return typical


def _least_numbers(points: Rows, sample_weight: Float32, columns: NDArray[np.bool_]) -> Float64:
    """Of each of the columns the least |x| that is not 0; 0 without others."""

    def find_least(start: int, stop: int) -> Float64:
        parts = [
            least_magnitude(points, sample_weight, columns, first, last)
            for first, last in block_ranges(start, stop, _BLOCK_ROWS)
        ]
        least: Float64 = np.min(parts, axis=0)
        return least

    least: Float64 = np.min(run_in_parallel(find_least, core_ranges(len(sample_weight))), axis=0)
    return np.where(np.isfinite(least), least, 0)


def least_magnitude(
    points: Rows, sample_weight: Float32, columns: NDArray[np.bool_], first: int, last: int
) -> Float64:
    """The least |x| that is not 0 of each of the columns, in these rows; infinity without one."""
    weighted = first + np.flatnonzero(sample_weight[first:last])
    magnitude = np.abs(points.gather(weighted)[:, columns]).astype(np.float64)
    magnitude[magnitude == 0] = np.inf
    least: Float64 = magnitude.min(axis=0, initial=np.inf)
    return least
