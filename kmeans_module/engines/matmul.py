"""Lloyd steps by compiled kernels: every distance, or only those that the bounds leave.

The rows that must be searched are compacted into full blocks, so that what the bounds save is
saved. The sums of the clusters are kept in float64, and only rows that changed cluster are taken
from one and added to another.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..aligned_window import RowGather, Window, window
from ..array_types import Float64
from ..blocks import Contribution, block_ranges, kernel_rows, over_padded_blocks, pad_rows
from ..cluster_sums import cluster_sums, sums_shapes
from ..graphs import synchronized_cache, trace
from ..numpy_rows import as_numpy, squared_norms
from ..rows import ROWS_SPEC, Rows
from .hamerly_bounds import moves, tighten
from .matmul_kernel import nearest_by_matmul
from .sharded import LaneStep

#: Above this share of the rows all are searched: reading in order costs less than gathering.
_ALL_ROWS: Final = 0.7

#: Above this share of changed rows the sums are taken anew, by one reading in order.
_NEW_SUMS: Final = 0.5

#: So often they are taken anew in any case: a row that is far away leaves rounding behind in the
#: sum of a cluster that it has left.
_FRESH: Final = 64

_TIGHTEN_ROWS: Final = 65_536

#: The bounds are kept from the step on in which less than this share of the rows changes cluster:
#: before it they leave nearly every row to be searched.
_BOUNDS_FROM: Final = 0.02

#: Where the bounds leave too many rows after all they pause for 2, 4 and then 8 steps.
_LONGEST_PAUSE: Final = 8

_DTYPES: Final = (tf.int32, tf.float32, tf.float32)
_COLUMN = tf.TensorSpec([None], tf.float32)
_INDEX = tf.TensorSpec([None], tf.int32)
_COUNT = tf.TensorSpec([], tf.int32)
_TABLE = tf.TensorSpec([None, None], tf.float32)


class CompiledLane:
    """A range of rows of the engines ``product`` and ``bounds``.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: k.
        start, stop: its rows, ``start`` a multiple of 16.
        bounded: keep bounds and norms, 12 bytes a row, once few rows change cluster.
    """

    def __init__(
        self,
        points: Rows,
        sample_weight: tf.Tensor,
        n_clusters: int,
        start: int,
        stop: int,
        *,
        bounded: bool,
    ) -> None:
        self._points, self._weight = points, sample_weight[start:stop]
        self._start, self._n = start, stop - start
        self._range = tf.constant(start), tf.constant(stop - start)
        self._shape = (int(points.shift.shape[0]), n_clusters)
        self._bounded = bounded
        self._steps = 0
        self._changed = self._n
        self._pause, self._bounds_from = 1, 0
        self._norms = tf.zeros([0])
        self._m = kernel_rows(self._shape[0])
        self._gathering = RowGather(points, self._m)
        self._sums: Float64
        self._counts: Float64
        self._square: float
        self._bounds: tuple[tf.Tensor, ...] = ()
        self._centroids: tf.Tensor
        self.index: tf.Tensor = tf.fill([self._n], -1)

    def step(self, centroids: tf.Tensor) -> LaneStep:
        """One pass over its rows; see `lanes.Lane`."""
        index, *bounds = self._search(centroids)
        (changed,) = np.nonzero(as_numpy(index) != as_numpy(self.index))
        self._changed = len(changed)
        self._add_changed(index, changed)
        self.index, self._bounds, self._centroids = index, tuple(bounds), centroids
        self._steps += 1
        # Exactly empty, not what rounding leaves of a difference.
        inside = self._counts[:, 1] > 0
        sums = np.where(inside[:, None], self._sums, 0)
        counts = np.where(inside, self._counts[:, 0], 0)
        return LaneStep(sums, counts, self._square, self._changed > 0)

    def _search(self, moved: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The index of each row, and its bounds, for the centroids that moved."""
        if not self._bounds:
            return self._search_all(moved)
        own, others, apart = moves()(self._centroids, moved)
        upper, lower, needed = _tighten_all(*self._shape)(
            *self._bounds, self.index, moved, own, others, apart
        )
        (rows,) = np.nonzero(as_numpy(needed))
        if len(rows) > _ALL_ROWS * self._n:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._bounds_from = self._steps + self._pause
            return self._search_all(moved)
        held = [np.array(each) for each in (self.index, upper, lower)]
        search = nearest_by_matmul(self._m, *self._shape, bounded=True)
        for some, together in self._gathered(rows):
            square = self._filled(as_numpy(self._norms)[some])
            found = search(together, self._points.shift, self._points.scale, moved, square)
            for old, new in zip(held, found, strict=True):
                old[some] = as_numpy(new)[: len(some)]
        return tuple(tf.constant(each) for each in held)

    def _search_all(self, moved: tf.Tensor) -> tuple[tf.Tensor, ...]:
        few_changed = self._changed < _BOUNDS_FROM * self._n
        bounded = self._bounded and few_changed and self._steps >= self._bounds_from
        if bounded and not len(self._norms):
            norms = squared_norms(self._points, self._start, self._start + self._n)
            self._norms = tf.constant(norms)
        search = _search_all(*self._shape, bounded=bounded)
        found: tuple[tf.Tensor, ...] = search(self._points, self._norms, moved, *self._range)
        return found

    def _add_changed(self, index: tf.Tensor, changed: NDArray[np.int64]) -> None:
        """Carry the sums over to the new index; ``changed`` are the rows where it differs."""
        if len(changed) > _NEW_SUMS * self._n or self._steps % _FRESH == 0:
            sums, counts, square = _sum_all(*self._shape)(
                self._points, self._weight, index, self._range[0]
            )
            self._sums, self._counts = sums.numpy(), counts.numpy()
            self._square = float(square.numpy().sum())
            return
        change = cluster_sums(self._m, *self._shape, moved=True)
        for some, together in self._gathered(changed):
            mass, new, old = (
                self._filled(as_numpy(each)[some]) for each in (self._weight, index, self.index)
            )
            sums, counts = change(together, mass, self._points.shift, self._points.scale, new, old)
            self._sums = self._sums + sums.numpy()
            self._counts = self._counts + counts.numpy()

    def _gathered(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Window]]:
        """So many of its rows at a time, and the window that has them until the next."""
        for first, last in block_ranges(0, len(rows), self._m):
            some = rows[first:last]
            yield some, self._gathering.window(some + self._start)

    def _filled(self, values: NDArray[Any]) -> tf.Tensor:
        """The values with zeros after them, one for each row of a window."""
        whole = np.zeros(self._m, values.dtype)
        whole[: len(values)] = values
        return tf.constant(whole)


