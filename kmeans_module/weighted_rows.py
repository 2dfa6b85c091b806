"""The rows of a fit with their weights, and the totals over all rows.

A core or a worker that processes a part of the rows also uses these totals: its sums have the scale
of all rows, so the sums of the parts can be added.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cached_property, reduce
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
from .rows import Rows, aligned_empty, as_numpy, sample_rows, share_memory

#: The share of the numbers of a column that may be below the typical number.
_SMALLER: Final = 0.01

#: A relative margin above all rounding errors of a bound.
_WIDER: Final = 1 + 2.0**-16

#: Half an ulp of float32, relative.
_ROUNDING: Final = 2.0**-25

_BLOCK_ROWS: Final = 65_536

#: Norms of a sample.
SAMPLE_NORMS: Final = 1024


class WeightRange(NamedTuple):
    """The range of the weights of all rows.

    Attributes:
        least: the smallest weight.
        light: the smallest weight above 0.
        heavy: the largest weight.
        counted: the number of weights above 0.
    """

    least: float
    light: float
    heavy: float
    counted: int

    @classmethod
    def of(cls, sample_weight: Float32) -> "WeightRange":
        """Return the range of weights [n]; ``light`` is infinity if no weight is above 0."""
        least, heavy = float(sample_weight.min()), float(sample_weight.max())
        if least > 0:
            return cls(least, least, heavy, len(sample_weight))
        light = float(sample_weight[sample_weight > 0].min(initial=np.inf))
        return cls(least, light, heavy, int(np.count_nonzero(sample_weight)))

    def merge(self, other: "WeightRange") -> "WeightRange":
        """Return the range of the weights of both."""
        least, light = map(min, self[:2], other[:2])
        return WeightRange(least, light, max(self.heavy, other.heavy), self.counted + other.counted)


@dataclass(frozen=True, eq=False)
class RowTotals:
    """Totals over all rows.

    Attributes:
        n: the number of rows.
        scale: the scale of the sums of clusters.
        squares: the weighted sum of the squared norms.
        mean_square: the mean square of the numbers in the rows of positive weight.
        heaviest: the largest weight.
        longest: an upper bound of the squared norms of the rows of positive weight.
        resolution: the allowed error of a weighted squared distance: the square of a float32
            rounding error of a typical number, times the smallest weight.
    """

    n: int
    scale: SumScale
    squares: float
    mean_square: float
    heaviest: float
    longest: float
    resolution: float

    def with_rows(self, points: Rows, weight: Float32, norms: Float32) -> "WeightedRows":
        """Combine these totals with rows; norms begin at an aligned address."""
        known = {each.name: getattr(self, each.name) for each in fields(RowTotals)}
        return WeightedRows(
            points=points, weight=tf.constant(weight), norms=share_memory(norms), **known
        )

    def mean_variance(self, mean: Float64) -> float:
        """Return the mean variance of the columns, given their means float64 [d]."""
        return max(0.0, self.mean_square - float(np.square(mean).mean()))

    def inertia_scale(self, centroids: Float32) -> FixedPoint:
        """Return the scale of the weighted squared distances to centroids [k, d]."""
        longest = float(np.square(centroids, dtype=np.float64).sum(axis=1).max())
        # |x - c|^2 <= 2 |x|^2 + 2 |c|^2
        largest = 2 * _WIDER * self.heaviest * (self.longest + longest)
        return fixed_point(largest, self.n, limbs=2, resolution=self.resolution)


@dataclass(frozen=True, eq=False)
class WeightedRows(RowTotals):
    """Points and weights, perhaps a block of the rows, and the totals over all rows.

    Attributes:
        points: [m, d].
        weight: float32 [m].
        norms: float32 [m], the norms of the points.
    """

    points: Rows
    weight: tf.Tensor
    norms: tf.Tensor

    @cached_property
    def usual_norm(self) -> float:
        """The median norm of a sample of the rows."""
        return float(np.median(some_norms(as_numpy(self.norms))))


def some_norms(norms: Float32) -> Float32:
    """Return evenly spaced norms of norms [n], about `SAMPLE_NORMS` of them."""
    return norms[:: max(len(norms) // SAMPLE_NORMS, 1)]


class RowMeasure:
    """The scales for sums of squared norms of parts of the rows, which add up to the whole.

    Args:
        largest: float64 [d], an upper bound of |x| over the rows of positive weight.
        typical: float64 [d], the result of `typical_numbers`.
        weights: the range of the weights of all rows.
        n: the number of rows.
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
        """Return the sum of squared norms float64 [m], and the weighted sum if weights differ."""
        if not self._is_varied:
            return (sum_column(squared, self._plain),)
        # A row of weight 0 may exceed any scale.
        squared = np.where(weight > 0, squared, 0)
        return sum_column(squared, self._plain), sum_column(squared * weight, self._weighted)

    def totals(self, sums: Iterable[tuple[FixedSum, ...]]) -> RowTotals:
        """Return the totals of all rows, given the sums of their parts."""
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
    """Return points [n, d] and weights [n], at least one positive, with their totals.

    Args:
        points: the points in the model's space.
        sample_weight: the weights, not negative.
        largest: float64 [d], an upper bound of |x| over the rows of positive weight.
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
    """Return for each column a number that nearly all nonzero |x| of a sample exceed; 0 if all are
    0.

    Args:
        sample: [m, d], in the model's space.
        largest: float64 [d], an upper bound of |x|.
        find_least: returns the smallest nonzero |x| of chosen columns, bool [d], or 0.
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
    """Return the smallest nonzero |x| of each of the columns; 0 if all are 0."""

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
    """Return the smallest nonzero |x| of each column in these rows; infinity if all are 0."""
    weighted = first + np.flatnonzero(sample_weight[first:last])
    magnitude = np.abs(points.gather(weighted)[:, columns]).astype(np.float64)
    magnitude[magnitude == 0] = np.inf
    least: Float64 = magnitude.min(axis=0, initial=np.inf)
    return least
