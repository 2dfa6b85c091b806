"""Rows as a compiled kernel reads them: where they lie, without a copy.

A kernel takes only memory that begins at an aligned address, and rows begin where they like. So it
is given a window: numbers from the aligned address before its first row on, how many of them to
skip, and how many rows there are. Only a window that would reach beyond the table, the first or
the last of it, is a copy.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .numpy_rows import NumpyRows
from .rows import ALIGNED_NUMBERS, Rows, shared_buffer


class Window(NamedTuple):
    """Rows [m, d] that a kernel reads.

    Attributes:
        numbers: float32 [`window_size`]. Its rows begin after ``skip`` numbers.
        skip: int32 [].
        count: int32 [], how many rows there are, at most m.
    """

    numbers: tf.Tensor
    skip: tf.Tensor
    count: tf.Tensor

    def tile(self, i: tf.Tensor, rows: int, d: int) -> tf.Tensor:
        """The tile i of so many rows, raw: float32 [rows, d]; beyond the last row, whatever."""
        return tf.reshape(tf.slice(self.numbers, [self.skip + i * rows * d], [rows * d]), [rows, d])


def window_size(m: int, d: int) -> int:
    """Numbers of a window of m rows: with room to skip, and with an aligned end."""
    return (m * d + 2 * ALIGNED_NUMBERS - 1) // ALIGNED_NUMBERS * ALIGNED_NUMBERS


def window_spec(m: int, d: int) -> Window:
    """Its specification."""
    number = tf.TensorSpec([], tf.int32)
    return Window(tf.TensorSpec([window_size(m, d)], tf.float32), number, number)


def read_window(points: Rows, start: tf.Tensor, stop: tf.Tensor, m: int, d: int) -> Window:
    """Rows ``start`` to ``stop``, at most m of them."""
    size = window_size(m, d)
    first = tf.cast(start, tf.int64) * d - tf.size(points.head, tf.int64)
    aligned = first // ALIGNED_NUMBERS * ALIGNED_NUMBERS
    inside = (aligned >= 0) & (aligned + size <= tf.size(points.body, tf.int64))
    numbers = tf.cond(
        inside,
        lambda: points.body[aligned : aligned + size],
        lambda: _whole(points.raw_block(start, stop), size),
    )
    skip = tf.where(inside, tf.cast(first - aligned, tf.int32), 0)
    return Window(tf.ensure_shape(numbers, [size]), skip, stop - start)


class RowGather:
    """Chosen rows, together in memory of its own, which the next ones take over.

    NumPy copies a row in a tenth of the time that TensorFlow takes to gather it.

    Args:
        points: [n, d].
        m: rows at most.
    """

    def __init__(self, points: Rows, m: int) -> None:
        self._rows, self._d = NumpyRows(points), len(points.shift)
        self._numbers, self._tensor = shared_buffer(window_size(m, self._d))

    def window(self, chosen: NDArray[np.int64]) -> Window:
        """The chosen rows, int64 [<= m]; until the next are asked for."""
        size = len(chosen) * self._d
        self._rows.take(chosen, self._numbers[:size].reshape(-1, self._d))
        return Window(self._tensor, tf.constant(0), tf.constant(len(chosen)))


def _whole(rows: tf.Tensor, size: int) -> tf.Tensor:
    """The numbers of the rows, with zeros after them: float32 [size]."""
    numbers = tf.reshape(rows, [-1])
    return tf.ensure_shape(tf.pad(numbers, [[0, size - tf.size(numbers)]]), [size])
