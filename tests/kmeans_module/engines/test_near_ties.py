"""Rows between two centroids: float64 decides, and of equal distances the lowest index."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kmeans_module.engines.near_ties import decide
from kmeans_module.rows import place_rows

from ..problems import Float32

RELAXED = settings(deadline=None, max_examples=100, derandomize=True)


def nearest(rows: Float32, centroids: Float32) -> NDArray[np.int64]:
    """By brute force in float64, summed as rows are: in the order of the columns, or by dot."""
    difference = rows[:, None].astype("f8") - centroids[None]
    if rows.shape[1] < 8:
        squared = np.square(np.moveaxis(difference, -1, 0)).sum(axis=0)
    else:
        squared = np.matmul(difference[..., None, :], difference[..., None])[..., 0, 0]
    nearest: NDArray[np.int64] = squared.argmin(1)
    return nearest


@RELAXED
@given(st.integers(0, 2**16), st.sampled_from([1, 2, 9, 300]), st.sampled_from([1, 2, 7, 50]))
def test_every_row_goes_to_the_least_float64_distance(seed: int, d: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, d)).astype("f4") * np.float32(10.0 ** rng.integers(-3, 4))
    centroids = rows[rng.integers(40, size=k)].copy()
    # Centroids beside others, by the last bit of one number, and equal ones.
    centroids[k // 2 :] = centroids[: k - k // 2]
    centroids[-1, 0] = np.nextafter(centroids[-1, 0], np.float32(np.inf))
    rows[:20] = (centroids[rng.integers(k, size=20)] + centroids[rng.integers(k, size=20)]) / 2
    found = decide(place_rows(rows), np.arange(40), centroids)
    np.testing.assert_array_equal(found, nearest(rows, centroids))


@pytest.mark.parametrize("d", [3, 20])
def test_what_is_decided_depends_on_no_other_row(d: int) -> None:
    rng = np.random.default_rng(d)
    rows = rng.integers(-2, 3, (3000, d)).astype("f4")
    points, centroids = place_rows(rows), rows[:50] * np.float32(1.1)
    whole = decide(points, np.arange(3000), centroids)
    for numbers in (np.arange(0, 3000, 7), np.array([5]), np.arange(2999, 1000, -1)):
        np.testing.assert_array_equal(decide(points, numbers, centroids), whole[numbers])
    assert len(decide(points, np.arange(0), centroids)) == 0
