"""Measures of a clustering, against scikit-learn's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as theirs

from kmeans_module import (
    InvalidAssignments,
    InvalidCentroids,
    InvalidParameter,
    KMeansModule,
    NonFinitePoint,
    UndefinedMeasure,
    adjusted_rand_index,
    calinski_harabasz,
    davies_bouldin,
    fit,
    silhouette,
    silhouette_samples,
    simplified_silhouette,
)
from kmeans_module.metrics import jaccard_indices
from tests.forked_calls import refused_in_a_fork

from .problems import blobs, two_nearest_distances

Measure = Callable[[Any, Any], float]

MEASURES: dict[str, tuple[Measure, Measure]] = {
    "silhouette": (lambda x, y: silhouette(x, y).mean, theirs.silhouette_score),
    "davies_bouldin": (davies_bouldin, theirs.davies_bouldin_score),
    "calinski_harabasz": (calinski_harabasz, theirs.calinski_harabasz_score),
}
EVERY_MEASURE: list[Callable[[Any, Any], object]] = [
    *(ours for ours, _ in MEASURES.values()),
    silhouette_samples,
]
# The functions that take points and assignments, and what their messages call them.
UNDEFINED: dict[str, Measure] = {
    "the silhouette": lambda x, y: silhouette(x, y).mean,
    "the Davies-Bouldin index": davies_bouldin,
    "the Calinski-Harabasz index": calinski_harabasz,
}


def problem(seed: int, n: int, k: int, whole: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Rows, full of duplicates when ``whole``, and k clusters, some of them of one row."""
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, (n, 3)) if whole else rng.standard_normal((n, 3))
    labels = np.r_[np.arange(2), rng.integers(0, k, n - 3), 0]
    return points.astype("f4"), labels


@pytest.mark.parametrize("name", MEASURES)
@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 10_000), st.integers(4, 60), st.integers(2, 9), st.booleans())
def test_a_measure_equals_scikit_learns_also_with_singletons_and_duplicates(
    name: str, seed: int, n: int, k: int, whole: bool
) -> None:
    points, labels = problem(seed, n, k, whole)
    if len(np.unique(labels)) == n:
        return
    ours, sklearns = MEASURES[name]
    # scikit-learn rounds to float32 where it is given float32.
    assert ours(points, labels) == pytest.approx(
        sklearns(points.astype("f8"), labels), rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_measure_of_float64_far_from_the_origin_equals_scikit_learns(
    name: str, offset: float
) -> None:
    points = blobs(900, 3, 4).astype("f8") + offset
    labels = np.arange(900) % 4
    ours, sklearns = MEASURES[name]
    # scikit-learn's own distances lose digits far from the origin.
    expected = sklearns(points - offset, labels)
    assert ours(points, labels) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_of_clusters_of_equal_rows_equals_scikit_learns(name: str) -> None:
    points = np.repeat(np.array([[0, 0], [3, 1], [9, 9]], "f4"), 5, axis=0)
    labels = np.repeat([7, 2, 5], 5)
    ours, sklearns = MEASURES[name]
    assert ours(points, labels) == pytest.approx(sklearns(points, labels), abs=1e-5)
    everywhere_the_same = np.ones((6, 2), "f4")
    halves = np.array([0, 0, 0, 1, 1, 1])
    assert ours(everywhere_the_same, halves) == pytest.approx(
        sklearns(everywhere_the_same, halves), abs=1e-5
    )


def test_silhouettes_of_more_rows_than_a_tile_holds_equal_scikit_learns() -> None:
    points = blobs(3000)
    labels = np.random.default_rng(0).integers(0, 30, 3000)
    each = silhouette_samples(points, labels)
    np.testing.assert_allclose(each, theirs.silhouette_samples(points, labels), atol=1e-5)
    assert silhouette(points, labels).mean == pytest.approx(each.mean(), abs=1e-6)
    assert silhouette(points, labels).standard_error == 0
    assert silhouette(points, labels).rows == 3000


def test_a_sampled_silhouette_is_as_far_from_the_whole_as_its_standard_error_says() -> None:
    points = blobs(4000, 3, 4)
    labels = (points[:, 0] > 0).astype(int)
    whole = silhouette(points, labels).mean
    errors = []
    for seed in range(30):
        sampled = silhouette(points, labels, max_rows=200, seed=seed)
        assert sampled.rows == 200
        assert 0.005 < sampled.standard_error < 0.05
        errors.append((sampled.mean - whole) / sampled.standard_error)
    # Thirty draws of a standard normal: their root mean square is within 0.6 ... 1.4.
    assert 0.6 < np.sqrt(np.mean(np.square(errors))) < 1.4


def test_a_sample_has_fewer_rows_the_more_rows_there_are_but_a_thousand_at_least() -> None:
    points, labels = blobs(6000, 2, 3), np.arange(6000) % 2
    assert silhouette(points, labels, max_rows=3000).rows == 1500
    assert silhouette(points, labels, max_rows=2000).rows == 1000
    assert silhouette(points, labels, max_rows=50).rows == 50


def test_the_simplified_silhouette_is_the_mean_of_what_a_served_model_scores() -> None:
    points = blobs(700, 4, 5)
    centroids = points[:5].copy()
    near, far = two_nearest_distances(points, centroids).T
    expected = ((far - near) / far).mean()
    assert simplified_silhouette(points, centroids) == pytest.approx(expected, abs=1e-5)
    module = KMeansModule(centroids, np.zeros(4), np.ones(4))
    served = tf.reduce_mean(module.score(points)["silhouette"])
    assert simplified_silhouette(points, centroids) == pytest.approx(float(served), abs=1e-5)
    far_away = points.astype("f8") + 1e7
    assert simplified_silhouette(far_away, centroids.astype("f8") + 1e7) == pytest.approx(
        expected, abs=1e-5
    )


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 80), st.integers(1, 300))
def test_the_adjusted_rand_index_equals_scikit_learns(seed: int, k: int, m: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, k, n), rng.integers(m, 2 * m, n)
    ours = adjusted_rand_index(one, other)
    assert ours == pytest.approx(theirs.adjusted_rand_score(one, other), abs=1e-9)
    assert adjusted_rand_index(one, one + 5) == 1


