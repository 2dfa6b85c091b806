"""Rows whose nearest centroid depends on rounding: float64 decides, equally on every machine.

The kernels compare float32 scores whose rounding depends on the order of a dot product, and so on
the kernel, the block and the processor. Where the two best scores of a row are farther apart than
any rounding (`score_rounding`), all kernels agree. They call the other rows
undecided, by the cluster -1. Such a row goes to the centroid of the least float64 distance, which
is summed from ``x - c`` in one order, of equal distances to the lowest index. So each row's cluster
is defined without a kernel, and every kernel finds it. (A row of weight 0 that float32 cannot hold
goes where the origin would.)
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32, Float64
from ..blocks import block_ranges, rows_per_block
from ..quiet_tensorflow import tf
from ..rows import Rows, squared_lengths
from .small_products import SMALL_PRODUCT, multiply_pieces, piece_rows

#: Numbers of a block, [rows, k] and [pairs, d] in float64.
_BLOCK_NUMBERS: Final = 2**17

#: So many rows together are looked through for one that is undecided.
_STRETCH: Final = 1024

#: In this share of the stretches there may be one.
_MANY: Final = 0.1


def undecided_rows(index: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the indices int64 [r] of the undecided rows (-1) of int32 [n]."""
    # Where few are, a least number is found in half of the time that a comparison of each takes.
    even = len(index) // _STRETCH * _STRETCH
    stretches = np.flatnonzero(index[:even].reshape(-1, _STRETCH).min(axis=1) < 0)
    if len(stretches) > _MANY * len(index) / _STRETCH:
        return np.flatnonzero(index < 0)
    places = (stretches[:, None] * _STRETCH + np.arange(_STRETCH)).ravel()
    places = np.concatenate([places, np.arange(even, len(index))])
    undecided: NDArray[np.int64] = places[index[places] < 0]
    return undecided


def decide(points: Rows, numbers: NDArray[np.int64], centroids: Float32) -> NDArray[np.int32]:
    """Return the nearest centroid of the rows int64 [r]: int32 [r].

    O(r k d) time in float64, O(block) memory.
    """
    nearest = np.empty(len(numbers), np.int32)
    block = rows_per_block(max(centroids.shape), _BLOCK_NUMBERS)
    for first, last in block_ranges(0, len(numbers), block):
        nearest[first:last] = _decide_block(points.gather(numbers[first:last]), centroids)
    return nearest


def _decide_block(rows: Float32, centroids: Float32) -> NDArray[np.int32]:
    wide = rows.astype(np.float64)
    square = np.einsum("rd,rd->r", wide, wide)
    if not np.isfinite(square).all():
        rows = np.where(np.isfinite(rows), rows, np.float32(0))
        return _decide_block(rows, centroids)
    row, cluster = _candidates(wide, square, centroids)
    if len(row) == len(rows):
        return cluster.astype(np.int32)
    squared = np.empty(len(row))
    for first, last in block_ranges(0, len(row), rows_per_block(rows.shape[1], _BLOCK_NUMBERS)):
        squared[first:last] = squared_lengths(
            wide[row[first:last]] - centroids[cluster[first:last]]
        )
    # The pairs of a row lie together, the lower cluster first.
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    least = np.repeat(np.minimum.reduceat(squared, starts), np.diff(starts, append=len(row)))
    is_nearest = np.flatnonzero(squared == least)
    # In reverse order, so that on ties the first is written last.
    nearest = np.empty(len(rows), np.int32)
    nearest[row[is_nearest[::-1]]] = cluster[is_nearest[::-1]]
    return nearest


def _candidates(
    rows: Float64, row_square: Float64, centroids: Float32
) -> tuple[NDArray[np.int64], ...]:
    """Pairs of a row and a centroid that may be its nearest, by the expanded form in float64.

    With unit roundoff u = 2^-53 the score ``|c|^2 / 2 - x.c`` has an error of at most
    ``(d + 2) u (|x| + |c|)^2``, and half of a distance from ``x - c`` one of at most
    ``(d + 3) u (|x| + |c|)^2 / 2``, to first order in u (Higham 2002, section 3.1). A centroid
    whose computed distance is the least is therefore within twice the sum of both of the least
    score; the margin below is more than that.
    """
    wide = centroids.astype(np.float64)
    square = np.einsum("kd,kd->k", wide, wide)
    scores = square / 2 - _products(rows, wide)
    # (|x| + |c|)^2 <= 2 |x|^2 + 2 |c|^2
    reach = 2 * (row_square + square.max())
    most = scores.min(axis=1) + 4 * (rows.shape[1] + 8) * 2.0**-53 * reach
    return np.nonzero(scores <= most[:, None])


def _products(rows: Float64, centroids: Float64) -> Float64:
    """The dot products of rows [m, d] and centroids [k, d]: float64 [m, k]."""
    products: Float64
    if rows.size * len(centroids) <= SMALL_PRODUCT:
        products = rows @ centroids.T
    elif piece_rows(*reversed(centroids.shape)):
        products = np.empty((len(rows), len(centroids)))
        multiply_pieces(rows, np.ascontiguousarray(centroids.T), products)
    else:
        products = tf.matmul(rows, centroids, transpose_b=True).numpy()
    return products