@synchronized_cache
def _search_all(d: int, k: int, *, bounded: bool) -> Any:
    m = kernel_rows(d)
    kernel = nearest_by_matmul(m, d, k, bounded=bounded)

    def search(
        points: Rows, norms: tf.Tensor, centroids: tf.Tensor, start: tf.Tensor, n: tf.Tensor
    ) -> list[tf.Tensor]:
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            square = [pad_rows(norms[i * m : (i + 1) * m], m)] * bounded
            rows = _window(points, start, i, m, d, n)
            return kernel(rows, *_space(points, d), centroids, *square), ()

        return over_padded_blocks(block, n, m, _DTYPES if bounded else _DTYPES[:1], [])[0]

    return trace(search, [ROWS_SPEC, _COLUMN, _TABLE, _COUNT, _COUNT])


@synchronized_cache
def _tighten_all(d: int, k: int) -> Any:
    m = _TIGHTEN_ROWS
    kernel = tighten(m, d, k)

    def tighten_all(
        upper: tf.Tensor,
        lower: tf.Tensor,
        index: tf.Tensor,
        centroids: tf.Tensor,
        *moved: tf.Tensor,
    ) -> list[tf.Tensor]:
        centroids = tf.ensure_shape(centroids, [k, d])
        moved = tuple(tf.ensure_shape(each, [k]) for each in moved)

        def block(i: tf.Tensor) -> Contribution:
            held = [pad_rows(each[i * m : (i + 1) * m], m) for each in (upper, lower, index)]
            return kernel(*held, centroids, *moved), ()

        dtypes = tf.float32, tf.float32, tf.bool
        return over_padded_blocks(block, tf.size(index), m, dtypes, [])[0]

    return trace(tighten_all, [_COLUMN, _COLUMN, _INDEX, _TABLE, *[_COLUMN] * 3])


@synchronized_cache
def _sum_all(d: int, k: int) -> Any:
    m = kernel_rows(d)
    kernel = cluster_sums(m, d, k)

    def sum_all(
        points: Rows, weight: tf.Tensor, index: tf.Tensor, start: tf.Tensor
    ) -> list[tf.Tensor]:
        n = tf.size(index)

        def block(i: tf.Tensor) -> Contribution:
            part = slice(i * m, (i + 1) * m)
            rows, mass = _window(points, start, i, m, d, n), pad_rows(weight[part], m)
            cluster = pad_rows(index[part], m)
            return (), kernel(rows, mass, *_space(points, d), cluster)

        return over_padded_blocks(block, n, m, [], sums_shapes(m, d, k))[1]

    return trace(sum_all, [ROWS_SPEC, _COLUMN, _INDEX, _COUNT])


def _window(points: Rows, start: tf.Tensor, i: tf.Tensor, m: int, d: int, n: tf.Tensor) -> Window:
    """Block i of m rows, of n rows from ``start`` on."""
    return window(points, start + i * m, start + tf.minimum((i + 1) * m, n), m, d)


def _space(points: Rows, d: int) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.ensure_shape(points.shift, [d]), tf.ensure_shape(points.scale, [d])
