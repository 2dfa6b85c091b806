"""Rows as NumPy reads them: where they lie, for what is a pass of its own and seldom needed."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .array_types import Float32
from .cores import in_parallel, ranges
from .rows import Rows, rows_per_block


class NumpyRows:
    """Points [n, d] in NumPy's memory, raw.

    Args:
        points: whose memory it is.
    """

    def __init__(self, points: Rows) -> None:
        d = len(points.shift)
        head, body = points.head.numpy(), looked_at(points.body)
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
        return self._placed(rows)

    def block(self, start: int, stop: int) -> Float32:
        """Rows ``start`` to ``stop``, in the model's space: float32 [stop - start, d]."""
        raw = self._late[max(start - self._first, 0) : max(stop - self._first, 0)]
        if start < self._first:
            raw = np.concatenate([self._early[start:stop], raw])
        return self._placed(raw)

    def _placed(self, raw: Float32) -> Float32:
        placed: Float32 = raw - self._shift
        placed /= self._scale
        return placed


def looked_at(tensor: tf.Tensor) -> NDArray[Any]:
    """A tensor of n numbers where it lies; `numpy()` would copy it."""
    return np.asarray(memoryview(tensor))


def squared_norms(points: Rows, start: int, stop: int) -> Float32:
    """The squared norm of each of a range of points, float32: in the model's space, in float64."""
    rows = NumpyRows(points)
    norms = np.empty(stop - start, np.float32)
    block = _block_rows(points)
    # The square of a row of weight 0 may be beyond float32.
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(start, stop, block):
            last = min(first + block, stop)
            wide = rows.block(first, last).astype(np.float64)
            norms[first - start : last - start] = np.einsum("nd,nd->n", wide, wide)
    return norms


def squared_distances(points: Rows, assignments: NDArray[np.int32], centroids: Float32) -> Float32:
    """The squared distance of each point to its centroid, from ``x - c``: nothing cancels.

    Args:
        points: [n, d].
        assignments: int32 [n].
        centroids: float32 [k, d], in the model's space.

    Returns:
        float32 [n].
    """
    rows = NumpyRows(points)
    squares = np.empty(len(assignments), np.float32)
    block = _block_rows(points)

    def part(start: int, stop: int) -> None:
        # The square of a row of weight 0 may be beyond float32.
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(start, stop, block):
                last = min(first + block, stop)
                apart = rows.block(first, last)
                apart -= centroids[assignments[first:last]]
                squares[first:last] = np.einsum("nd,nd->n", apart, apart)

    in_parallel(part, ranges(len(assignments)))
    return squares


def _block_rows(points: Rows) -> int:
    """Rows of a block: with its temporaries it should stay in a core's own cache."""
    return rows_per_block(16 * len(points.shift))
