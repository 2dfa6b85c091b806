"""scikit-learn as the oracle: from the same centroids the same clusters."""

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus

from kmeans_module import fit

from .problems import Float32, assignments, blobs, distinct_rows, two_nearest_distances

RNG = np.random.default_rng(7)
PROBLEMS = {
    "blobs": (blobs(), 5),
    "blobs of many columns": (blobs(400, 40, 8), 8),
    "uniform noise": (RNG.uniform(-1, 1, (500, 3)).astype("f4"), 7),
    "duplicates": (np.repeat(RNG.standard_normal((40, 2)), 15, axis=0).astype("f4"), 6),
    "one dimension": (RNG.standard_normal((300, 1)).astype("f4"), 4),
    "n = k": (RNG.standard_normal((12, 3)).astype("f4"), 12),
    "one cluster": (blobs(100), 1),
    "constant columns": (np.hstack([blobs(300, 3), np.full((300, 2), 7, "f4")]), 4),
    "more than one block": (blobs(30_000, 2, 130, spread=0.2), 130),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_fit_gives_the_clusters_of_scikit_learn_from_the_same_centroids(name: str) -> None:
    points, k = PROBLEMS[name]
    init = distinct_rows(points, k)
    ours = fit(points, k, init=init)
    # In float64, so that the oracle's own rounding decides no row.
    theirs = KMeans(k, init=init.astype("f8"), n_init=1).fit(points.astype("f8"))
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5, abs=1e-6)
    # A row halfway between two centroids is decided by the last bit of either.
    near = two_nearest_distances(points, theirs.cluster_centers_)
    clear = near[:, -1] - near[:, 0] > 1e-4 if k > 1 else np.full(len(points), True)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(assignments(ours)[clear], theirs.labels_[clear])
    np.testing.assert_allclose(ours.centroids, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)
    assert ours.n_iter == theirs.n_iter_


def test_fit_weighs_rows_as_scikit_learn_does_also_with_weights_of_zero() -> None:
    points = blobs(500)
    weight = np.random.default_rng(1).uniform(0, 3, 500)
    weight[::7] = 0
    init = distinct_rows(points, 5)
    ours = fit(points, 5, init=init, sample_weight=weight)
    theirs = KMeans(5, init=init, n_init=1).fit(points, sample_weight=weight)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.assignments, theirs.labels_)


def test_rows_of_weight_zero_move_nothing() -> None:
    points = blobs(300)
    far = np.full((5, 4), 1e3, np.float32)
    weight = np.r_[np.ones(300), np.zeros(5)]
    init = distinct_rows(points, 4)
    with_them = fit(np.vstack([points, far]), 4, init=init, sample_weight=weight, tol=0)
    without = fit(points, 4, init=init, tol=0)
    np.testing.assert_allclose(with_them.centroids, without.centroids, rtol=1e-5, atol=1e-5)
    assert with_them.inertia == pytest.approx(without.inertia, rel=1e-5)


def test_an_empty_cluster_is_relocated_as_scikit_learn_relocates_it() -> None:
    points = blobs(200, 2, 3, spread=0.3)
    init = np.vstack([points[:3], np.full((1, 2), 500, np.float32)])
    ours = fit(points, 4, init=init)
    theirs = KMeans(4, init=init, n_init=1).fit(points)
    assert np.bincount(assignments(ours), minlength=4).min() > 0
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.assignments, theirs.labels_)


def test_several_empty_clusters_end_with_points() -> None:
    points = blobs(200, 2, 3)
    init = np.vstack([points[:2], np.full((4, 2), 500, np.float32)])
    result = fit(points, 6, init=init)
    assert np.bincount(assignments(result), minlength=6).min() > 0


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_data_far_from_the_origin_cluster_as_well_as_centred_data(offset: float) -> None:
    # 1/64 is a step that float32 still holds at 1e4: both problems are the same one.
    points = np.round(blobs(500, 3, 5) * 64) / 64
    init = distinct_rows(points.astype("f4"), 5)
    near = fit(points.astype("f4"), 5, init=init)
    far = fit((points + offset).astype("f4"), 5, init=init + np.float32(offset))
    np.testing.assert_array_equal(far.assignments, near.assignments)
    assert far.inertia == pytest.approx(near.inertia, rel=1e-5)


