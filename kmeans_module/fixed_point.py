"""Sums of real numbers as whole numbers, which are the same bits in any order.

A sum of floats depends on the order of its terms, and so on the number of cores, blocks and
machines. A sum of integers does not. So each number v is written in limbs, whole numbers q of
falling worth, ``v = q[0] s + q[1] s / r + q[2] s / r^2 ...``, and each limb is summed as int64.

The bound. Let there be at most ``n <= 2^b`` terms, none above ``largest < 2^e``. The worth of 1 in
the first limb is ``s = 2^(e + b - 61)``, and each further limb is finer by ``r = 2^(62 - b)``.

- Nothing overflows. ``|q[0]| <= 2^(61 - b)``; b is at least 10, so that this is at most 2^51. What
  rounding leaves of a limb is at most half of its worth, so that in the next
  ``|q| <= r / 2 = 2^(61 - b)`` as well. A sum of n is at most 2^61, and the difference of two sums
  at most 2^62. For n up to 10^9, b is 30 and r is 2^32.
- Every step before the last rounding is exact: the worths are powers of two, and what a float64
  leaves after it is rounded to a whole number is a float64.
- A number loses at most half of the worth of 1 in the last limb, whatever the others are.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_types import Float32, Float64
from .errors import UnreadableRows
from .quiet_tensorflow import tf
from .workers import Reducer

Int64 = NDArray[np.int64]

#: Smaller float32 numbers are taken for 0: TensorFlow's threads do so, and NumPy's do not.
_SMALLEST: Final = np.finfo(np.float32).tiny

#: No limb is above 2^51.
_LEAST_BITS: Final = 10

#: Twice what a limb may be.
_LARGEST: Final = 2.0**52

#: What is wrong where rows are not those that were checked before.
CHANGED_ROWS: Final = (
    "the rows changed while they were read: a pass found others than the one before; give rows "
    "that stay the same until the fit ends"
)

#: A float64 whose last bit is worth 1, also where a number up to 2^51 is added.
_SHIFTER: Final = 1.5 * 2.0**52


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """How the numbers of some columns are written.

    Attributes:
        worth: float64 [width], or [] for one column, powers of two: that of 1 in the first limb.
        finer: a power of two: the worth in a limb over that in the next.
        limbs: how many there are.
    """

    worth: Float64
    finer: float
    limbs: int

    def integers(self, values: Float64) -> Int64:
        """The limbs of float64 [..., width]: int64 [limbs, ..., width].

        Raises UnreadableRows where a number is not finite, or above the bound by far.
        """
        limbs = np.empty((self.limbs, *values.shape), np.int64)
        rest = values * (1 / self.worth)
        # The bound is of rows that were checked. NaN is not below anything.
        if not max(rest.max(initial=0), -rest.min(initial=0)) <= _LARGEST:
            raise UnreadableRows(CHANGED_ROWS)
        for number in range(self.limbs):
            whole = np.rint(rest)
            limbs[number] = whole
            if number + 1 < self.limbs:
                rest -= whole
                rest *= self.finer
        return limbs

    def floats(self, limbs: Int64) -> Float64:
        """The numbers that limbs int64 [limbs, ..., width] stand for: float64 [..., width]."""
        worth = self.worth
        total: Float64 = limbs[0] * worth
        for limb in limbs[1:]:
            worth = worth / self.finer
            total = total + limb * worth
        return total

    def with_limbs(self, limbs: int) -> "FixedPoint":
        """The same with another number of limbs."""
        return replace(self, limbs=limbs)


def fixed_point(
    largest: ArrayLike, count: int, *, limbs: int = 1, resolution: ArrayLike | None = None
) -> FixedPoint:
    """The fixed point for sums of up to ``count`` numbers a column.

    Args:
        largest: float64 [width], or [] for one column, at least the magnitude of every number.
        count: how many numbers are summed at most, at least 1.
        limbs: how many limbs at least.
        resolution: float64 [width]; so many limbs that 1 is worth no more in the last. A column of
            which it is 0 asks for none.
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
    """A sum in fixed point; those of parts of the rows add up to that of all.

    Attributes:
        limbs: int64 [limbs, ..., width].
        scale: how they are to be read, the same for all parts.
    """

    limbs: Int64
    scale: FixedPoint

    def __add__(self, other: "FixedSum") -> "FixedSum":
        return FixedSum(self.limbs + other.limbs, self.scale)

    def __sub__(self, other: "FixedSum") -> "FixedSum":
        return FixedSum(self.limbs - other.limbs, self.scale)

    def reduce(self, reducer: Reducer) -> "FixedSum":
        """The sum over the workers."""
        return FixedSum(reducer.sum(self.limbs), self.scale)

    @property
    def value(self) -> Float64:
        """The sum, float64 [..., width]."""
        return self.scale.floats(self.limbs)


def sum_column(values: Float64, scale: FixedPoint) -> FixedSum:
    """The sum of the numbers of one column, float64 [n]: its value is float64 []."""
    return FixedSum(scale.integers(values).sum(axis=1), scale)


def without_subnormal(points: Float32) -> Float32:
    """The points with 0 for what is smaller than float32's normal numbers."""
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
        weight: float64 [m, 1]. A product with the weight 0 is 0, also where the point is infinite.
        inverse: float64 [width], 1 over the worth in the first limb.
        finer: float64 [].
        limbs: how many.

    Returns:
        int64 [m, width] for each limb.
    """
    rest = tf.math.multiply_no_nan(tf.cast(points, tf.float64), weight) * inverse
    parts, shifter = [], tf.bitcast(tf.constant(_SHIFTER, tf.float64), tf.int64)
    for number in range(limbs):
        # What a float64 of this size loses by the addition is what is not whole of the number, and
        # the number is in its last bits. A cast takes twice the time.
        whole = tf.bitcast(rest + _SHIFTER, tf.int64) - shifter
        parts.append(whole)
        if number + 1 < limbs:
            rest = (rest - tf.cast(whole, tf.float64)) * finer
    return parts
