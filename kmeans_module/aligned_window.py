"""Rows as a compiled kernel reads them: where they lie, without a copy.

A kernel takes only memory that begins at an aligned address. So it is given a window: numbers from
the aligned address before its first row on, how many of them to skip, and how many rows there are.
Only a window that would reach beyond the table, the first or the last of it, is a copy.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32
from .blocks import kernel_rows, pad_rows
from .graphs import INT
from .quiet_tensorflow import tf
from .rows import ALIGNED_NUMBERS, Rows, RowTensors, aligned_empty, share_memory

#: One over a power of two below it is a normal number.
_LARGEST_EXPONENT: Final = 125


class Window(NamedTuple):
    """Rows [m, d] that a kernel reads.

    Attributes:
        numbers: float32 [`window_size`]. Its rows begin after ``skip`` numbers.
        skip: int32 [].
        count: int32 [], how many rows there are, at most m.
        shift, scale: float32 [d], those of `RowTensors`.
    """

    numbers: tf.Tensor
    skip: tf.Tensor
    count: tf.Tensor
    shift: tf.Tensor
    scale: tf.Tensor

    def tile(self, i: tf.Tensor, rows: int, *, has_inverse: bool = False) -> tf.Tensor:
        """Tile i, of so many rows, in the model's space: float32 [rows, d].

        Beyond the window's rows it is undefined. With ``has_inverse`` the scale is of powers of
        two (`has_inverse`), and a product gives the bits of the division.
        """
        shifted = self._shifted(i, rows)
        return shifted * (1 / self.scale) if has_inverse else shifted / self.scale

    def tile_by_product(self, i: tf.Tensor, rows: int) -> tf.Tensor:
        """`tile`, by a product in float64, which a processor takes in half of the time.

        A quotient of two float32 is no nearer than 2^-49 of itself to the middle between two
        float32, and the product is off by less than 2^-51: it is rounded to the same number,
        but for one below float32's normal numbers.
        """
        inverse = 1 / tf.cast(self.scale, tf.float64)
        return tf.cast(tf.cast(self._shifted(i, rows), tf.float64) * inverse, tf.float32)

    def _shifted(self, i: tf.Tensor, rows: int) -> tf.Tensor:
        d = self.shift.shape[0]
        raw = tf.slice(self.numbers, [self.skip + i * rows * d], [rows * d])
        return tf.reshape(raw, [rows, d]) - self.shift


def has_inverse(scale: Float32) -> bool:
    """Whether float32 holds one over each number of the scale: they are powers of two."""
    mantissa, exponent = np.frexp(scale)
    return bool((mantissa == 0.5).all() and (np.abs(exponent) < _LARGEST_EXPONENT).all())


def window_size(m: int, d: int) -> int:
    """Numbers of a window of m rows: with room to skip, and with an aligned end."""
    return (m * d + 2 * ALIGNED_NUMBERS - 1) // ALIGNED_NUMBERS * ALIGNED_NUMBERS


def window_spec(m: int, d: int) -> Window:
    """The specification of a window of m rows [d]."""
    numbers, column = (tf.TensorSpec([size], tf.float32) for size in (window_size(m, d), d))
    return Window(numbers, INT, INT, column, column)


def read_window(points: RowTensors, start: tf.Tensor, stop: tf.Tensor, m: int, d: int) -> Window:
    """Rows ``start`` to ``stop``, at most m of them, of d numbers."""
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
    """Copies chosen rows together, into one piece of memory that it uses again.

    NumPy copies a row in a tenth of the time that TensorFlow takes to gather it.

    Args:
        points: [n, d].
        m: rows at most.
    """

    def __init__(self, points: Rows, m: int) -> None:
        self._points, self._d = points, len(points.shift)
        size = window_size(m, self._d)
        self._numbers = aligned_empty(size)
        self._numbers[:] = 0
        self._tensor = share_memory(self._numbers)

    def window(self, chosen: NDArray[np.int64]) -> Window:
        """The chosen rows, int64 [<= m]; valid until the next call."""
        size = len(chosen) * self._d
        rows = self._numbers[:size].reshape(-1, self._d)
        np.take(self._points.array, chosen, axis=0, out=rows, mode="clip")
        space = self._points.tensors.shift, self._points.tensors.scale
        return Window(self._tensor, tf.constant(0), tf.constant(len(chosen)), *space)


class BlockMemory:
    """Memory for one block of rows after the other, with so much room behind it that no window is a
    copy.

    Args:
        m: rows of a block at most.
        d: numbers of a row.
    """

    def __init__(self, m: int, d: int) -> None:
        window, self._d = kernel_rows(d), d
        self._numbers = aligned_empty(window_size(-(-m // window) * window, d))
        self._head, self._body = tf.zeros(0), share_memory(self._numbers)

    def rows(self, m: int) -> Float32:
        """Where m rows lie: float32 [m, d]."""
        d = self._d
        return self._numbers[: m * d].reshape(m, d)

    def place(self, m: int, shift: Float32, scale: Float32) -> Rows:
        """The m rows that lie there, as they are read from now on."""
        space = tf.constant(shift), tf.constant(scale)
        return Rows(self.rows(m), shift, scale, RowTensors(self._head, self._body, *space))
