"""A client that holds only the exported model can walk the way of the fit."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.candidate import write_saved_model
from kmeans_module import fit
from tests.kmeans_module.problems import blobs


@pytest.mark.parametrize("standardize", [False, True])
def test_fit_step_of_the_exported_model_walks_through_the_history_of_the_fit(
    tmp_path: Path, standardize: bool
) -> None:
    points = blobs(800, 5, 6, spread=1.5) * np.array([1, 20, 0.1, 5, 1], "f4") + 100
    fitted = fit(points, 6, standardize=standardize, seed=5)
    assert fitted.n_iter > 3
    directory = tmp_path / "1"
    directory.mkdir()
    write_saved_model(directory, fitted.module)
    loaded = tf.saved_model.load(str(directory))
    step = loaded.signatures["fit_step"]

    centroids = fitted.initial_centroids[None]
    for iteration in fitted.history:
        out = step(
            points=tf.constant(points[None]),
            sample_weight=tf.ones([1, len(points)]),
            centroids=tf.constant(centroids),
        )
        assert float(out["inertia"][0]) == pytest.approx(iteration.inertia, rel=1e-5)
        assert float(out["shift"][0]) == pytest.approx(iteration.shift, rel=1e-3, abs=1e-6)
        centroids = out["centroids"].numpy()
    np.testing.assert_allclose(centroids[0], fitted.centroids, rtol=1e-5)
