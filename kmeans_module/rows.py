"""Points that graphs and NumPy read in blocks without a copy of the whole.

A read gives ``(x - shift) / scale``, a row in the model's space.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_types import Array, Float32, Float64
from .blocks import block_ranges, map_array, rows_per_block
from .graphs import FLOATS
from .quiet_tensorflow import tf

#: TensorFlow's kernels abort on a buffer that is not aligned to this number of bytes.
ALIGNMENT: Final = 64
ALIGNED_NUMBERS: Final = ALIGNMENT // 4

#: The most rows of a sample, and about the most numbers if rows are wide.
_SAMPLE_ROWS: Final = 4096
_SAMPLE_NUMBERS: Final = 2**18

#: Rows with fewer numbers are read and summed column by column.
NARROW: Final = 8

#: Rows with at least this many numbers are read in larger blocks.
_WIDE: Final = 64

#: Numbers of a wide row that are summed in one step.
_PIECE: Final = 8192


class RowTensors(NamedTuple):
    """Points as inputs of graphs, without a copy of the whole.

    Attributes:
        head: float32 [h], the first numbers of the table, h < 16: the memory of NumPy may begin at
            any address, but TensorFlow's kernels need aligned buffers.
        body: float32 [n d - h], the other numbers, in the memory of NumPy.
        shift, scale: float32 [d].
    """

    head: tf.Tensor
    body: tf.Tensor
    shift: tf.Tensor
    scale: tf.Tensor

    def block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Return rows ``start`` to ``stop`` or the last, in the model's space: float32 [m, d]."""
        return (self.raw_block(start, stop) - self.shift) / self.scale

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the given rows, int [m], in the model's space: float32 [m, d]."""
        return tf.map_fn(
            lambda row: self.block(row, row + 1)[0], rows, fn_output_signature=tf.float32
        )

    def raw_block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Return rows ``start`` to ``stop``, or to the last, as stored: float32 [m, d]."""
        d = tf.size(self.shift, tf.int64)
        h = tf.size(self.head, tf.int64)
        first, last = tf.cast(start, tf.int64) * d, tf.cast(stop, tf.int64) * d
        body = self.body[tf.maximum(first - h, 0) : tf.maximum(last - h, 0)]
        numbers = tf.cond(
            first < h, lambda: tf.concat([self.head[first:last], body], 0), lambda: body
        )
        return tf.reshape(numbers, [-1, d])


ROWS_SPEC = RowTensors(FLOATS, FLOATS, FLOATS, FLOATS)


@dataclass(frozen=True)
class Rows:
    """Stored points, and their map to the model's space.

    Attributes:
        array: float32 [n, d], as stored.
        shift, scale: float32 [d].
        tensors: the same points for graphs, in the same memory.
    """

    array: Float32
    shift: Float32
    scale: Float32
    tensors: RowTensors

    def gather(self, chosen: NDArray[np.integer], out: Float32 | None = None) -> Float32:
        """Return the chosen rows, int [m], in the model's space: float32 [m, d].

        They are written over ``out``, float32 [m, d], if it is given.
        """
        # With the mode "raise", NumPy would write to other memory first.
        mode: Any = "raise" if out is None else "clip"
        rows: Float32 = np.take(self.array, chosen, axis=0, out=out, mode=mode)
        shift, scale = self._tiles
        for first, last in block_ranges(0, len(rows), len(shift)):
            part = rows[first:last]
            part -= shift[: last - first]
            if self._is_scaled:
                part /= scale[: last - first]
        return rows

    def placed(self, start: int, stop: int) -> Float32:
        """Return a copy of the rows ``start`` to ``stop`` in the model's space: float32 [m, d]."""
        # A row of weight 0 may exceed float32.
        with np.errstate(over="ignore", invalid="ignore"):
            rows: Float32 = self.array[start:stop] - self.shift
            rows /= self.scale
        return rows

    def read(self, start: int, stop: int, out: Float32) -> None:
        """Write rows ``start`` to ``stop``, in the model's space, to float32 [stop - start, d]."""
        rows, d = self.array[start:stop], len(self.shift)
        # NumPy is several times slower on narrow rows.
        for part in map(slice, range(d), range(1, d + 1)) if d < NARROW else [slice(d)]:
            np.subtract(rows[:, part], self.shift[part], out=out[:, part])
            if self._is_scaled:
                out[:, part] /= self.scale[part]

    @cached_property
    def _is_scaled(self) -> bool:
        return bool((self.scale != 1).any())

    @cached_property
    def _tiles(self) -> tuple[Float32, Float32]:
        """Shift and scale, repeated for each row of a block that fits in the cache of a core.

        NumPy is several times slower on narrow rows. Blocks of wide rows are larger, because
        threads wait less for each other if each call of NumPy takes longer.
        """
        d = len(self.shift)
        block = rows_per_block(d, numbers=2**16 if d < _WIDE else 2**18)
        return np.tile(self.shift, (block, 1)), np.tile(self.scale, (block, 1))

    def squared_norms(self, start: int, stop: int) -> Float64:
        """Return the squared norms of m rows, ``start`` to ``stop``: float64 [m]."""
        return self._squared_lengths(start, stop, lambda rows, part: rows.astype(np.float64))

    def squared_distances(
        self, start: int, stop: int, assignments: NDArray[np.int32], centroids: Float32
    ) -> Float64:
        """Return the squared distance of each of m rows to its centroid, from ``x - c``: float64
        [m].

        Args:
            start, stop: the m rows.
            assignments: int32 [m].
            centroids: float32 [k, d], in the model's space.
        """

        def subtract(rows: Float32, part: slice) -> Float32:
            rows -= np.take(centroids, assignments[part], axis=0, mode="clip")
            return rows

        return self._squared_lengths(start, stop, subtract)

    def _squared_lengths(
        self, start: int, stop: int, function: Callable[[Float32, slice], Array]
    ) -> Float64:
        """Return the squared norms of the results of a function of the rows of each block.

        The second argument of the function is the slice of these rows in the range.
        """
        values = np.empty(stop - start)
        shift, scale = self._tiles
        block = len(shift)
        # The square of a row of weight 0 may exceed float32.
        with np.errstate(over="ignore", invalid="ignore"):
            for first, last in block_ranges(start, stop, block):
                rows = self.array[first:last] - shift[: last - first]
                if self._is_scaled:
                    rows /= scale[: last - first]
                part = slice(first - start, last - start)
                values[part] = squared_lengths(function(rows, part))
        return values