def test_the_adjusted_rand_index_of_many_rows_does_not_overflow() -> None:
    one = np.repeat(np.arange(2), 500_000)
    other = np.arange(1_000_000) % 2
    assert adjusted_rand_index(one, other) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", UNDEFINED)
def test_one_cluster_and_clusters_of_one_row_each_have_no_measure(name: str) -> None:
    measure = UNDEFINED[name]
    with pytest.raises(UndefinedMeasure, match=f"{name} needs two clusters; all 20 rows are of"):
        measure(blobs(20), np.zeros(20, int))
    with pytest.raises(UndefinedMeasure, match=f"{name} needs a cluster of two rows; each of the"):
        measure(blobs(20), np.arange(20))


def test_what_is_no_clustering_of_the_rows_is_refused() -> None:
    with pytest.raises(InvalidAssignments, match=r"shape \(19,\); give one per row, shape \(20,\)"):
        silhouette(blobs(20), np.zeros(19, int))
    with pytest.raises(InvalidAssignments, match="float64; give one whole number per row"):
        davies_bouldin(blobs(20), np.zeros(20))
    with pytest.raises(InvalidAssignments, match="of 3 and 2 rows cannot be compared"):
        adjusted_rand_index([0, 1, 1], [0, 1])
    with pytest.raises(InvalidParameter, match="max_rows is 0"):
        silhouette(blobs(20), np.arange(20) % 2, max_rows=0)
    with pytest.raises(InvalidCentroids, match="have 3 columns; give 4"):
        simplified_silhouette(blobs(20), np.zeros((2, 3)))
    with pytest.raises(UndefinedMeasure, match="needs two centroids; there is 1"):
        simplified_silhouette(blobs(20), np.zeros((1, 4)))


def test_a_point_that_is_not_finite_is_refused_in_a_models_space_too() -> None:
    points = np.array([[0.0], [1.0], [10.0], [np.nan]], np.float32)
    module = fit(points[:3], 2).module
    for space in (None, module):
        with pytest.raises(NonFinitePoint, match="row 3, column 0"):
            silhouette(points, [0, 0, 1, 1], module=space)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_measure_refuses_a_point_that_is_not_finite(value: float) -> None:
    points = blobs(20)
    points[7, 2] = value
    shown = "NaN" if np.isnan(value) else value
    for measure in EVERY_MEASURE:
        with pytest.raises(NonFinitePoint, match=f"{shown} in row 7, column 2"):
            measure(points, np.arange(20) % 2)
    with pytest.raises(NonFinitePoint, match=f"{shown} in row 7, column 2"):
        simplified_silhouette(points, blobs(2))
    with pytest.raises(InvalidCentroids, match=f"centroids hold {shown} in row 7, column 2"):
        simplified_silhouette(blobs(20), points)


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("dtype", ["float16", "longdouble", "uint64", "bool"])
def test_a_measure_of_every_dtype_of_real_numbers_is_that_of_float64(name: str, dtype: str) -> None:
    points = np.abs(blobs(20)).astype(dtype)
    labels = np.arange(20) % 2
    ours, _ = MEASURES[name]
    assert ours(points, labels) == pytest.approx(ours(points.astype("f8"), labels), rel=1e-6)


@pytest.mark.parametrize("label", [-1, -2])
def test_every_measure_refuses_the_label_of_a_row_that_has_no_cluster(label: int) -> None:
    labels = np.arange(20) % 2
    labels[7] = label
    message = f"assignments have {label} in row 7.*-1 is the answer for a row that has no cluster"
    for measure in EVERY_MEASURE:
        with pytest.raises(InvalidAssignments, match=message):
            measure(blobs(20), labels)
    for compare in (adjusted_rand_index, jaccard_indices):
        with pytest.raises(InvalidAssignments, match=message):
            compare(np.arange(20) % 2, labels)


def test_jaccard_indices_are_those_of_each_cluster_and_the_most_alike_of_the_other() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.choice([0, 3, 7], 40), rng.integers(0, 5, 40)
    expected = [
        max(((one == a) & (other == b)).sum() / ((one == a) | (other == b)).sum() for b in range(5))
        for a in (0, 3, 7)
    ]
    np.testing.assert_allclose(jaccard_indices(one, other), expected)
    np.testing.assert_array_equal(jaccard_indices(one, 9 - one), [1, 1, 1])
    assert jaccard_indices([0, 0, 0, 1], [0, 0, 1, 2]).tolist() == pytest.approx([2 / 3, 1])


@pytest.mark.parametrize("measure", [davies_bouldin, simplified_silhouette])
def test_a_measure_in_a_fork_is_refused_and_does_not_hang(measure: Callable[..., float]) -> None:
    points = [[0.0], [1.0], [5.0]]
    second = [0, 0, 1] if measure is davies_bouldin else points
    measure(points, second)
    assert "'spawn'" in refused_in_a_fork(lambda: measure(points, second))
