"""Lloyd steps by the distances to the centroids that moved far enough: the engine ``moved``.

For many clusters. The bounds of `bounds` compare a row with the largest move of all centroids, and
search it among all of them. But most centroids move little, and late in a fit not at all. So here
all rows share one step to which their bounds refer, and a row is compared with those centroids
alone that moved since then by as much as its bounds are apart:

- ``lower`` is at most the row's distance to any other centroid than its own, where these were in
  the step of reference, and ``upper`` at least the distance to its own, where that is now. A
  centroid that has moved by less than ``lower - upper`` since is not the nearest (triangle
  inequality; one move from there to here, not the sum of the moves between, which is longer: the
  "ns-bounds" of Newling and Fleuret 2016, "Fast k-means with accurate bounds").
- The centroids are put in the order of their moves, the longest first. What a row needs is the
  beginning of that order, and rows that need as much are worked on together (`nearer_search`).
- A row to which none of these may be nearer than its own keeps it, and so do its bounds. Few are
  left, and searched among all centroids. Of a row that changes cluster, the one that it left is
  one of the others from then on, and ``lower`` is taken to where that was in the step of reference.
- When a step costs more than the steps since the reference did in the mean, that one included, all
  rows are searched, and this step is the reference of the next.

Memory: 8 bytes a row.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32, Float64
from ..blocks import block_ranges, rows_per_block
from ..quiet_tensorflow import tf
from ..rows import aligned_empty, as_numpy, share_memory, squared_lengths
from ..weighted_rows import WeightedRows
from .matmul import MatmulShard, search_by_matmul
from .nearer_search import nearer_search, tile_rows

#: The bounds are kept from the step on in which less than this share of the rows changes cluster.
_BOUNDS_FROM: Final = 0.05

#: What a step would cost, were it the first since the reference, is told by so many rows.
_SAMPLE_ROWS: Final = 4096

#: So many centroids are taken at a time.
CHUNK: Final = 64

#: A row that is gathered takes about as long as so many distances.
_GATHERED: Final = 64

#: Where a row needs more than this share of the centroids, it is searched among all.
_MOST: Final = 0.75

#: All rows are searched where the others' distances cost this share of theirs.
_ALL_ROWS: Final = 0.95

#: Numbers of a block in float64.
_BLOCK_NUMBERS: Final = 2**17

_WIDER: Final = np.float32(1 + 2.0**-20)
_NARROWER: Final = np.float32(1 - 2.0**-20)

#: Rows, int64 [r].
_Places = NDArray[np.int64]


class MovedShard(MatmulShard):
    """The distances of rows that may have moved to centroids that moved far enough."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        d = self._shape[0]
        own = aligned_empty(self._m * d)
        own[:] = 0
        self._own, self._own_tensor = own.reshape(self._m, d), share_memory(own)
        self._reference: Float32 | None = None
        self._lower = self._upper = np.empty(0, np.float32)
        self._fresh = self._lower, self._upper, self._assignments[:0]
        self._lost = 0.0
        self._searched, self._before = np.empty(0, np.int64), np.empty(0, np.int32)

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        return *super().kernels(centroids), lambda: self._compile_moved(centroids)

    def _compile_moved(self, centroids: Float32) -> None:
        self._search_all(centroids, with_bounds=True)
        self._assignments = np.zeros(self._n, np.int32)
        row, order = np.zeros(1, np.int64), np.arange(len(centroids))
        self._leave(row, np.zeros(1, np.int16), order, centroids)
        self._search_rows(row, centroids, self._assignments.copy())

    def _move_rows(
        self, centroids: Float32
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        moves = super()._move_rows(centroids)
        changed = np.flatnonzero(self._assignments[self._searched] != self._before)
        self._follow(self._searched[changed], self._before[changed], centroids)
        return moves

    def _search(self, centroids: Float32) -> NDArray[np.int32]:
        self._searched, self._before = np.empty(0, np.int64), np.empty(0, np.int32)
        if self._reference is not None:
            found = self._search_some(centroids)
            if found is not None:
                return found
        with_bounds = self._changed < _BOUNDS_FROM * self._n
        return self._search_all(centroids, with_bounds=with_bounds)

    def _search_all(self, centroids: Float32, *, with_bounds: bool) -> NDArray[np.int32]:
        """The nearest centroid of each row, to which the bounds refer where they are kept."""
        index, *bounds = self._search_in_order(centroids, with_bounds=with_bounds)
        self._reference = None
        if with_bounds:
            upper, lower = bounds
            self._upper, self._lower = np.array(as_numpy(upper)), as_numpy(lower).copy()
            self._reference = centroids
            few = slice(None, None, max(self._n // _SAMPLE_ROWS, 1))
            # That of an undecided row is infinite, whatever its cluster.
            own = np.maximum(as_numpy(index)[few], 0)
            self._fresh = self._lower[few], self._upper[few].copy(), own
            self._lost = 0.0
        return as_numpy(index)

    def _search_some(self, centroids: Float32) -> NDArray[np.int32] | None:
        """The nearest centroid of each row; None where all must be searched."""
        k = len(centroids)
        assert self._reference is not None
        moves = _lengths(centroids, self._reference, _WIDER)
        last_moves = _lengths(centroids, self._centroids, _WIDER)
        self._upper += last_moves[self._assignments]
        self._upper *= _WIDER
        order = np.argsort(-moves, kind="stable")
        rows, chunks = _needed_chunks(self._lower, self._upper, moves[order])
        is_whole = chunks > _MOST * k / CHUNK
        cost = _cost(chunks, k) / self._n
        lower, upper, own = self._fresh
        upper = upper + last_moves[own]
        fresh = _cost(_needed_chunks(lower, upper, np.sort(last_moves)[::-1])[1], k) / len(own)
        self._lost += cost - fresh
        if cost > _ALL_ROWS * k or self._lost > k - fresh:
            return None
        whole, rows, chunks = rows[is_whole], rows[~is_whole], chunks[~is_whole]
        found = self._assignments.copy()
        by_need = np.argsort(-chunks, kind="stable")
        left = self._leave(rows[by_need], chunks[by_need], order, centroids)
        self._searched = np.concatenate([whole, left])
        self._before = found[self._searched]
        self._search_rows(self._searched, centroids, found)
        return found

    def _leave(
        self, rows: _Places, chunks: NDArray[np.int16], order: _Places, centroids: Float32
    ) -> _Places:
        """Return the rows, in descending order of need, that may have another nearest centroid.

        The upper bounds of the others become those of the distances.
        """
        (d, k), tile = self._shape, tile_rows(self._m, self._shape[0])
        place = np.empty(k, np.int32)
        place[order] = np.arange(k, dtype=np.int32)
        ordered = tf.constant(centroids[order])
        search = nearer_search(self._m, d, k, CHUNK)
        norms, left = as_numpy(self._norms), []
        for part, window in self._gather(rows):
            chosen = rows[part]
            own = self._assignments[chosen]
            np.take(centroids, own, axis=0, out=self._own[: len(chosen)], mode="clip")
            most = np.zeros(self._m // tile, np.int32)
            firsts = chunks[part][::tile]
            most[: len(firsts)] = firsts
            stays, upper = search(
                window,
                self._own_tensor,
                self._pad(place[own]),
                tf.constant(most),
                self._pad(norms[chosen]),
                self._sample,
                ordered,
            )
            self._upper[chosen] = as_numpy(upper)[: len(chosen)]
            left.append(chosen[~as_numpy(stays)[: len(chosen)]])
        return np.concatenate(left) if left else rows

    def _search_rows(self, rows: _Places, centroids: Float32, found: NDArray[np.int32]) -> None:
        """Search all centroids for these rows, and store the results.

        The upper bounds become those of the distances to it.
        """
        norms, after = as_numpy(self._norms), tf.constant(centroids)
        search = search_by_matmul(self._m, *self._shape, with_bounds=True, has_far=self._has_far)
        for part, window in self._gather(rows):
            chosen = rows[part]
            index, upper, _ = search(window, after, self._pad(norms[chosen]), self._sample)
            found[chosen] = as_numpy(index)[: len(chosen)]
            self._upper[chosen] = as_numpy(upper)[: len(chosen)]

    def _follow(self, rows: _Places, before: NDArray[np.int32], centroids: Float32) -> None:
        """Replace the bounds of rows that changed their cluster."""
        reference, d = self._reference, self._shape[0]
        for first, last in block_ranges(0, len(rows), rows_per_block(d, _BLOCK_NUMBERS)):
            chosen = rows[first:last]
            points = self._points.gather(chosen + self._start)
            self._upper[chosen] = _lengths(points, centroids[self._assignments[chosen]], _WIDER)
            assert reference is not None
            left = _lengths(points, reference[before[first:last]], _NARROWER)
            self._lower[chosen] = np.minimum(self._lower[chosen], left)


def _lengths(one: Float32, other: Float32, factor: np.float32) -> Float32:
    """The distances between rows [m, d], times a factor that outweighs their rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide: Float64 = np.sqrt(squared_lengths(one.astype(np.float64) - other))
        return (wide * factor).astype(np.float32)


def _needed_chunks(
    lower: Float32, upper: Float32, moves: Float32
) -> tuple[_Places, NDArray[np.int16]]:
    """The rows that need any centroids, whose moves [k] fall, and how many chunks of these."""
    with np.errstate(invalid="ignore"):
        # Less than the difference, by more than rounding can move this and a comparison with it.
        apart = lower - upper * np.float32(1 + 2.0**-18)
        # NaN is apart from nothing.
        near = np.flatnonzero(~(apart > moves[0]))
    chunks = np.searchsorted(-moves[::CHUNK], -apart[near], side="right")
    return near, chunks.astype(np.int16)


def _cost(chunks: NDArray[np.int16], k: int) -> float:
    """The number of distances that take as long as rows with this number of chunks."""
    searched = np.bincount(chunks)
    distances = np.arange(len(searched)) * CHUNK
    distances[distances > _MOST * k] = k
    return float((searched * (distances + _GATHERED)).sum())
