"""Lloyd steps by matrix products: the engine ``matmul``.

The sums of the clusters are kept, and only rows that changed cluster are taken from one and added
to another.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import reduce
from itertools import starmap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..aligned_window import RowGather, Window, read_window, window_spec
from ..array_types import Float32
from ..blocks import (
    Contribution,
    block_ranges,
    kernel_rows,
    loop_blocks,
    loop_padded_blocks,
    pad_rows,
    power_of_two_rows,
)
from ..cluster_sums import ClusterSums, cluster_sums, sums_shapes
from ..graphs import FLOATS, INT, INTS, TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf
from ..rows import ROWS_SPEC, RowTensors, as_numpy
from ..weighted_rows import WeightedRows
from .engine import StepSums
from .kept_sums import KeptSumsShard
from .nearest_score import DTYPES, nearest_by_scores
from .score_rounding import SAMPLE_SPEC, has_far_centroid, sample_norms, score_errors
from .wide_rows import WideRows, is_wide

#: Rows of fewer numbers are multiplied as columns: in the other form a row is no whole register.
_NARROW: Final = 8

#: Windows of wide rows have so many times as many rows: a call for one takes as long as the product
#: of several hundred rows.
_WIDE_WINDOW: Final = 4


class MatmulSearchShard(KeptSumsShard):
    """Computes every distance in every step. Its search is compiled, and nothing else."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._range = tf.constant(start), tf.constant(self._n)
        self._sample = sample_norms(as_numpy(self._norms))
        norms = as_numpy(self._norms)
        suits = is_wide(rows, n_clusters)
        self._wide = WideRows(self._points, start, stop, norms) if suits else None
        self._has_far = False

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        self._has_far = has_far_centroid(centroids, is_wide=self._wide is not None)
        return (lambda: self._search_in_order(centroids, with_bounds=False),)

    @staticmethod
    def variant(rows: WeightedRows, centroids: Float32) -> Hashable:
        suits = is_wide(rows, len(centroids))
        if suits and WideRows.multiplies_by_numpy(*reversed(centroids.shape)):
            return "numpy"
        is_aligned = not suits or WideRows.is_aligned(rows.points)
        return suits, is_aligned, has_far_centroid(centroids, is_wide=suits)

    def _assign(self, centroids: Float32) -> StepSums:
        self._has_far = has_far_centroid(centroids, is_wide=self._wide is not None)
        return super()._assign(centroids)

    def _search(self, centroids: Float32) -> NDArray[np.int32]:
        (index,) = self._search_in_order(centroids, with_bounds=False)
        return as_numpy(index)

    def _search_in_order(self, centroids: Float32, *, with_bounds: bool) -> list[tf.Tensor]:
        """The index of each row, and the bounds, by one reading of all."""
        options = {"with_bounds": with_bounds, "has_far": self._has_far}
        if self._wide is not None:
            return self._wide.search(self._norms, centroids, **options)
        search = search_graph(*self._shape, **options)
        rows = self._points.tensors, self._norms, self._sample
        found: list[tf.Tensor] = search(*rows, tf.constant(centroids), *self._range)
        return found


