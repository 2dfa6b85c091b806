"""Lloyd steps by matrix products: the engine ``matmul``.

The sums of the clusters are kept in float64, and only rows that changed cluster are taken from one
and added to another.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..aligned_window import RowGather, Window, read_window
from ..array_types import Float64
from ..blocks import Contribution, block_ranges, kernel_rows, over_padded_blocks, pad_rows
from ..cluster_sums import cluster_sums, sums_shapes
from ..graphs import FLOATS, INT, INTS, TABLE, synchronized_cache, trace
from ..rows import ROWS_SPEC, Rows, RowTensors, as_numpy
from .engine import StepSums
from .matmul_kernel import search_by_matmul
from .sharded import Shard

#: Above this share of changed rows the sums are taken anew, by one reading in order.
_NEW_SUMS: Final = 0.5

#: So often they are taken anew in any case: a row that is far away leaves rounding behind in the
#: sum of a cluster that it has left.
_FRESH: Final = 64

_DTYPES: Final = (tf.int32, tf.float32, tf.float32)


class MatmulShard(Shard):
    """Every distance in every step; of the sums, what changed."""

    def __init__(
        self, points: Rows, sample_weight: tf.Tensor, n_clusters: int, start: int, stop: int
    ) -> None:
        super().__init__(points, sample_weight, n_clusters, start, stop)
        self._n = stop - start
        self._range = tf.constant(start), tf.constant(self._n)
        self._steps, self._changed = 0, self._n
        self._m = kernel_rows(self._shape[0])
        self._row_gather = RowGather(points, self._m)
        self._sums: Float64
        self._counts: Float64
        self._squares: float

    def _assign(self, centroids: tf.Tensor) -> StepSums:
        index = self._search(centroids)
        (changed,) = np.nonzero(as_numpy(index) != as_numpy(self._assignments))
        self._changed = len(changed)
        self._update_sums(index, changed)
        self._assignments = index
        self._steps += 1
        # Exactly empty, not what rounding leaves of a difference.
        has_members = self._counts[:, 1] > 0
        sums = np.where(has_members[:, None], self._sums, 0)
        counts = np.where(has_members, self._counts[:, 0], 0)
        return StepSums(sums, counts, self._squares, self._changed > 0)

    def _search(self, centroids: tf.Tensor) -> tf.Tensor:
        """The nearest centroid of each row, int32 [rows]."""
        search = search_graph(*self._shape, with_bounds=False)
        (index,) = search(self._points.tensors, tf.zeros([0]), centroids, *self._range)
        return index

    def _update_sums(self, index: tf.Tensor, changed: NDArray[np.int64]) -> None:
        """Carry the sums over to the new index; ``changed`` are the rows where it differs."""
        if len(changed) > _NEW_SUMS * self._n or self._steps % _FRESH == 0:
            sums, counts, squares = _sums_graph(*self._shape)(
                self._points.tensors, self._weight, index, self._range[0]
            )
            self._sums, self._counts = sums.numpy(), counts.numpy()
            self._squares = float(squares.numpy().sum())
            return
        kernel = cluster_sums(self._m, *self._shape, is_move=True)
        for chosen, window in self._gather(changed):
            weight, new, old = (
                self._pad(as_numpy(each)[chosen])
                for each in (self._weight, index, self._assignments)
            )
            sums, counts = kernel(window, weight, new, old)
            self._sums = self._sums + sums.numpy()
            self._counts = self._counts + counts.numpy()

    def _gather(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Window]]:
        """So many of its rows at a time, and the window that has them until the next."""
        for first, last in block_ranges(0, len(rows), self._m):
            yield rows[first:last], self._row_gather.window(rows[first:last] + self._start)

    def _pad(self, values: NDArray[Any]) -> tf.Tensor:
        """The values with zeros after them, one for each row of a window."""
        whole = np.zeros(self._m, values.dtype)
        whole[: len(values)] = values
        return tf.constant(whole)


@synchronized_cache
def search_graph(d: int, k: int, *, with_bounds: bool) -> Any:
    """`search_by_matmul` of a range of the rows.

    Returns:
        A function from points; with bounds, the squared norms of the range float32 [n]; centroids
        float32 [k, d]; its first row and n, int32 []. It gives the index int32 [n], and with
        bounds those, float32 [n] each.
    """
    m = kernel_rows(d)
    kernel = search_by_matmul(m, d, k, with_bounds=with_bounds)

    def search(
        points: RowTensors, norms: tf.Tensor, centroids: tf.Tensor, start: tf.Tensor, n: tf.Tensor
    ) -> list[tf.Tensor]:
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            squares = [pad_rows(norms[i * m : (i + 1) * m], m)] * with_bounds
            rows = _read_block(points, start, i, m, d, n)
            return kernel(rows, centroids, *squares), ()

        dtypes = _DTYPES if with_bounds else _DTYPES[:1]
        return over_padded_blocks(block, n, m, dtypes, [])[0]

    return trace(search, [ROWS_SPEC, FLOATS, TABLE, INT, INT])


@synchronized_cache
def _sums_graph(d: int, k: int) -> Any:
    m = kernel_rows(d)
    kernel = cluster_sums(m, d, k)

    def sum_rows(
        points: RowTensors, weight: tf.Tensor, index: tf.Tensor, start: tf.Tensor
    ) -> list[tf.Tensor]:
        n = tf.size(index)

        def block(i: tf.Tensor) -> Contribution:
            part = slice(i * m, (i + 1) * m)
            rows = _read_block(points, start, i, m, d, n)
            return (), kernel(rows, pad_rows(weight[part], m), pad_rows(index[part], m))

        return over_padded_blocks(block, n, m, [], sums_shapes(m, d, k))[1]

    return trace(sum_rows, [ROWS_SPEC, FLOATS, INTS, INT])


def _read_block(
    points: RowTensors, start: tf.Tensor, i: tf.Tensor, m: int, d: int, n: tf.Tensor
) -> Window:
    """Block i of m rows, of n rows from ``start`` on."""
    return read_window(points, start + i * m, start + tf.minimum((i + 1) * m, n), m, d)
