"""What scikit-learn fitted answers as scikit-learn's own predict does, on every row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans, SpectralClustering
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from export import publish, write_candidate
from export.errors import UnsupportedEstimator
from export.replay import collect_findings
from export.sklearn_import import from_sklearn


def _wine() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    train, test = train_test_split(load_wine().data, test_size=0.4, random_state=0)
    return train, test


def _digits() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    train, test = train_test_split(load_digits().data, test_size=0.4, random_state=0)
    return train, test


@pytest.mark.parametrize(
    ("rows", "estimator"),
    [
        (_wine, KMeans(5, random_state=1)),
        (_digits, KMeans(10, random_state=1)),
        (_digits, MiniBatchKMeans(10, random_state=1)),
        (_wine, make_pipeline(StandardScaler(), KMeans(4, random_state=1))),
        (_wine, make_pipeline(StandardScaler(with_mean=False), KMeans(4, random_state=1))),
        (_wine, make_pipeline(StandardScaler(with_std=False), MiniBatchKMeans(4, random_state=1))),
    ],
    ids=["KMeans", "digits", "MiniBatchKMeans", "scaled", "without mean", "without std"],
)
def test_every_row_of_a_test_set_gets_the_cluster_of_predict(rows: Any, estimator: Any) -> None:
    train, test = rows()
    estimator.fit(train)
    imported = from_sklearn(estimator)
    answer = imported.module.assign(tf.constant(test.astype(np.float32)))
    np.testing.assert_array_equal(answer["cluster_index"].numpy(), estimator.predict(test))
    nearest = estimator.transform(test).min(axis=1)
    np.testing.assert_allclose(answer["distance"].numpy(), nearest, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda kmeans: kmeans,
        lambda kmeans: make_pipeline(StandardScaler(), kmeans),
        lambda kmeans: make_pipeline(StandardScaler(with_mean=False), kmeans),
    ],
    ids=["KMeans", "scaled", "without mean"],
)
@pytest.mark.parametrize(("offset", "spread"), [(1e4, 1.0), (1e6, 1.0), (1.7e9, 3600.0)])
def test_rows_far_from_the_origin_get_the_cluster_of_predict(
    make: Any, offset: float, spread: float
) -> None:
    # 1.7e9 and hours: times in seconds. The rows are float64 that float32 holds.
    rng = np.random.default_rng(5)
    centers = offset + spread * rng.uniform(-4, 4, (6, 4))
    rows = centers[np.arange(30_000) % 6] + spread * rng.normal(size=(30_000, 4))
    rows = rows.astype(np.float32).astype(np.float64)
    estimator = make(KMeans(6, n_init=1, random_state=0)).fit(rows[:3000])
    answer = from_sklearn(estimator).module.assign(tf.constant(rows.astype(np.float32)))
    np.testing.assert_array_equal(answer["cluster_index"].numpy(), estimator.predict(rows))


@pytest.mark.slow
def test_an_imported_model_is_published_as_any_other(tmp_path: Path) -> None:
    train, _ = _wine()
    estimator = make_pipeline(StandardScaler(), KMeans(3, random_state=1)).fit(train)
    imported = from_sklearn(estimator, feature_names=load_wine().feature_names, model="wine")
    write_candidate(tmp_path / "candidate", imported.module, imported.card, imported.rows)
    assert publish(tmp_path / "candidate", tmp_path / "models" / "wine") == 1
    assert collect_findings(tmp_path / "models" / "wine" / "1") == []
    assert imported.card.standardize
    assert imported.card.feature_names == tuple(load_wine().feature_names)
    assert sum(cluster.size for cluster in imported.card.clusters) == len(train)
    assert imported.card.inertia == pytest.approx(estimator[-1].inertia_)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (KMeans(3), "KMeans is not fitted"),
        (make_pipeline(StandardScaler(), KMeans(3)), "is not fitted"),
        (SpectralClustering(3), "cannot import SpectralClustering: give KMeans or MiniBatch"),
        (make_pipeline(MinMaxScaler(), KMeans(3)), "KMeans is not fitted"),
        ("a text", "cannot import str"),
    ],
)
def test_anything_else_is_refused_in_one_line(estimator: Any, message: str) -> None:
    with pytest.raises(UnsupportedEstimator, match=message):
        from_sklearn(estimator)


def test_a_model_of_partial_fit_alone_is_imported_with_what_it_counted() -> None:
    train, test = _digits()
    estimator = MiniBatchKMeans(5, random_state=0)
    for start in range(0, 900, 300):
        estimator.partial_fit(train[start : start + 300])
    imported = from_sklearn(estimator)
    answer = imported.module.assign(tf.constant(test.astype(np.float32)))
    np.testing.assert_array_equal(answer["cluster_index"].numpy(), estimator.predict(test))
    assert imported.card.data.rows_used == pytest.approx(900, rel=0.05)
    assert imported.card.inertia == pytest.approx(-estimator.score(train[:900]), rel=0.1)
    assert not imported.card.converged


def test_a_fit_that_kept_no_labels_is_imported() -> None:
    train, test = _digits()
    estimator = MiniBatchKMeans(5, random_state=0, compute_labels=False, n_init=1).fit(train)
    imported = from_sklearn(estimator)
    answer = imported.module.assign(tf.constant(test.astype(np.float32)))
    np.testing.assert_array_equal(answer["cluster_index"].numpy(), estimator.predict(test))
    assert imported.card.data.rows_used == pytest.approx(len(train), rel=0.3)
    assert imported.card.inertia == pytest.approx(-estimator.score(train), rel=0.2)


def test_a_model_that_kept_neither_labels_nor_inertia_is_told_what_to_do() -> None:
    estimator = MiniBatchKMeans(5, random_state=0, compute_labels=False).partial_fit(_digits()[0])
    with pytest.raises(UnsupportedEstimator, match=r"has no inertia_.*compute_labels=True"):
        from_sklearn(estimator)


def test_names_that_do_not_fit_are_refused() -> None:
    train, _ = _wine()
    with pytest.raises(UnsupportedEstimator, match="takes 13 features, and 2 names"):
        from_sklearn(KMeans(2, random_state=0).fit(train), feature_names=("a", "b"))