def squared_lengths(rows: Array) -> Array:
    """Return the squared norms of rows [m, d], summed in their own dtype: [m].

    The bits of a row depend only on the row, not on the number or the position of rows. Hence the
    function does not use ``einsum``, which may split a row, and sums wide rows in pieces, because a
    BLAS library splits them between its threads.
    """
    m, d = rows.shape
    if d < NARROW:
        # NumPy is several times slower on narrow rows.
        columns = np.ascontiguousarray(rows.T)
        squared: Array = np.square(columns, out=columns).sum(axis=0)
        return squared
    total = np.zeros(m, rows.dtype)
    for first, last in block_ranges(0, d, _PIECE):
        piece = rows[:, first:last]
        total += np.matmul(piece[:, None, :], piece[:, :, None])[:, 0, 0]
    return total


def place_rows(points: Array, shift: ArrayLike = 0, scale: ArrayLike = 1) -> Rows:
    """Return points [n, d] without a copy, if TensorFlow can read their memory; else a float32
    copy.

    ``shift`` and ``scale`` are float32 [d], or numbers for all columns.
    """
    d = points.shape[1]
    shift, scale = (np.broadcast_to(np.asarray(each, np.float32), d) for each in (shift, scale))
    flags = points.flags
    if not (
        points.dtype == np.float32 and flags.c_contiguous and flags.aligned and flags.writeable
    ):
        # Float64 and integers are centred before they are rounded; DLPack refuses read-only memory.
        wide, offset = np.float32 if points.dtype == np.float32 else np.float64, shift
        points = map_array(lambda rows: np.subtract(rows, offset, dtype=wide), points)
        shift = np.zeros_like(shift)
    flat = points.reshape(-1)
    h = min(-flat.ctypes.data % ALIGNMENT // flat.itemsize, flat.size)
    # An empty array has no memory to share.
    body = share_memory(flat[h:]) if flat.size > h else flat[h:]
    return Rows(points, shift, scale, RowTensors(*map(tf.constant, (flat[:h], body, shift, scale))))


def aligned_empty(size: int) -> Float32:
    """Allocate memory for ``size`` numbers at an address that TensorFlow's kernels accept."""
    room = np.empty(size + ALIGNED_NUMBERS, np.float32)
    first = -room.ctypes.data % ALIGNMENT // room.itemsize
    return room[first : first + size]


def share_memory(numbers: NDArray[Any]) -> tf.Tensor:
    """Return numbers at an aligned address as a tensor in the same memory."""
    return tf.experimental.dlpack.from_dlpack(numbers.__dlpack__())


def as_numpy(tensor: tf.Tensor) -> NDArray[Any]:
    """Return a tensor of n numbers as an array without a copy; `numpy()` would copy it."""
    return np.asarray(memoryview(tensor))


def select_weighted(rows: Array, sample_weight: Float32) -> Array:
    """Return the rows [m, d] of positive weight."""
    return rows if sample_weight.all() else rows[sample_weight > 0]


def sample_rows(sample_weight: Float32, d: int) -> NDArray[np.int64]:
    """Return numbers of rows of positive weight, one per stretch: int64 [m], m at most 4,096.

    They depend on d and on the weights, not on a seed or on the distribution over workers. The
    position in a stretch is pseudo-random with a fixed seed, because rows at equal distances could
    all be equal in periodic data.
    """
    weighted = None if sample_weight.all() else np.flatnonzero(sample_weight)
    chosen = sample_places(len(sample_weight) if weighted is None else len(weighted), d)
    return chosen if weighted is None else weighted[chosen]


def sample_places(n: int, d: int) -> NDArray[np.int64]:
    """Return the ascending places of `sample_rows` among n rows of positive weight: int64 [m]."""
    most = min(_SAMPLE_ROWS, rows_per_block(d, _SAMPLE_NUMBERS) + 255)
    if n <= most:
        return np.arange(n)
    ends = np.arange(most + 1) * n // most
    chosen: NDArray[np.int64]
    chosen = np.random.Generator(np.random.Philox(0)).integers(ends[:-1], ends[1:])
    return chosen
