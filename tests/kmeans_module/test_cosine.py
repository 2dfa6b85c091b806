"""Spherical k-means: cosine distance, in the fit and in what is served."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from kmeans_module import (
    InvalidCentroids,
    InvalidParameter,
    KMeansModule,
    ZeroPoint,
    fit,
)

from .problems import Float32, blobs, distinct_rows

Float64 = NDArray[np.float64]
POINTS = blobs(500, 4, 5) + np.float32(0.5)


def directions(points: NDArray[np.floating]) -> Float64:
    wide = points.astype("f8")
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def spherical(points: Float32, centroids: Float32) -> tuple[Float64, NDArray[np.int64]]:
    """Dhillon and Modha's algorithm as their paper has it, by the highest cosine, in float64."""
    rows, concepts = directions(points), directions(centroids)
    labels = np.full(len(rows), -1)
    while True:
        nearest = (rows @ concepts.T).argmax(axis=1)
        if (nearest == labels).all():
            return concepts, labels
        labels = nearest
        sums = np.stack([rows[labels == k].sum(axis=0) for k in range(len(concepts))])
        concepts = directions(sums)


@pytest.mark.parametrize("seed", range(4))
def test_a_fit_is_that_of_the_paper_from_the_same_centroids(seed: int) -> None:
    init = distinct_rows(POINTS, 6, seed=seed)
    ours = fit(POINTS, 6, init=init, distance="cosine", tol=0)
    concepts, labels = spherical(POINTS, init)
    np.testing.assert_array_equal(ours.assignments, labels)
    np.testing.assert_allclose(ours.module.centroids.numpy(), concepts, atol=1e-5)
    cosines = (directions(POINTS) * concepts[labels]).sum(axis=1)
    assert ours.inertia == pytest.approx((2 - 2 * cosines).sum(), rel=1e-5)
    inertias = [step.inertia for step in ours.history]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(inertias))


@settings(deadline=None, max_examples=6, derandomize=True)
@given(st.integers(0, 1000))
def test_the_length_of_a_row_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((80, 3)).astype("f4")
    # Powers of two change no digit.
    lengths = 2.0 ** rng.integers(-40, 40, (80, 1))
    long = (rows * lengths).astype("f4")
    plain = fit(rows, 4, distance="cosine", seed=seed)
    scaled = fit(long, 4, distance="cosine", seed=seed)
    np.testing.assert_array_equal(plain.assignments, scaled.assignments)
    np.testing.assert_array_equal(
        plain.module.assign(long)["distance"], scaled.module.assign(rows)["distance"]
    )


def test_weights_count_and_standardised_rows_are_brought_to_length_one_after_it() -> None:
    points = POINTS * np.array([1, 100, 0.01, 5], "f4") + 30
    weight = np.random.default_rng(1).uniform(0.5, 3, 500)
    ours = fit(points, 4, distance="cosine", standardize=True, sample_weight=weight, seed=3)
    entered = make_pipeline(StandardScaler(), Normalizer()).fit_transform(points.astype("f8"))
    centres = ours.module.centroids.numpy()
    nearest = ((entered[:, None] - centres) ** 2).sum(-1)
    np.testing.assert_array_equal(ours.assignments, nearest.argmin(1))
    assert ours.inertia == pytest.approx((weight * nearest.min(1)).sum(), rel=1e-5)
    sums = np.stack([(weight[:, None] * entered)[nearest.argmin(1) == k].sum(0) for k in range(4)])
    np.testing.assert_allclose(directions(sums), centres, atol=1e-3)


def test_the_clusters_of_directions_are_as_good_as_scikit_learns_on_normalised_rows() -> None:
    ours = fit(POINTS, 5, distance="cosine", n_init=5)
    rows = directions(POINTS)
    theirs = KMeans(5, n_init=5, random_state=0).fit(rows)
    concepts = directions(theirs.cluster_centers_)
    of_theirs = ((rows - concepts[theirs.labels_]) ** 2).sum()
    assert ours.inertia <= of_theirs * 1.02


@pytest.fixture(scope="module")
def module() -> KMeansModule:
    return fit(POINTS, 5, distance="cosine", seed=1).module


def test_a_served_distance_is_the_chord(module: KMeansModule) -> None:
    concepts = module.centroids.numpy().astype("f8")
    np.testing.assert_allclose(np.linalg.norm(concepts, axis=1), 1, atol=1e-6)
    cosine = directions(POINTS) @ concepts.T
    answer = module.assign(POINTS)
    np.testing.assert_array_equal(answer["cluster_index"], cosine.argmax(1))
    np.testing.assert_allclose(answer["distance"], np.sqrt(2 - 2 * cosine.max(1)), atol=1e-5)
    squared = module.score(POINTS)["squared_distance"]
    np.testing.assert_allclose(squared / 2, 1 - cosine.max(1), atol=1e-5)
    every = module.transform(POINTS)["all_distances"]
    np.testing.assert_allclose(every, np.sqrt(2 - 2 * cosine), atol=1e-5)


