"""Points that TensorFlow reads in blocks from where they lie in memory."""

from typing import Final, NamedTuple

import numpy as np
import tensorflow as tf

from .array_types import Array, Float32
from .blocks import map_array

#: TensorFlow's kernels abort on a buffer that is not aligned to so many bytes.
_ALIGNMENT = 64
ALIGNED_NUMBERS: Final = _ALIGNMENT // 4


class Rows(NamedTuple):
    """Points that TensorFlow reads in blocks from where they lie, without a copy of the whole.

    Attributes:
        head: float32 [h], the first numbers of the table, h < 16: NumPy's memory begins where it
            likes, and TensorFlow's kernels take only aligned buffers.
        body: float32 [n d - h], the numbers after those, in NumPy's memory.
        shift: float32 [d]; scale: float32 [d]. What is read is ``(x - shift) / scale``.
    """

    head: tf.Tensor
    body: tf.Tensor
    shift: tf.Tensor
    scale: tf.Tensor

    def block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Rows ``start`` to ``stop``, or to the last, in the model's space: float32 [m, d]."""
        return (self.raw_block(start, stop) - self.shift) / self.scale

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """The given rows, int [m], in the model's space: float32 [m, d]."""
        return tf.map_fn(
            lambda row: self.block(row, row + 1)[0], rows, fn_output_signature=tf.float32
        )

    def raw_block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Rows ``start`` to ``stop``, or to the last, as they lie: float32 [m, d]."""
        d = tf.size(self.shift, tf.int64)
        h = tf.size(self.head, tf.int64)
        first, last = tf.cast(start, tf.int64) * d, tf.cast(stop, tf.int64) * d
        body = self.body[tf.maximum(first - h, 0) : tf.maximum(last - h, 0)]
        numbers = tf.cond(
            first < h, lambda: tf.concat([self.head[first:last], body], 0), lambda: body
        )
        return tf.reshape(numbers, [-1, d])


_VECTOR = tf.TensorSpec([None], tf.float32)
ROWS_SPEC = Rows(_VECTOR, _VECTOR, _VECTOR, _VECTOR)


def place_rows(points: Array, shift: Float32, scale: Float32) -> Rows:
    """Points [n, d] where they lie, if TensorFlow can read them there; else a float32 copy."""
    flags = points.flags
    if points.dtype == np.float32 and flags.c_contiguous and flags.aligned and flags.writeable:
        flat, offset = points.reshape(-1), shift
    else:
        # Float64 and integers are centred before they are rounded; DLPack refuses read-only memory.
        wide = np.float32 if points.dtype == np.float32 else np.float64
        centred = map_array(lambda rows: np.subtract(rows, shift, dtype=wide), points)
        flat, offset = centred.reshape(-1), np.zeros_like(shift)
    h = min(-flat.ctypes.data % _ALIGNMENT // flat.itemsize, flat.size)
    # An empty array has no memory to share.
    body = tf.experimental.dlpack.from_dlpack(flat[h:].__dlpack__()) if flat.size > h else flat[h:]
    return Rows(tf.constant(flat[:h]), tf.constant(body), tf.constant(offset), tf.constant(scale))


def shared_buffer(size: int) -> tuple[Float32, tf.Tensor]:
    """Zeros float32 [size], size at least 1, as an array and as a tensor in the same memory."""
    room = np.zeros(size + ALIGNED_NUMBERS, np.float32)
    first = -room.ctypes.data % _ALIGNMENT // room.itemsize
    numbers = room[first : first + size]
    return numbers, tf.experimental.dlpack.from_dlpack(numbers.__dlpack__())


def select_weighted(rows: Array, sample_weight: Float32) -> Array:
    """The rows [m, d] of positive weight."""
    return rows if sample_weight.all() else rows[sample_weight > 0]