def test_standardising_equals_scikit_learns_standard_scaler() -> None:
    points = blobs(500) * np.array([1, 100, 0.01, 5], "f4") + 30
    init = distinct_rows(points, 5)
    scaled = (points - points.mean(0)) / points.std(0)
    scaled_init = (init - points.mean(0)) / points.std(0)
    ours = fit(points, 5, init=init, standardize=True)
    theirs = KMeans(5, init=scaled_init, n_init=1).fit(scaled)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.assignments, theirs.labels_)
    raw = theirs.cluster_centers_ * points.std(0) + points.mean(0)
    np.testing.assert_allclose(ours.centroids, raw, rtol=1e-4)


@pytest.mark.parametrize("tol", [0.0, 1e-4, 1e-2, 1.0])
def test_the_tolerance_stops_where_scikit_learns_does(tol: float) -> None:
    points = blobs(2000, 3, 4, spread=3.0)
    init = distinct_rows(points, 8)
    ours = fit(points, 8, init=init, tol=tol)
    theirs = KMeans(8, init=init, n_init=1, tol=tol).fit(points)
    assert ours.n_iter == theirs.n_iter_
    assert ours.converged


def test_max_iter_ends_a_fit_with_assignments_that_match_its_centroids() -> None:
    points = blobs(2000, 3, 4, spread=3.0)
    result = fit(points, 8, max_iter=2)
    assert result.n_iter == 2
    assert not result.converged
    assigned = result.module.assign(points)["cluster_index"]
    np.testing.assert_array_equal(assigned, result.assignments)


def test_greedy_k_means_plus_plus_starts_as_low_as_scikit_learns() -> None:
    points = blobs(1500, 6, 12)

    def inertia(centroids: Float32) -> float:
        wide = points[:, None] - centroids[None]
        return float((wide**2).sum(-1).min(1).sum())

    ours = [inertia(fit(points, 12, seed=s, max_iter=1).initial_centroids) for s in range(20)]
    theirs = [inertia(kmeans_plusplus(points, 12, random_state=s)[0]) for s in range(20)]
    # The spread of both is about a fifth of the median; a draw that is not by squared distance
    # starts at more than twice the median.
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.2)


def test_a_hand_computed_case() -> None:
    # On a line: 0, 1 | 9, 11 with weights 1, 1, 1, 3; starting from 0 and 9.
    # Means: 0.5 and (9 + 3 * 11) / 4 = 10.5; nothing moves after that.
    # Inertia at the start: 0 + 1 + 0 + 3 * 4 = 13; at the end: 2 * 0.25 + 2.25 + 3 * 0.25 = 3.5.
    # First move: 0.5^2 + 1.5^2 = 2.5.
    points = np.array([[0], [1], [9], [11]], np.float32)
    result = fit(points, 2, init=[[0], [9]], sample_weight=[1, 1, 1, 3])
    np.testing.assert_allclose(result.centroids, [[0.5], [10.5]], rtol=1e-6)
    np.testing.assert_array_equal(result.assignments, [0, 0, 1, 1])
    assert result.inertia == pytest.approx(3.5, rel=1e-6)
    assert result.n_iter == 2
    assert result.history[0].inertia == pytest.approx(13, rel=1e-6)
    assert result.history[0].shift == pytest.approx(2.5, rel=1e-6)
    assert result.history[1].inertia == pytest.approx(3.5, rel=1e-6)
    assert result.history[1].shift == pytest.approx(0, abs=1e-10)