@pytest.mark.parametrize("signature", ["assign", "score", "transform"])
@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [-0.0, 0, 0, 0], [np.nan, 1, 1, 1], [np.inf] * 4])
def test_a_row_without_a_direction_is_a_bad_row(
    module: KMeansModule, signature: str, bad: list[float]
) -> None:
    mixed = POINTS[:6].copy()
    mixed[2] = bad
    clean = getattr(module, signature)(POINTS[:6])
    others = [0, 1, 3, 4, 5]
    for name, values in getattr(module, signature)(mixed).items():
        np.testing.assert_array_equal(values.numpy()[others], clean[name].numpy()[others])
        assert (values.numpy()[2] == (0 if name == "silhouette" else -1)).all()


@pytest.mark.parametrize("length", [1e-36, 1e-20, 1e20, 1e38])
def test_very_short_and_very_long_rows_have_a_direction(
    module: KMeansModule, length: float
) -> None:
    row = np.array([[0.5, -0.25, 1, 0.125]], np.float32)
    plain, scaled = module.assign(row), module.assign(row * np.float32(length))
    assert int(plain["cluster_index"][0]) == int(scaled["cluster_index"][0]) >= 0
    assert float(plain["distance"][0]) == pytest.approx(float(scaled["distance"][0]), abs=1e-6)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_decoded_centroid_is_at_distance_zero_of_its_own_cluster(standardize: bool) -> None:
    fitted = fit(POINTS + 3, 5, distance="cosine", standardize=standardize)
    raw = fitted.module.decode(np.arange(5, dtype=np.int32))["centroid"]
    answer = fitted.module.assign(raw)
    np.testing.assert_array_equal(answer["cluster_index"], np.arange(5))
    np.testing.assert_allclose(answer["distance"], 0, atol=1e-6)
    np.testing.assert_array_equal(raw, fitted.centroids)


@pytest.mark.parametrize("standardize", [False, True])
def test_fit_step_walks_through_the_history_of_a_fit(standardize: bool) -> None:
    init = distinct_rows(POINTS, 5)
    fitted = fit(POINTS, 5, init=init, distance="cosine", standardize=standardize)
    centroids = fitted.initial_centroids[None]
    for step in fitted.history:
        out = fitted.module.fit_step(POINTS[None], np.ones((1, 500), "f4"), centroids)
        assert float(out["inertia"][0]) == pytest.approx(step.inertia, rel=1e-5)
        assert float(out["shift"][0]) == pytest.approx(step.shift, rel=1e-3, abs=1e-6)
        centroids = out["centroids"]
    np.testing.assert_allclose(centroids[0], fitted.centroids, rtol=1e-4, atol=1e-5)


def test_where_the_rows_of_a_cluster_cancel_out_its_centroid_stays() -> None:
    rows = np.array([[1, 0], [-1, 0]], np.float32)
    fitted = fit(rows, 1, init=[[0, 1]], distance="cosine")
    np.testing.assert_array_equal(fitted.centroids, [[0, 1]])
    assert fitted.inertia == pytest.approx(4)


def test_what_has_no_direction_and_an_unknown_distance_are_refused() -> None:
    rows = POINTS.copy()
    rows[7] = 0
    with pytest.raises(ZeroPoint, match=r"row 7, which has no direction.*; leave such rows out"):
        fit(rows, 3, distance="cosine")
    with pytest.raises(InvalidCentroids, match="row 1, which has no direction"):
        fit(POINTS, 2, init=[[1, 1, 1, 1], [0, 0, 0, 0]], distance="cosine")
    with pytest.raises(
        InvalidParameter, match="distance is 'manhattan'; give one of 'euclidean', 'cosine'"
    ):
        fit(POINTS, 2, distance="manhattan")  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["matmul", "bounds"])
def test_every_engine_keeps_the_centroids_on_the_sphere(engine: str) -> None:
    points = blobs(2000, 16, 9)
    init = distinct_rows(points, 9)
    plain = fit(points, 9, init=init, distance="cosine", engine="plain")
    compiled = fit(points, 9, init=init, distance="cosine", engine=engine)
    np.testing.assert_array_equal(compiled.assignments, plain.assignments)
    lengths = np.linalg.norm(compiled.module.centroids.numpy(), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert compiled.inertia == pytest.approx(plain.inertia, rel=1e-5)
