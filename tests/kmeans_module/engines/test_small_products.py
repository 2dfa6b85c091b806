"""Products of many rows and few centroids by NumPy."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import DTypeLike

from kmeans_module.engines.small_products import SMALL_PRODUCT, multiply_pieces, piece_rows

from ..problems import Float32

D, K = 784, 10


def test_a_piece_is_no_product_that_a_blas_library_splits_between_threads() -> None:
    assert 0 < piece_rows(D, K) * D * K <= SMALL_PRODUCT
    assert piece_rows(D, 100) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [0, 1, 32, 33, 34, 100])
def test_every_number_of_rows_is_multiplied(m: int, dtype: DTypeLike) -> None:
    rng = np.random.default_rng(m)
    rows, weights = rng.standard_normal((m, D)), rng.standard_normal((D, K))
    out = np.full((m, K), np.nan, dtype)
    multiply_pieces(rows.astype(dtype), weights.astype(dtype), out)
    np.testing.assert_allclose(out, rows @ weights, rtol=1e-3, atol=1e-3)


def multiply(rows: Float32, weights: Float32) -> bytes:
    out = np.empty((len(rows), K), np.float32)
    multiply_pieces(rows, weights, out)
    return out.tobytes()


def test_threads_that_multiply_at_the_same_time_get_what_one_gets_alone() -> None:
    rng = np.random.default_rng(0)
    problems = [
        (rng.standard_normal((m, D), np.float32), rng.standard_normal((D, K), np.float32))
        for m in (33 * 17 + 2, 33 * 23 + 5)
    ]
    alone = [{multiply(rows, weights)} for rows, weights in problems]
    with ThreadPoolExecutor(len(problems)) as pool:
        together = pool.map(lambda each: {multiply(*each) for _ in range(2_000)}, problems)
    assert list(together) == alone