class MatmulShard(MatmulSearchShard):
    """Computes every distance in every step, and updates the sums for the rows that changed."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._m = kernel_rows(self._shape[0]) * (1 if self._wide is None else _WIDE_WINDOW)
        self._row_gather = RowGather(self._points, self._m)

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        row, cluster = np.zeros(1, np.int64), np.zeros(1, np.int32)
        return (
            *super().kernels(centroids),
            self._sum_all,
            lambda: self._sum_moves(row, cluster, cluster),
        )

    def _sum_all(self) -> ClusterSums:
        limbs = _sums_graph(*self._shape, self.scale.limbs)(
            self._points.tensors,
            self._weight,
            self._scale_tensor,
            tf.constant(self._assignments),
            self._range[0],
        )
        return ClusterSums.of(limbs, self.scale)

    def _sum_moves(
        self, changed: NDArray[np.int64], new: NDArray[np.int32], old: NDArray[np.int32]
    ) -> ClusterSums:
        kernel = cluster_sums(self._m, *self._shape, self.scale.limbs, is_move=True)
        weight = as_numpy(self._weight)[changed]

        def sum_part(part: slice, window: Window) -> ClusterSums:
            mass, *clusters = (self._pad(each[part]) for each in (weight, new, old))
            return ClusterSums.of(kernel(window, mass, self._scale_tensor, *clusters), self.scale)

        return reduce(ClusterSums.plus, starmap(sum_part, self._gather(changed)))

    def _gather(self, rows: NDArray[np.int64]) -> Iterator[tuple[slice, Window]]:
        """So many of the rows at a time: which, and the window that has them until the next."""
        for first, last in block_ranges(0, len(rows), self._m):
            yield slice(first, last), self._row_gather.window(rows[first:last] + self._start)

    def _pad(self, values: NDArray[Any]) -> tf.Tensor:
        """The values with zeros after them, one for each row of a window."""
        whole = np.zeros(self._m, values.dtype)
        whole[: len(values)] = values
        return tf.constant(whole)


@synchronized_cache
def search_graph(d: int, k: int, *, with_bounds: bool, has_far: bool) -> Any:
    """`search_by_matmul` of a range of the rows.

    Returns:
        A function from points; the norms of the range float32 [n]; `sample_norms` of them;
        centroids float32 [k, d]; its first row and n, int32 []. It gives the index int32 [n], -1
        where it is undecided, and with bounds those, float32 [n] each.
    """
    m = kernel_rows(d)
    kernel = search_by_matmul(m, d, k, with_bounds=with_bounds, has_far=has_far)

    def search(
        points: RowTensors,
        norms: tf.Tensor,
        sample: tf.Tensor,
        centroids: tf.Tensor,
        start: tf.Tensor,
        n: tf.Tensor,
    ) -> list[tf.Tensor]:
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            rows = _read_block(points, start, i, m, d, n)
            return kernel(rows, centroids, pad_rows(norms[i * m : (i + 1) * m], m), sample), ()

        dtypes = DTYPES if with_bounds else DTYPES[:1]
        return loop_padded_blocks(block, n, m, dtypes, [])[0]

    return trace(search, [ROWS_SPEC, FLOATS, SAMPLE_SPEC, TABLE, INT, INT])


@synchronized_cache
def _sums_graph(d: int, k: int, limbs: int) -> Any:
    m = kernel_rows(d)
    kernel = cluster_sums(m, d, k, limbs)

    def sum_rows(
        points: RowTensors,
        weight: tf.Tensor,
        scale: tf.Tensor,
        index: tf.Tensor,
        start: tf.Tensor,
    ) -> list[tf.Tensor]:
        n = tf.size(index)

        def block(i: tf.Tensor) -> Contribution:
            part = slice(i * m, (i + 1) * m)
            rows = _read_block(points, start, i, m, d, n)
            return (), kernel(rows, pad_rows(weight[part], m), scale, pad_rows(index[part], m))

        return loop_padded_blocks(block, n, m, [], sums_shapes(d, k, limbs))[1]

    return trace(sum_rows, [ROWS_SPEC, FLOATS, tf.TensorSpec([d + 2], tf.float64), INTS, INT])


def _read_block(
    points: RowTensors, start: tf.Tensor, i: tf.Tensor, m: int, d: int, n: tf.Tensor
) -> Window:
    """Block i of m rows, of n rows from ``start`` on."""
    return read_window(points, start + i * m, start + tf.minimum((i + 1) * m, n), m, d)


@synchronized_cache
def search_by_matmul(
    m: int, d: int, k: int, *, with_bounds: bool, has_far: bool
) -> Callable[..., Any]:
    """The compiled kernel: the nearest centroid of each of m rows, by one matrix product.

    Lloyd 1982 in the expanded form, ``|x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x.c)``: the bracket, here
    the score, is a product of ``[-c, |c|^2 / 2]`` with ``[x, 1]``, so that the norm costs no pass
    of its own. The scores lie as [k, rows]: a minimum over their first dimension runs along the
    rows in vector registers, where ``argmin`` over the last does not. The block is worked on in
    tiles whose scores stay in a core's own cache while they are read again.

    Whether another score is so near to the least that rounding could tell them apart wrongly costs
    no pass of its own: see `nearest_score`.

    With ``has_far`` each centroid has an error of its own, so that one far out does not leave all
    rows undecided: that takes an addition for each score, a third more where rows are narrow.

    Returns:
        A function from a window of m rows; centroids float32 [k, d], in the model's space; the
        rows' norms float32 [m]; `sample_norms`. It gives the index int32 [m] of the nearest
        centroid, -1 where it is undecided. With ``with_bounds`` also float32 [m] each: at least the
        distance to it, and at most the distance to any other. Beyond the window's rows they are
        undefined.
        O(m k d) time, a temporary of [k, tile].
    """

    def kernel(
        window: Window, centroids: tf.Tensor, norms: tf.Tensor, sample: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1, keepdims=True)
        # Of all rows before the loop: the compiler would compute them anew for each score.
        errors, spreads = score_errors(norms, centroids, d, sample)
        spreads = spreads[:, None]
        if has_far:
            half_norm += 0.5 * spreads
        else:
            errors += tf.reduce_max(spreads)
        weights = tf.concat([-centroids, half_norm], 1)

        def search_tile(i: tf.Tensor) -> Contribution:
            points = window.tile_by_product(i, tile)
            if d < _NARROW:
                columns = tf.concat([tf.transpose(points), tf.ones([1, tile])], 0)
                scores = tf.matmul(weights, columns)
            else:
                points = tf.concat([points, tf.ones([tile, 1])], 1)
                scores = tf.matmul(weights, points, transpose_b=True)
            error = tf.slice(errors, [i * tile], [tile])
            length = tf.slice(norms, [i * tile], [tile])
            return nearest(scores, error, length, spreads), []

        dtypes = DTYPES if with_bounds else DTYPES[:1]
        parts = [tf.TensorArray(dtype, m // tile, element_shape=[tile]) for dtype in dtypes]
        parts, _ = loop_blocks(search_tile, (window.count + tile - 1) // tile, parts, [])
        return tuple(tf.reshape(part.stack(), [m]) for part in parts)

    nearest = nearest_by_scores(k, with_bounds=with_bounds, has_far=has_far)
    # The scores of a tile, and its points, should be 128 KiB or so.
    tile = power_of_two_rows(max(k, d), 2**15, least=64, most=min(m, 512))
    signature = [
        window_spec(m, d),
        tf.TensorSpec([k, d], tf.float32),
        tf.TensorSpec([m], tf.float32),
        SAMPLE_SPEC,
    ]
    return trace(kernel, signature, is_compiled=True)
