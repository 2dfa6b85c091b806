"""Sums of real numbers in fixed point, with the same bits in any order.

A sum of floats depends on the order of its terms, and so on the number of cores, blocks and
machines. A sum of integers does not. So each number v is split into limbs, integers q with
decreasing units, ``v = q[0] s + q[1] s / r + q[2] s / r^2 ...``, and each limb is summed as int64.

The bound. There are at most ``n <= 2^b`` terms, none above ``largest < 2^e``. The unit of the first
limb is ``s = 2^(e + b - 61)``, and the unit of each further limb is smaller by ``r = 2^(62 - b)``.

- Nothing overflows. ``|q[0]| <= 2^(61 - b)``; b is at least 10, so this is at most 2^51. The
  remainder after rounding to a limb is at most half of its unit, so the next limb has
  ``|q| <= r / 2 = 2^(61 - b)`` as well. A sum of n is at most 2^61, and the difference of two sums
  at most 2^62. For n up to 10^9, b is 30 and r is 2^32.
- Every step before the last rounding is exact: the units are powers of two, and the remainder of a
  float64 after rounding to an integer is a float64.
- The error of a number is at most half of the unit of the last limb.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_types import Float32, Float64
from .blocks import block_ranges, rows_per_block
from .errors import UnreadableRows
from .quiet_tensorflow import tf
from .workers import Reducer

Int64 = NDArray[np.int64]

#: Smaller float32 numbers are replaced by 0: TensorFlow's threads do this, NumPy does not.
_SMALLEST: Final = np.finfo(np.float32).tiny

#: No limb is above 2^51.
_LEAST_BITS: Final = 10

#: The largest limb.
_LARGEST: Final = 2.0**51

#: The message if rows differ from those that were checked before.
CHANGED_ROWS: Final = (
    "the rows changed while they were read: a pass found others than the one before; give rows "
    "that stay the same until the fit ends"
)

#: A float64 whose last bit has the value 1, also after adding a number up to 2^51.
_SHIFTER: Final = 1.5 * 2.0**52
_SHIFTER_BITS: Final = np.array(_SHIFTER).view(np.int64)

#: Numbers of a block that is multiplied at once.
_FACTORS: Final = 2**15


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """The fixed-point format of some columns.

    Attributes:
        worth: float64 [width], or [] for one column: the units of the first limb, powers of two.
        finer: the ratio of the units of a limb and the next, a power of two.
        limbs: the number of limbs.
    """

    worth: Float64
    finer: float
    limbs: int

    def integers(self, values: Float32 | Float64, out: Float64 | None = None) -> Int64:
        """Convert float32 or float64 [..., width] to limbs: int64 [limbs, ..., width].

        They are written over ``out``, which has their shape, if it is given.

        Raises UnreadableRows if a number is not finite, or far above the bound.
        """
        limbs = np.empty((self.limbs, *values.shape)) if out is None else out
        rest = limbs[-1, ...]
        rest[...] = values
        self._divide(rest)
        # The bound is that of the checked rows. The comparison is false for NaN.
        if not max(rest.max(initial=0), -rest.min(initial=0)) <= _LARGEST:
            raise UnreadableRows(CHANGED_ROWS)
        for number in range(self.limbs - 1):
            limb = limbs[number, ...]
            # As in `limb_tensors`; a cast takes four times as long.
            np.add(rest, _SHIFTER, out=limb)
            rest -= limb - _SHIFTER
            rest *= self.finer
        rest += _SHIFTER
        integers: Int64 = limbs.view(np.int64)
        integers -= _SHIFTER_BITS
        return integers

    def _divide(self, values: Float64) -> None:
        """Divide float64 [..., width] by the units of the first limb, in place."""
        factors = self._factors
        if not factors.ndim:
            values *= factors
            return
        rows = values.reshape(-1, factors.shape[1])
        for first, last in block_ranges(0, len(rows), len(factors)):
            rows[first:last] *= factors[: last - first]

    @cached_property
    def _factors(self) -> Float64:
        """The inverse units of the first limb: float64 [], or repeated for each row of a block.

        NumPy multiplies each row by the same numbers several times more slowly.
        """
        inverse: Float64 = np.reciprocal(self.worth)
        if (inverse == inverse.flat[0]).all():
            return inverse.reshape(-1)[:1].reshape(())
        return np.tile(inverse, (rows_per_block(inverse.size, _FACTORS), 1))

    def ignores_subnormal(self) -> bool:
        """Return whether numbers below float32's normal numbers are 0 in each limb."""
        least = float(self.worth.min()) / self.finer ** (self.limbs - 1)
        return least >= 2 * float(_SMALLEST)

    def floats(self, limbs: Int64) -> Float64:
        """Convert limbs int64 [limbs, ..., width] to numbers float64 [..., width]."""
        worth = self.worth
        total: Float64 = limbs[0] * worth
        for limb in limbs[1:]:
            worth = worth / self.finer
            total = total + limb * worth
        return total

    def with_limbs(self, limbs: int) -> "FixedPoint":
        """Return the same format with another number of limbs."""
        return replace(self, limbs=limbs)


