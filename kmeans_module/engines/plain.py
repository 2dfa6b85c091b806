"""Lloyd steps without a compiler: the engine ``plain``.

NumPy works through tiles of the scores that stay in the cache that the cores share, so that nothing
is traced or compiled before the first step.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32
from ..blocks import block_ranges, rows_per_block
from ..cores import core_ranges, run_in_parallel
from ..quiet_tensorflow import tf
from ..rows import NARROW, Rows, aligned_empty, as_numpy, share_memory
from ..weighted_rows import WeightedRows
from .kept_sums import KeptSumsShard
from .near_ties import decide, undecided_rows
from .nearest_score import ScoreChoice
from .score_rounding import has_far_centroid, score_bounds
from .small_products import SMALL_PRODUCT
from .wide_rows import WideRows, is_wide

#: Scores of a tile, and its numbers. The threads of the cores wait for each other between two calls
#: of NumPy, so that few long calls are quicker than many in a core's own cache.
_TILE_NUMBERS: Final = 2**19

#: Of fewer rows at a time TensorFlow's product is quicker than NumPy's, which one thread can take
#: of so many rows only.
_LEAST_PIECE: Final = 128

#: A tile of TensorFlow's product, and a block, are worth the time that operations take to begin.
_LEAST_ROWS: Final = 512


class PlainShard(KeptSumsShard):
    """Every distance in every step."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._search_range = self._search_tiles
        if is_wide(rows, n_clusters):
            wide = WideRows(self._points, start, stop, as_numpy(self._norms))
            self._search_range = wide.search_by_numpy
        else:
            self._tile = ScoreTile(*self._shape, self._n)

    def _search(self, centroids: Float32) -> NDArray[np.int32]:
        return self._search_range(centroids)

    def _search_tiles(self, centroids: Float32) -> NDArray[np.int32]:
        return search_range(self._tile, self._points, as_numpy(self._norms), centroids, self._start)


def nearest_rows(rows: WeightedRows, centroids: Float32) -> NDArray[np.int32]:
    """Return the nearest of the centroids [k, d] for each row: int32 [n]."""
    k, d = centroids.shape

    def find(start: int, stop: int) -> NDArray[np.int32]:
        tile, norms = ScoreTile(d, k, stop - start), as_numpy(rows.norms[start:stop])
        index = search_range(tile, rows.points, norms, centroids, start)
        undecided = undecided_rows(index)
        index[undecided] = decide(rows.points, undecided + start, centroids)
        return index

    return np.concatenate(run_in_parallel(find, core_ranges(rows.n)))


class ScoreTile:
    """Memory for a tile of rows and its scores ``|c|^2 / 2 - x.c``.

    The scores lie as [k, rows], so that a pass down the centroids runs along the rows. They are the
    product of ``[-c, |c|^2 / 2]`` with ``[x, 1]``, taken in pieces of as many rows as one thread
    takes of a product by NumPy: a larger one its BLAS library would share out among threads of its
    own, beside those of the cores. Where that is too few, TensorFlow multiplies the tile.

    Args:
        d, k: the width of a row, and how many centroids there are.
        n: how many rows there are at most.

    Attributes:
        size: rows of a tile.
        rows: float32 [size, d].
    """

    def __init__(self, d: int, k: int, n: int) -> None:
        piece = SMALL_PRODUCT // ((d + 1) * k)
        self._by_numpy = piece >= _LEAST_PIECE
        most = rows_per_block(max(d, k), _TILE_NUMBERS)
        piece = min(piece, most, n) if self._by_numpy else min(max(most, _LEAST_ROWS), n)
        pieces = max(min(most // piece, -(-n // piece)), 1)
        self.size = pieces * piece
        numbers = aligned_empty(self.size * (d + 1))
        numbers[:] = 1
        # Narrow rows are read column by column, which is quicker where a column is in one piece.
        self._has_columns = d < NARROW
        lengths = (d + 1, self.size) if self._has_columns else (self.size, d + 1)
        table = numbers.reshape(lengths)
        columns = table if self._has_columns else table.T
        self.rows = columns[:d].T
        self._tensor = tf.reshape(share_memory(numbers), lengths)
        self._columns = columns.reshape(d + 1, pieces, piece).transpose(1, 0, 2)
        self._choice = ScoreChoice(k, self.size)
        self._scores, self._may_be = self._choice.scores, self._choice.may_be
        self._pieces = self._scores.reshape(k, pieces, piece).transpose(1, 0, 2)

    def search(
        self, weights: Float32, spreads: Float32 | None, errors: Float32
    ) -> NDArray[np.int32]:
        """Return the nearest centroid of each row of the tile, -1 if rounding matters: int32
        [size].

        Args:
            weights: float32 [k, d + 1], the centroids times -1, and half of their squared norms and
                of their errors, if there are.
            spreads: float32 [k], errors of the centroids; None where those of the rows do for all.
            errors: float32 [size], of the rows.
        """
        return self._choice.choose(self._score(weights), spreads, errors)

    def may_be_within(self, weights: Float32, most: Float32) -> NDArray[np.bool_]:
        """Whether a score of the tile is not above what it may be at most: bool [k, size].

        It is, where either is not a number. What is returned is written anew by the next call.

        Args:
            weights: as `search` takes them, for as many centroids as there are or fewer.
            most: float32 [size].
        """
        scores, is_within = self._score(weights), self._may_be[: len(weights)]
        np.greater(scores, most, out=is_within)
        return np.logical_not(is_within, out=is_within)

    def _score(self, weights: Float32) -> Float32:
        """The scores of the tile for centroids with these weights: float32 [k, size]."""
        k = len(weights)
        if not self._by_numpy:
            return as_numpy(tf.matmul(weights, self._tensor, transpose_b=not self._has_columns))
        # Not transposed: see `multiply_pieces`.
        np.matmul(np.ascontiguousarray(weights), self._columns, out=self._pieces[:, :k])
        return self._scores[:k]


def search_range(
    tile: ScoreTile, points: Rows, norms: Float32, centroids: Float32, start: int
) -> NDArray[np.int32]:
    """The nearest centroid of each row, -1 where rounding could show: int32 [n].

    Args:
        tile: what the scores are taken in.
        points: in the model's space.
        norms: float32 [n], of the rows from ``start`` on.
        centroids: float32 [k, d].
        start: the first row.
    """
    bounds, has_far = score_bounds(norms, centroids), has_far_centroid(centroids)
    half_norm = np.float32(0.5) * np.square(centroids).sum(axis=1, keepdims=True)
    if has_far:
        half_norm += np.float32(0.5) * bounds.centroids[:, None]
    spreads, spread = (bounds.centroids, 0) if has_far else (None, bounds.centroids.max())
    weights = np.concatenate([-centroids, half_norm], axis=1)
    index, errors = np.empty(len(norms), np.int32), np.zeros(tile.size, np.float32)
    # The square of a row of weight 0 may exceed float32.
    with np.errstate(over="ignore", invalid="ignore"):
        for first, last in block_ranges(0, len(norms), tile.size):
            m = last - first
            points.read(start + first, start + last, tile.rows[:m])
            errors[:m] = bounds.rows(norms[first:last]) + spread
            index[first:last] = tile.search(weights, spreads, errors)[:m]
    return index
