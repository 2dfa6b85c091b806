"""The rows of a fit with their weights, and what a fit must know of all of them at once.

Who takes the steps of a part of the rows, a core or later a worker, takes it along: its sums are
written in the scale of all rows, so that the sums of the parts add up.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import add
from typing import Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .blocks import block_ranges
from .cluster_sums import SumScale, sum_scale
from .cores import core_ranges, run_in_parallel
from .fixed_point import FixedPoint, FixedSum, fixed_point, sum_column
from .rows import Rows, aligned_empty, sample_rows, share_memory

#: This share of a column's numbers may be smaller than what is called typical.
_SMALLER: Final = 0.01

#: No rounding of a bound goes beyond it.
_WIDER: Final = 1 + 2.0**-16

#: Half an ulp of float32, relative.
_ROUNDING: Final = 2.0**-25

_BLOCK_ROWS: Final = 65_536


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """Points and weights, and what is known of all of them.

    Attributes:
        points: [n, d].
        weight: float32 [n].
        norms: float32 [n], of the points.
        scale: of the sums of clusters.
        squares: the weighted sum of the squared norms.
        mean_square: of the numbers of the rows of positive weight.
        heaviest: the largest weight.
        longest: at least the largest squared norm of a row of positive weight.
        resolution: what may be lost of a weighted squared distance: a rounding error of float32 in
            a typical number, squared, of the smallest weight.
    """

    points: Rows
    weight: tf.Tensor
    norms: tf.Tensor
    scale: SumScale
    squares: float
    mean_square: float
    heaviest: float
    longest: float
    resolution: float

    @property
    def n(self) -> int:
        """How many rows there are."""
        return int(self.weight.shape[0])

    def mean_variance(self, mean: Float64) -> float:
        """Mean over the columns of their variance, given their mean float64 [d]."""
        return max(0.0, self.mean_square - float(np.square(mean).mean()))

    def inertia_scale(self, centroids: Float32) -> FixedPoint:
        """The scale of the weighted squared distances to centroids [k, d]."""
        longest = float(np.square(centroids, dtype=np.float64).sum(axis=1).max())
        # |x - c|^2 <= 2 |x|^2 + 2 |c|^2
        largest = 2 * _WIDER * self.heaviest * (self.longest + longest)
        return fixed_point(largest, self.n, limbs=2, resolution=self.resolution)


def weigh(points: Rows, sample_weight: Float32, largest: Float64) -> WeightedRows:
    """What is known of points [n, d] and weights [n], of which one at least is positive.

    Args:
        points: in the model's space.
        sample_weight: not negative.
        largest: float64 [d], at least every |x| of a row of positive weight.
    """
    n, d = len(sample_weight), len(points.shift)
    largest = _WIDER * largest
    lightest, heavy = float(sample_weight.min()), float(sample_weight.max())
    light = lightest or float(sample_weight[sample_weight > 0].min())
    counted = n if lightest > 0 else int(np.count_nonzero(sample_weight))
    typical = _typical(points, sample_weight, largest)
    lost = (_ROUNDING * float(typical[typical > 0].min(initial=np.inf))) ** 2
    scale = sum_scale(largest, typical, (light, heavy), n)
    longest = float(np.square(largest).sum())
    is_varied = lightest < heavy
    plain = fixed_point(_WIDER * longest, n, limbs=2, resolution=lost)
    weighted = fixed_point(_WIDER * longest * heavy, n, limbs=2, resolution=light * lost)
    norms = aligned_empty(n)

    def measure(start: int, stop: int) -> list[tuple[FixedSum, ...]]:
        sums: list[tuple[FixedSum, ...]] = []
        for first, last in block_ranges(start, stop, _BLOCK_ROWS):
            squared, weight = points.squared_norms(first, last), sample_weight[first:last]
            with np.errstate(over="ignore"):
                norms[first:last] = np.sqrt(squared)
            if is_varied:
                # A row of weight 0 may be beyond any scale.
                squared = np.where(weight > 0, squared, 0)
                sums.append((sum_column(squared, plain), sum_column(squared * weight, weighted)))
            else:
                sums.append((sum_column(squared, plain),))
        return sums

    totals = [
        float(reduce(add, parts).value)
        for parts in zip(*chain(*run_in_parallel(measure, core_ranges(n))), strict=True)
    ]
    return WeightedRows(
        points=points,
        weight=tf.constant(sample_weight),
        norms=share_memory(norms),
        scale=scale,
        squares=totals[-1] if is_varied else heavy * totals[0],
        mean_square=totals[0] / counted / d,
        heaviest=heavy,
        longest=longest,
        resolution=light * lost,
    )


def _typical(points: Rows, sample_weight: Float32, largest: Float64) -> Float64:
    """Of each column of points [n, d] what nearly all |x| but the zeros reach; 0 without others."""
    sample = np.abs(points.gather(sample_rows(sample_weight, len(points.shift))))
    sample.sort(axis=0)
    zeros = np.count_nonzero(sample == 0, axis=0)
    place = zeros + (_SMALLER * (len(sample) - zeros)).astype(np.int64)
    place = np.minimum(place, len(sample) - 1)
    typical: Float64 = np.take_along_axis(sample, place[None], axis=0)[0].astype(np.float64)
    unknown = (typical == 0) & (largest > 0)
    if unknown.any():
        typical[unknown] = _least(points, sample_weight, unknown)
    return typical


def _least(points: Rows, sample_weight: Float32, columns: NDArray[np.bool_]) -> Float64:
    """Of each of the columns the least |x| that is not 0; 0 without others."""

    def find_least(start: int, stop: int) -> Float64:
        least = np.full(np.count_nonzero(columns), np.inf)
        for first, last in block_ranges(start, stop, _BLOCK_ROWS):
            weighted = first + np.flatnonzero(sample_weight[first:last])
            magnitude = np.abs(points.gather(weighted)[:, columns]).astype(np.float64)
            magnitude[magnitude == 0] = np.inf
            np.minimum(least, magnitude.min(axis=0, initial=np.inf), out=least)
        return least

    least: Float64 = np.min(run_in_parallel(find_least, core_ranges(len(sample_weight))), axis=0)
    return np.where(np.isfinite(least), least, 0)
