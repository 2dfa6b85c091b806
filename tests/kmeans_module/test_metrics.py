"""Measures of a clustering, against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from kmeans_module import InvalidParameter, InvalidPoints, silhouette

from .problems import blobs


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(0, 1000), st.integers(4, 60), st.integers(2, 6), st.booleans())
def test_silhouette_equals_scikit_learns_also_with_singletons_and_duplicates(
    seed: int, n: int, k: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 4, (n, 3)) if whole else rng.standard_normal((n, 3))
    labels = np.r_[np.arange(2), rng.integers(0, min(k, n - 2), n - 2)]
    if len(np.unique(labels)) == n:
        return
    ours = silhouette(points.astype("f4"), labels)
    assert ours == pytest.approx(silhouette_score(points, labels), abs=1e-5)


def test_silhouette_of_more_rows_than_a_block_holds_equals_scikit_learns() -> None:
    points = blobs(3000)
    labels = np.arange(3000) % 4
    assert silhouette(points, labels) == pytest.approx(silhouette_score(points, labels), abs=1e-5)


def test_silhouette_of_a_sample_is_near_that_of_all_rows() -> None:
    points = blobs(4000, 3, 4, spread=0.5)
    labels = (points[:, 0] > 0).astype(int)
    whole = silhouette(points, labels)
    sampled = silhouette(points, labels, max_rows=1000, seed=1)
    assert sampled == pytest.approx(whole, abs=0.03)


def test_silhouette_of_one_cluster_is_zero() -> None:
    assert silhouette(blobs(20), np.zeros(20, int)) == 0


def test_silhouette_refuses_assignments_of_another_length_and_no_rows() -> None:
    with pytest.raises(InvalidPoints, match=r"\(19,\)"):
        silhouette(blobs(20), np.zeros(19, int))
    with pytest.raises(InvalidParameter, match="max_rows is 0"):
        silhouette(blobs(20), np.zeros(20, int), max_rows=0)
