"""What the card says of a fit, against NumPy and scikit-learn."""

import hashlib
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from export import InvalidCandidate, ModelCard, make_card, row_measures
from export.model_card import Parameters
from export.row_measures import fingerprint
from kmeans_module import FitResult, fit

from .conftest import FEATURE_NAMES, PARAMETERS


def _scaled(points: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = points.astype(np.float64)
    scaled: NDArray[np.float64] = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    return scaled


def _distances(points: NDArray[np.float32], fitted: FitResult) -> NDArray[np.float64]:
    """Of each row to its centroid, in the model's space, by NumPy in float64."""
    wide = points.astype(np.float64)
    offset = (wide - fitted.centroids[fitted.assignments]) / wide.std(axis=0)
    distances: NDArray[np.float64] = np.sqrt(np.square(offset).sum(axis=1))
    return distances


def test_the_card_has_the_measures_of_numpy_and_scikit_learn(
    card: ModelCard, fitted: FitResult, points: NDArray[np.float32]
) -> None:
    distances = _distances(points, fitted)
    assert card.inertia == pytest.approx(np.square(distances).sum(), rel=1e-5)
    assert card.silhouette.rows == len(points)
    assert card.silhouette.value == pytest.approx(
        silhouette_score(_scaled(points), fitted.assignments), abs=1e-5
    )
    for name, value in card.distance_quantiles.items():
        assert value == pytest.approx(np.quantile(distances, float(name)), rel=1e-4)
    for cluster in card.clusters:
        members = distances[fitted.assignments == cluster.index]
        assert cluster.size == len(members)
        assert cluster.share == pytest.approx(len(members) / len(points))
        for name, value in cluster.distance_quantiles.items():
            assert value == pytest.approx(np.quantile(members, float(name)), rel=1e-4)


def test_the_card_names_data_parameters_and_history(
    card: ModelCard, fitted: FitResult, points: NDArray[np.float32]
) -> None:
    assert (card.model, card.n_clusters, card.n_features) == ("blobs", 4, 3)
    assert card.feature_names == FEATURE_NAMES
    assert (card.data.rows_read, card.data.rows_used, card.data.rows_left_out) == (602, 600, 2)
    assert card.data.files == ("blobs.csv",)
    assert card.parameters.n_init == PARAMETERS["n_init"]
    assert card.parameters.seed == PARAMETERS["seed"]
    assert [step.inertia for step in card.history] == [step.inertia for step in fitted.history]
    assert len(card.history) == card.n_iter
    assert card.tensorflow_version == tf.__version__
    assert card.package_version == version("tfkmeans")
    assert card.created.endswith("+00:00")
    assert card.standardize
    assert card.shift == pytest.approx(points.mean(axis=0), rel=1e-4)
    assert card.scale == pytest.approx(points.std(axis=0), rel=1e-4)
    assert card.distance_space == "model: (points - shift) / scale"


def test_small_blocks_measure_the_same(
    card: ModelCard,
    fitted: FitResult,
    points: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_measures, "_BLOCK_NUMBERS", 37 * points.shape[1])
    again = make_card(fitted, points, feature_names=FEATURE_NAMES)
    assert again.data.fingerprint == card.data.fingerprint
    assert [cluster.size for cluster in again.clusters] == [
        cluster.size for cluster in card.clusters
    ]
    assert again.distance_quantiles == pytest.approx(card.distance_quantiles, rel=1e-6)


def test_the_silhouette_of_many_rows_is_that_of_a_sample_and_says_so(
    fitted: FitResult, points: NDArray[np.float32]
) -> None:
    card = make_card(fitted, points, feature_names=FEATURE_NAMES, silhouette_rows=200)
    assert card.silhouette.rows == 200
    assert card.silhouette.standard_error is not None
    assert 0.001 < card.silhouette.standard_error < 0.05
    whole = silhouette_score(_scaled(points), fitted.assignments)
    assert card.silhouette.value == pytest.approx(whole, abs=0.05)


def test_one_cluster_has_no_silhouette() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    card = make_card(fit(rows, 1), rows, feature_names=("a", "b"))
    assert card.silhouette.value is None
    assert '"value": null' in card.to_json()


def test_given_centroids_are_called_an_array() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    card = make_card(fit(rows, 2, init=rows[:2]), rows, feature_names=("a", "b"))
    assert (card.parameters.init, card.parameters.n_init) == ("array", 1)


def test_the_fingerprint_is_of_the_names_and_the_float32_rows() -> None:
    rows = np.array([[1.5, 2.0], [3.0, 4.0]], np.float32)
    by_hand = hashlib.sha256(b'["a", "b"]' + rows.tobytes()).hexdigest()
    assert fingerprint(rows, ["a", "b"]) == by_hand
    assert fingerprint(rows.astype(np.float64), ["a", "b"]) == by_hand
    assert fingerprint(np.asfortranarray(rows), ["a", "b"]) == by_hand
    assert fingerprint(rows, ["b", "a"]) != by_hand
    assert fingerprint(rows[::-1], ["a", "b"]) != by_hand


def test_names_that_do_not_fit_the_columns_are_refused(
    fitted: FitResult, points: NDArray[np.float32]
) -> None:
    with pytest.raises(InvalidCandidate, match="2 names, and the points have 3 columns"):
        make_card(fitted, points, feature_names=("a", "b"))


def test_points_of_another_number_than_were_fitted_are_refused(
    fitted: FitResult, points: NDArray[np.float32]
) -> None:
    with pytest.raises(InvalidCandidate, match=r"shape \(599, 3\), and the fit is of \(600, 3\)"):
        make_card(fitted, points[1:], feature_names=FEATURE_NAMES)


def test_the_parameters_are_those_of_the_fit_and_cannot_be_told(
    points: NDArray[np.float32],
) -> None:
    fitted = fit(points, 2, n_init=2, max_iter=7, tol=0.5, init="random", distance="cosine", seed=3)
    card = make_card(fitted, points, feature_names=FEATURE_NAMES)
    assert card.parameters == Parameters("random", n_init=2, max_iter=7, tol=0.5, seed=3)
    assert (card.n_clusters, card.standardize, card.distance) == (2, False, "cosine")
    untrue: dict[str, Any] = {"standardize": True, "max_iter": 99}
    with pytest.raises(TypeError, match="unexpected keyword argument 'standardize'"):
        make_card(fitted, points, feature_names=FEATURE_NAMES, **untrue)
