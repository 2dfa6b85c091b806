"""Rows as NumPy reads them: where they lie, for what is a pass of its own and seldom needed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .array_types import Array, Float32
from .blocks import block_ranges, rows_per_block
from .rows import Rows


class NumpyRows:
    """Points [n, d] in NumPy's memory, raw.

    Args:
        points: whose memory it is.
    """

    def __init__(self, points: Rows) -> None:
        d = len(points.shift)
        head, body = points.head.numpy(), as_numpy(points.body)
        # The head's rows, the last of which may end in the body, and those that lie in it whole.
        self._first = -(-len(head) // d)
        skip = self._first * d - len(head)
        self._early = np.concatenate([head, body[:skip]]).reshape(-1, d)
        self._late = body[skip : skip + (len(body) - skip) // d * d].reshape(-1, d)
        self._shift, self._scale = points.shift.numpy(), points.scale.numpy()

    def take(self, chosen: NDArray[np.int64], out: Float32) -> None:
        """Copy the chosen rows, int64 [m], raw, to ``out`` float32 [m, d]."""
        if len(self._late):
            np.take(self._late, chosen - self._first, axis=0, out=out, mode="clip")
        (early,) = np.nonzero(chosen < self._first)
        out[early] = self._early[chosen[early]]

    def gather(self, chosen: NDArray[np.int64]) -> Float32:
        """The chosen rows, int [m], in the model's space: float32 [m, d]."""
        rows = np.empty((len(chosen), len(self._shift)), np.float32)
        self.take(chosen, rows)
        rows -= self._shift
        rows /= self._scale
        return rows

    def raw_block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, raw: float32 [stop - start, d]."""
        raw = self._late[max(start - self._first, 0) : max(stop - self._first, 0)]
        if start < self._first:
            raw = np.concatenate([self._early[start:stop], raw])
        return raw


def as_numpy(tensor: tf.Tensor) -> NDArray[Any]:
    """A tensor of n numbers where it lies; `numpy()` would copy it."""
    return np.asarray(memoryview(tensor))


def squared_norms(points: Rows, start: int, stop: int) -> Float32:
    """The squared norm of each of a range of points, float32: in the model's space, in float64."""
    return _squares(points, start, stop, lambda rows, part: rows.astype(np.float64))


def squared_distances(
    points: Rows, start: int, stop: int, assignments: NDArray[np.int32], centroids: Float32
) -> Float32:
    """The squared distance of each of a range of points to its centroid, from ``x - c``.

    Args:
        points: [n, d].
        start, stop: the range, of m points.
        assignments: int32 [m].
        centroids: float32 [k, d], in the model's space.

    Returns:
        float32 [m].
    """

    def subtract(rows: Float32, part: slice) -> Float32:
        rows -= np.take(centroids, assignments[part], axis=0, mode="clip")
        return rows

    return _squares(points, start, stop, subtract)


def _squares(
    points: Rows, start: int, stop: int, function: Callable[[Float32, slice], Array]
) -> Float32:
    """The squared norms of what the function gives for the rows of each block, float32.

    The second argument of the function is where these rows are in the range.
    """
    raw_rows = NumpyRows(points)
    squares = np.empty(stop - start, np.float32)
    # With its temporaries a block should stay in a core's own cache.
    block = rows_per_block(len(points.shift), numbers=2**16)
    # Whole blocks of them: NumPy takes several times as long to go along each narrow row.
    shift, scale = (np.tile(each.numpy(), (block, 1)) for each in (points.shift, points.scale))
    # The square of a row of weight 0 may be beyond float32.
    with np.errstate(over="ignore", invalid="ignore"):
        for first, last in block_ranges(start, stop, block):
            part = slice(first - start, last - start)
            rows = raw_rows.raw_block(first, last) - shift[: last - first]
            rows /= scale[: last - first]
            values = function(rows, part)
            squares[part] = np.einsum("nd,nd->n", values, values)
    return squares
