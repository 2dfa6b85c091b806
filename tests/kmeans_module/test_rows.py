"""Passes over rows that NumPy makes, wherever memory begins."""

import numpy as np
import pytest

from kmeans_module.model_space import enter

from .problems import blobs, misaligned


@pytest.mark.parametrize("d", [1, 3, 64])
@pytest.mark.parametrize("offset", [0, 5])
def test_passes_of_their_own_read_every_row(d: int, offset: int) -> None:
    points = misaligned(blobs(1500, d), offset)
    space = enter(points, np.ones(1500, "f4"), standardize=True)
    placed = space.to_model(points).astype("f8")
    np.testing.assert_allclose(
        space.rows.squared_norms(512, 1500), (placed[512:] ** 2).sum(1), rtol=1e-6
    )
    index = np.arange(1500, dtype="i4") % 4
    centroids = placed[:4].astype("f4")
    np.testing.assert_allclose(
        space.rows.squared_distances(0, 1500, index, centroids),
        ((placed - centroids[index]) ** 2).sum(1),
        rtol=1e-5,
        atol=1e-10,
    )
