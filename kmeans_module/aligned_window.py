"""Windows of rows for compiled kernels, without a copy.

A kernel accepts only memory that begins at an aligned address. So it receives a window: the numbers
from the last aligned address before its first row, the count of numbers to skip, and the count of
rows. Only a window that would reach beyond the table (the first or the last) is a copy.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32
from .blocks import kernel_rows, pad_rows
from .graphs import INT
from .quiet_tensorflow import tf
from .rows import ALIGNED_NUMBERS, Rows, RowTensors, aligned_empty, share_memory

#: The reciprocal of a power of two below this is a normal number.
_LARGEST_EXPONENT: Final = 125


class Window(NamedTuple):
    """Rows [m, d] for a kernel.

    Attributes:
        numbers: float32 [`window_size`]. The rows begin after ``skip`` numbers.
        skip: int32 [].
        count: int32 [], the number of rows, at most m.
        shift, scale: float32 [d], those of `RowTensors`.
    """

    numbers: tf.Tensor
    skip: tf.Tensor
    count: tf.Tensor
    shift: tf.Tensor
    scale: tf.Tensor

    def tile(self, i: tf.Tensor, rows: int, *, has_inverse: bool = False) -> tf.Tensor:
        """Return tile i of ``rows`` rows in the model's space: float32 [rows, d].

        It is undefined beyond the rows of the window. With ``has_inverse``, the scale consists of
        powers of two (`has_inverse`), and multiplication gives the same bits as division.
        """
        shifted = self._shifted(i, rows)
        return shifted * (1 / self.scale) if has_inverse else shifted / self.scale

    def tile_by_product(self, i: tf.Tensor, rows: int) -> tf.Tensor:
        """`tile` by a product in float64, which takes half of the time.

        The relative distance of a quotient of two float32 to a midpoint between two float32 is at
        least 2^-49, and the relative error of the product is below 2^-51; so both round to the same
        number, except for subnormal numbers of float32.
        """
        inverse = 1 / tf.cast(self.scale, tf.float64)
        return tf.cast(tf.cast(self._shifted(i, rows), tf.float64) * inverse, tf.float32)

    def _shifted(self, i: tf.Tensor, rows: int) -> tf.Tensor:
        d = self.shift.shape[0]
        raw = tf.slice(self.numbers, [self.skip + i * rows * d], [rows * d])
        return tf.reshape(raw, [rows, d]) - self.shift


def has_inverse(scale: Float32) -> bool:
    """Whether float32 represents the reciprocals of the scale exactly: it consists of powers of
    two.
    """
    mantissa, exponent = np.frexp(scale)
    return bool((mantissa == 0.5).all() and (np.abs(exponent) < _LARGEST_EXPONENT).all())


def window_size(m: int, d: int) -> int:
    """The numbers of a window of m rows, including those to skip and an aligned end."""
    return (m * d + 2 * ALIGNED_NUMBERS - 1) // ALIGNED_NUMBERS * ALIGNED_NUMBERS


def window_spec(m: int, d: int) -> Window:
    """The specification of a window of m rows [d]."""
    numbers, column = (tf.TensorSpec([size], tf.float32) for size in (window_size(m, d), d))
    return Window(numbers, INT, INT, column, column)


def read_window(points: RowTensors, start: tf.Tensor, stop: tf.Tensor, m: int, d: int) -> Window:
    """Return the window of rows ``start`` to ``stop``, at most m, with d numbers each."""
    size = window_size(m, d)
    first = tf.cast(start, tf.int64) * d - tf.size(points.head, tf.int64)
    aligned = first // ALIGNED_NUMBERS * ALIGNED_NUMBERS
    inside = (aligned >= 0) & (aligned + size <= tf.size(points.body, tf.int64))
    numbers = tf.cond(
        inside,
        lambda: points.body[aligned : aligned + size],
        lambda: pad_rows(tf.reshape(points.raw_block(start, stop), [-1]), size),
    )
    skip = tf.where(inside, tf.cast(first - aligned, tf.int32), 0)
    shift, scale = (tf.ensure_shape(each, [d]) for each in (points.shift, points.scale))
    return Window(tf.ensure_shape(numbers, [size]), skip, stop - start, shift, scale)


class RowGather:
    """Copy chosen rows into reused, contiguous memory.

    NumPy copies a row in a tenth of the time that TensorFlow takes to gather it.

    Args:
        points: [n, d].
        m: the most rows.
    """

    def __init__(self, points: Rows, m: int) -> None:
        self._points, self._d = points, len(points.shift)
        size = window_size(m, self._d)
        self._numbers = aligned_empty(size)
        self._numbers[:] = 0
        self._tensor = share_memory(self._numbers)

    def window(self, chosen: NDArray[np.int64]) -> Window:
        """Return the window of the chosen rows, int64 [<= m]; valid until the next call."""
        size = len(chosen) * self._d
        rows = self._numbers[:size].reshape(-1, self._d)
        np.take(self._points.array, chosen, axis=0, out=rows, mode="clip")
        space = self._points.tensors.shift, self._points.tensors.scale
        return Window(self._tensor, tf.constant(0), tf.constant(len(chosen)), *space)


class BlockMemory:
    """Reused memory for blocks of rows, with enough room at its end that no window is a copy.

    Args:
        m: the most rows of a block.
        d: numbers per row.
    """

    def __init__(self, m: int, d: int) -> None:
        window, self._d = kernel_rows(d), d
        self._numbers = aligned_empty(window_size(-(-m // window) * window, d))
        self._head, self._body = tf.zeros(0), share_memory(self._numbers)

    def rows(self, m: int) -> Float32:
        """Return the memory of m rows: float32 [m, d]."""
        d = self._d
        return self._numbers[: m * d].reshape(m, d)

    def place(self, m: int, shift: Float32, scale: Float32) -> Rows:
        """Return the m rows in this memory as `Rows`."""
        space = tf.constant(shift), tf.constant(scale)
        return Rows(self.rows(m), shift, scale, RowTensors(self._head, self._body, *space))
