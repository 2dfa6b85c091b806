"""Products of many rows and few centroids by NumPy, in the thread that calls.

For a larger product the BLAS library behind NumPy would start threads of its own, beside those of
the cores. So the rows are multiplied in pieces. Where a piece is not too small, this is also faster
than one large product: BLAS libraries do not copy the operands of a small product.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: The most multiplications of a product that no BLAS library splits between threads.
SMALL_PRODUCT: Final = 2**18

#: In pieces of fewer rows TensorFlow's product is faster.
_LEAST_PIECE: Final = 16


def piece_rows(d: int, k: int) -> int:
    """Return how many rows of d numbers are multiplied with k centroids at once; 0 if too few."""
    piece = SMALL_PRODUCT // (d * k)
    return piece if piece >= _LEAST_PIECE else 0


def multiply_pieces(rows: NDArray[Any], weights: NDArray[Any], out: NDArray[Any]) -> None:
    """Write ``rows @ weights`` to ``out``, where `piece_rows` is not 0.

    All are contiguous, float32 or float64. OpenBLAS 0.3.31 multiplies two transposed float32
    matrices faster, but with wrong results where two threads do so at the same time.

    Args:
        rows: [m, d].
        weights: [d, k].
        out: [m, k].
    """
    d, k = weights.shape
    piece = piece_rows(d, k)
    whole = len(rows) // piece * piece
    pieces, results = rows[:whole].reshape(-1, piece, d), out[:whole].reshape(-1, piece, k)
    np.matmul(pieces, weights, out=results)
    np.matmul(rows[whole:], weights, out=out[whole:])
