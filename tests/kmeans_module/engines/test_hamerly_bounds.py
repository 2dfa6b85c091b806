"""What the bounds are made of."""

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module.engines.hamerly_bounds import centroid_moves
from kmeans_module.engines.score_rounding import score_errors


@pytest.mark.parametrize("k", [1, 2, 9])
def test_moves_bound_how_far_centroids_went_and_are_apart(k: int) -> None:
    rng = np.random.default_rng(k)
    before = rng.standard_normal((k, 5)).astype("f4")
    after = before + rng.normal(0, 0.1, (k, 5)).astype("f4")
    own, others, apart = (
        each.numpy() for each in centroid_moves()(tf.constant(before), tf.constant(after))
    )
    went = np.linalg.norm(after.astype("f8") - before, axis=1)
    between = np.linalg.norm(after[:, None].astype("f8") - after[None], axis=-1)
    np.fill_diagonal(between, np.inf)
    np.testing.assert_allclose(own, went, rtol=1e-5)
    assert (own >= went).all()
    for j in range(k):
        largest = np.delete(went, j).max(initial=0)
        assert largest <= others[j] <= largest * (1 + 1e-5)
    if k == 1:
        assert apart == 0
    else:
        np.testing.assert_allclose(apart, between.min(1), rtol=1e-5)
        assert (apart <= between.min(1)).all()


@pytest.mark.parametrize("far", [None, 1e5])
@pytest.mark.parametrize("d", [2, 30])
def test_a_score_is_off_by_less_than_its_error(d: int, far: float | None) -> None:
    rng = np.random.default_rng(d)
    rows = (rng.standard_normal((3000, d)) * 10.0 ** rng.uniform(-2, 2, (3000, 1))).astype("f4")
    centroids = rng.standard_normal((9, d)).astype("f4")
    if far is not None:
        centroids[4] *= np.float32(far)
    norms = np.linalg.norm(rows.astype("f8"), axis=1).astype("f4")
    row, centroid = (each.numpy() for each in score_errors(norms, tf.constant(centroids), d))
    scores = np.float32(0.5) * (centroids**2).sum(1) - rows @ centroids.T
    wide = 0.5 * (centroids.astype("f8") ** 2).sum(1) - rows.astype("f8") @ centroids.astype("f8").T
    assert (2 * np.abs(scores - wide) < row[:, None] + centroid).all()
    # One centroid far out takes nothing from the others.
    near = np.delete(centroid, 4)
    assert np.median(row) + near.max() < 1e-3 * d
