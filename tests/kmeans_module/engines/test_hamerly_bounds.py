"""What the bounds are made of."""

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module.engines.hamerly_bounds import centroid_moves


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
