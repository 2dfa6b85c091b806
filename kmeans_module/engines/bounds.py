"""Lloyd steps by matrix products for the rows that bounds do not exclude: the engine ``bounds``.

These rows are compacted into full blocks, so that an excluded row takes no time.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..aligned_window import Window
from ..array_types import Float32
from ..blocks import Contribution, loop_padded_blocks, pad_rows
from ..graphs import FLOATS, INTS, TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf
from ..rows import aligned_empty, as_numpy, share_memory
from ..weighted_rows import WeightedRows
from .hamerly_bounds import centroid_moves, tighten
from .matmul import MatmulShard, search_by_matmul
from .nearest_score import DTYPES

#: Above this share of rows all are searched, because sequential reading is faster than gathering;
#: for wide rows, which are not copied then, above the second.
_ALL_ROWS: Final = 0.7
_ALL_WIDE_ROWS: Final = 0.5

#: Bounds are used after a step in which less than this share of rows changes cluster: before that
#: they exclude hardly any row.
_BOUNDS_FROM: Final = 0.02

#: If the bounds exclude too few rows, they are not used for 2, 4 and then 8 steps.
_LONGEST_PAUSE: Final = 8


class BoundsShard(MatmulShard):
    """Computes distances of rows that may change cluster; 12 bytes per row with bounds."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._most_rows = (_ALL_ROWS if self._wide is None else _ALL_WIDE_ROWS) * self._n
        self._pause, self._bounds_from = 1, 0
        self._bounds: tuple[tf.Tensor, ...] = ()

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        return *super().kernels(centroids), lambda: self._compile_bounds(centroids)

    def _compile_bounds(self, centroids: Float32) -> None:
        self._changed = 0
        columns = self._search_all(centroids)
        after = tf.constant(centroids)
        moves = centroid_moves()(after, after)
        _tighten_graph(*self._shape)(*columns[1:], columns[0], after, *moves)
        self._search_rows(np.zeros(1, np.int64), centroids, list(map(np.array, columns)))

    def _search(self, centroids: Float32) -> NDArray[np.int32]:
        search = self._search_some if self._bounds else self._search_all
        index, *bounds = search(centroids)
        self._bounds = tuple(bounds)
        return as_numpy(index)

    def _search_some(self, centroids: Float32) -> list[tf.Tensor]:
        """Return the index of each row and its bounds; most are carried over."""
        after = tf.constant(centroids)
        moves = centroid_moves()(tf.constant(self._centroids), after)
        upper, lower, is_needed = _tighten_graph(*self._shape)(
            *self._bounds, tf.constant(self._assignments), after, *moves
        )
        (rows,) = np.nonzero(as_numpy(is_needed))
        if len(rows) > self._most_rows:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._bounds_from = self._steps + self._pause
            return self._search_all(centroids)
        columns, tensors = self._columns
        for column, values in zip(
            columns, (self._assignments, as_numpy(upper), as_numpy(lower)), strict=True
        ):
            np.copyto(column, values)
        self._search_rows(rows, centroids, columns)
        return tensors

    @cached_property
    def _columns(self) -> tuple[list[NDArray[Any]], list[tf.Tensor]]:
        """Memory for the index of each row and its bounds, and the same as tensors.

        Every step uses it again, because new memory takes as long as the bounds of all rows.
        """
        index, *bounds = (aligned_empty(self._n) for _ in DTYPES)
        columns: list[NDArray[Any]] = [index.view(np.int32), *bounds]
        return columns, list(map(share_memory, columns))

    def _search_rows(
        self, rows: NDArray[np.int64], centroids: Float32, columns: Sequence[NDArray[Any]]
    ) -> None:
        """Search these rows, and write their index and bounds into the columns."""
        wide = self._wide
        if len(rows) and wide is not None and wide.multiplies_by_numpy(*self._shape):
            norms = as_numpy(self._norms)[rows]
            results = wide.search_chosen(rows + self._start, norms, centroids)
            for column, result in zip(columns, results, strict=True):
                column[rows] = result
            return
        for part, window in self._gather(rows):
            chosen = rows[part]
            found = self._search_window(window, as_numpy(self._norms)[chosen], centroids)
            for column, values in zip(columns, found, strict=True):
                column[chosen] = as_numpy(values)[: len(chosen)]

    def _search_window(
        self, window: Window, norms: Float32, centroids: Float32
    ) -> Sequence[tf.Tensor]:
        """Return the index of each row of a window, whose norms are given, and its bounds."""
        if self._wide is not None:
            return self._wide.search_window(window, norms, centroids, has_far=self._has_far)
        search = search_by_matmul(self._m, *self._shape, with_bounds=True, has_far=self._has_far)
        found: Sequence[tf.Tensor] = search(
            window, tf.constant(centroids), self._pad(norms), self._sample
        )
        return found

    def _search_all(self, centroids: Float32) -> list[tf.Tensor]:
        """Return the index of each row, and its bounds if they are useful."""
        few_changed = self._changed < _BOUNDS_FROM * self._n
        with_bounds = few_changed and self._steps >= self._bounds_from
        return self._search_in_order(centroids, with_bounds=with_bounds)


@synchronized_cache
def _tighten_graph(d: int, k: int) -> Any:
    """Make the graph of `tighten` for a range of the rows."""
    # The kernel has a few numbers per row, for any d.
    m = 65_536
    kernel = tighten(m, d, k)

    def tighten_all(
        upper: tf.Tensor,
        lower: tf.Tensor,
        index: tf.Tensor,
        centroids: tf.Tensor,
        *moves: tf.Tensor,
    ) -> list[tf.Tensor]:
        centroids = tf.ensure_shape(centroids, [k, d])
        moves = tuple(tf.ensure_shape(each, [k]) for each in moves)

        def block(i: tf.Tensor) -> Contribution:
            columns = [pad_rows(each[i * m : (i + 1) * m], m) for each in (upper, lower, index)]
            return kernel(*columns, centroids, *moves), ()

        dtypes = tf.float32, tf.float32, tf.bool
        return loop_padded_blocks(block, tf.size(index), m, dtypes, [])[0]

    return trace(tighten_all, [FLOATS, FLOATS, INTS, TABLE, FLOATS, FLOATS, FLOATS])