def fixed_point(
    largest: ArrayLike, count: int, *, limbs: int = 1, resolution: ArrayLike | None = None
) -> FixedPoint:
    """Return the format for sums of up to ``count`` numbers per column.

    Args:
        largest: float64 [width], or [] for one column, an upper bound of the magnitudes.
        count: the most numbers in a sum, at least 1.
        limbs: the least number of limbs.
        resolution: float64 [width], an upper bound of the unit of the last limb; 0 for no bound.
    """
    bits = max((count - 1).bit_length(), _LEAST_BITS)
    _, exponent = np.frexp(largest)
    worth = np.ldexp(1.0, exponent + bits - 61)
    finer = 2.0 ** (62 - bits)
    if resolution is not None:
        needed = np.where(np.asarray(resolution) > 0, resolution, np.inf)
        while (worth / finer ** (limbs - 1) > needed).any():
            limbs += 1
    return FixedPoint(worth, finer, limbs)


@dataclass(frozen=True, eq=False)
class FixedSum:
    """A sum in fixed point; the sums of parts of the rows add up to that of all rows.

    Attributes:
        limbs: int64 [limbs, ..., width].
        scale: the format of the limbs, the same for all parts.
    """

    limbs: Int64
    scale: FixedPoint

    def __add__(self, other: "FixedSum") -> "FixedSum":
        return FixedSum(self.limbs + other.limbs, self.scale)

    def __sub__(self, other: "FixedSum") -> "FixedSum":
        return FixedSum(self.limbs - other.limbs, self.scale)

    def reduce(self, reducer: Reducer) -> "FixedSum":
        """Return the sum over the workers."""
        return FixedSum(reducer.sum(self.limbs), self.scale)

    @property
    def value(self) -> Float64:
        """The sum, float64 [..., width]."""
        return self.scale.floats(self.limbs)


def sum_column(values: Float64, scale: FixedPoint) -> FixedSum:
    """Sum the numbers of one column, float64 [n]; the value of the sum is float64 []."""
    return FixedSum(scale.integers(values).sum(axis=1), scale)


def without_subnormal(points: Float32) -> Float32:
    """Replace subnormal numbers of float32 by 0."""
    is_small = np.abs(points) < _SMALLEST
    return np.where(is_small, np.float32(0), points) if is_small.any() else points


def without_subnormal_tensor(points: tf.Tensor) -> tf.Tensor:
    """`without_subnormal` in a graph."""
    return tf.where(tf.abs(points) < _SMALLEST, 0.0, points)


def limb_tensors(
    points: tf.Tensor, weight: tf.Tensor, inverse: tf.Tensor, finer: tf.Tensor, limbs: int
) -> list[tf.Tensor]:
    """`FixedPoint.integers` of weighted points in a graph.

    Args:
        points: float32 [m, width], without subnormal numbers.
        weight: float64 [m, 1]. A product with the weight 0 is 0, even if the point is infinite.
        inverse: float64 [width], the reciprocals of the units of the first limb.
        finer: float64 [].
        limbs: the number of limbs.

    Returns:
        int64 [m, width] for each limb.
    """
    rest = tf.math.multiply_no_nan(tf.cast(points, tf.float64), weight) * inverse
    parts, shifter = [], tf.bitcast(tf.constant(_SHIFTER, tf.float64), tf.int64)
    for number in range(limbs):
        # The addition rounds the number to an integer, which is then in the last bits of the
        # float64. A cast takes twice the time.
        whole = tf.bitcast(rest + _SHIFTER, tf.int64) - shifter
        parts.append(whole)
        if number + 1 < limbs:
            rest = (rest - tf.cast(whole, tf.float64)) * finer
    return parts
