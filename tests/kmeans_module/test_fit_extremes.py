"""Where float32 would lose: tight clusters of many points, far rows, huge and tiny numbers."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kmeans_module import FitResult, InvalidCentroids, InvalidPoints, fit
from kmeans_module.engines.choice import ENGINES

from .problems import Float32, assignments, blobs, distinct_rows


def test_many_points_of_tight_clusters_are_summed_without_loss() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0.7, -1.3], [-1.1, 0.4]])
    points = centres[rng.integers(2, size=400_000)] + 1e-3 * rng.standard_normal((400_000, 2))
    points = points.astype("f4")
    ours = fit(points, 2, init=points[:2] if points[0, 0] * points[1, 0] < 0 else centres)
    theirs = KMeans(2, init=centres, n_init=1).fit(points.astype("f8"))
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)


def test_duplicates_of_a_few_points_leave_no_inertia() -> None:
    places = np.random.default_rng(0).standard_normal((3, 2)).astype("f4")
    result = fit(np.repeat(places, 100_000, axis=0), 3, init=places)
    assert result.inertia == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("init", ["k-means++", "random", "given"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("far", [1e3, 1e7, 1e25])
def test_a_row_of_weight_zero_changes_nothing_however_far_it_is(
    init: str, standardize: bool, far: float
) -> None:
    points = blobs(100, 2, 2)
    weight = np.r_[np.ones(100), 0]
    start: Any = distinct_rows(points, 2) if init == "given" else init
    alone = fit(points, 2, init=start, n_init=5, standardize=standardize)
    beside = fit(
        np.vstack([points, np.full((1, 2), far, "f4")]),
        2,
        init=start,
        n_init=5,
        standardize=standardize,
        sample_weight=weight,
    )
    assert beside.inertia == pytest.approx(alone.inertia, rel=1e-5)


def test_padding_far_away_changes_no_fit_step() -> None:
    points = blobs(50, 2, 2)
    module = fit(points, 2).module
    far = np.array([[1e25, 0], [3e38, 3e38]], "f4")
    centroids = points[None, :2]
    clean = module.fit_step(points[None], np.ones((1, 50), "f4"), centroids)
    # The first is padding; the second a row that `assign` calls bad.
    padded = module.fit_step(
        np.vstack([points, far])[None], np.array([[1.0] * 50 + [0, 1]], "f4"), centroids
    )
    for name, values in clean.items():
        np.testing.assert_allclose(padded[name], values, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6, 1e15])
def test_the_unit_of_the_data_changes_no_cluster(factor: float) -> None:
    points = blobs(200, 3, 4)
    init = distinct_rows(points, 4)
    plain = fit(points, 4, init=init)
    scaled = fit(points.astype("f8") * factor, 4, init=init * factor)
    np.testing.assert_array_equal(scaled.assignments, plain.assignments)
    assert scaled.inertia / factor**2 == pytest.approx(plain.inertia, rel=1e-5)


@pytest.mark.parametrize(
    ("factor", "standardize", "words"),
    [
        (1e-20, False, "multiply"),
        (1e-42, True, "multiply"),
        (1e19, False, "divide"),
        (1e200, False, "divide"),
        (1e200, True, "divide"),
    ],
)
def test_numbers_whose_squares_float32_cannot_hold_are_refused(
    factor: float, standardize: bool, words: str
) -> None:
    points = blobs(60, 2, 2).astype("f8") * factor
    with pytest.raises(InvalidPoints, match=f"column .*{words}"):
        fit(points, 2, standardize=standardize)


def test_centroids_beyond_float32_are_refused() -> None:
    with pytest.raises(InvalidCentroids, match="row 1 too far"):
        fit(blobs(60, 2, 2), 2, init=[[0.0, 0.0], [1e39, 0.0]])


def test_large_weights_are_counted_as_they_are() -> None:
    points = blobs(100, 2, 2)
    init = distinct_rows(points, 2)
    plain = fit(points, 2, init=init)
    heavy = fit(points, 2, init=init, sample_weight=np.full(100, 1e37))
    assert heavy.inertia / 1e37 == pytest.approx(plain.inertia, rel=1e-5)


def test_a_ragged_table_and_a_masked_one_are_refused() -> None:
    with pytest.raises(InvalidPoints, match="1 number in row 1, and 2 numbers in row 0"):
        fit([[1, 2], [3]], 1)
    with pytest.raises(InvalidPoints, match="masked"):
        fit(np.ma.masked_equal(np.eye(3), 0), 1)
    ragged: Any = [[1.0, 2.0, 3.0], [3.0]]
    with pytest.raises(InvalidCentroids, match="init has 1 number in row 1"):
        fit(np.eye(3), 2, init=ragged)


def test_transform_and_assign_agree_which_distances_there_are() -> None:
    module = fit(blobs(60, 2, 2), 2).module
    module.centroids.assign([[0, 0], [1.9e19, 1.9e19]])
    module.shift.assign([0, 0])
    row = tf.zeros([1, 2])
    assert float(module.assign(row)["distance"][0]) == 0
    np.testing.assert_array_equal(module.transform(row)["all_distances"], [[0, -1]])


def float64_inertia(points: Float32, found: FitResult) -> float:
    """The inertia that the centroids have in float64, by the nearest of them."""
    wide, centroids = points.astype("f8"), found.centroids.astype("f8")
    return float(((wide[:, None] - centroids[None]) ** 2).sum(-1).min(1).sum())


@pytest.mark.parametrize("far", [1e7, 1e10, 1e12])
@pytest.mark.parametrize("engine", ["plain", "unrolled"])
def test_a_row_far_out_costs_the_others_no_digit(far: float, engine: str) -> None:
    centres = np.array([[0, 0], [8, 0], [0, 8], [8, 8]])
    rng = np.random.default_rng(0)
    points = (centres[np.arange(400) % 4] + rng.standard_normal((400, 2))).astype("f4")
    alone = KMeans(4, n_init=5, random_state=0).fit(points.astype("f8"))
    points = np.vstack([points, np.full((1, 2), far, "f4")])
    found = fit(points, 5, engine=engine)
    assert found.inertia == pytest.approx(alone.inertia_, rel=1e-5)
    assert found.inertia == pytest.approx(float64_inertia(points, found), rel=1e-5)
    # The served graph says the same.
    served = found.module.assign(points)["cluster_index"].numpy()
    np.testing.assert_array_equal(served, found.assignments)


def test_centroids_of_light_rows_are_exact_beside_heavy_ones() -> None:
    points = blobs(2000, 3, 6, spread=0.3)
    cluster = fit(points, 6).assignments
    # Each cluster has a weight of its own, over sixty powers of ten, and varies by itself.
    weight = 10.0 ** np.linspace(-30, 30, 6)[cluster]
    weight *= np.random.default_rng(0).uniform(1, 3, 2000)
    first_rows = [int(np.argmax(cluster == j)) for j in range(6)]
    found = fit(points, 6, init=points[first_rows], sample_weight=weight)
    wide = np.float32(weight).astype("f8")[:, None]
    for j in range(6):
        mine = found.assignments == j
        mean = (points[mine].astype("f8") * wide[mine]).sum(0) / wide[mine].sum()
        np.testing.assert_allclose(found.centroids[j], mean, rtol=1e-6, atol=1e-6)


def test_a_cluster_of_one_light_row_is_not_empty() -> None:
    points = blobs(500, 2, 2)
    points[7] = [50, 50]
    weight = np.full(500, 1e30)
    weight[7] = 1e-30
    found = fit(points, 3, init=points[[0, 1, 7]], sample_weight=weight, max_iter=5)
    assert assignments(found)[7] == 2
    np.testing.assert_allclose(found.centroids[2], [50, 50], rtol=1e-6)
    assert found.history[-1].cluster_sizes[2] == pytest.approx(1e-30, rel=1e-6)


def inertia_of(points: Float32, weight: NDArray[np.float64], found: FitResult) -> float:
    """The weighted sum of the squared distances to the assigned centroids, in float64."""
    difference = points.astype("f8") - found.centroids.astype("f8")[found.assignments]
    return float((difference**2).sum(1) @ weight)


@pytest.mark.parametrize(("far", "n"), [(1e12, 20_000), (1e14, 20_000), (1e16, 400)])
def test_the_inertia_of_rows_beside_one_far_out_keeps_its_digits(far: float, n: int) -> None:
    points = np.vstack([blobs(n, 2, 4), np.full((1, 2), far, "f4")])
    found = fit(points, 5, n_init=1)
    expected = inertia_of(points, np.ones(n + 1), found)
    assert found.inertia == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("light", "heavy"), [(1.0, 1e30), (1e-30, 1e30)])
def test_the_inertia_of_light_rows_beside_a_heavy_one_keeps_its_digits(
    light: float, heavy: float
) -> None:
    points = np.vstack([blobs(1000, 2, 2), np.full((1, 2), 50, "f4")])
    weight = np.r_[np.full(1000, light), heavy]
    found = fit(points, 3, init=points[[0, 1, 1000]], sample_weight=weight)
    assert found.inertia == pytest.approx(inertia_of(points, weight, found), rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_rows_of_weight_zero_that_float32_cannot_hold_are_in_some_cluster(engine: str) -> None:
    points = blobs(3000, 2, 3).astype("f8")
    points[:3] = 1e300
    weight = np.r_[np.zeros(3), np.ones(2997)]
    found = fit(points, 3, sample_weight=weight, n_init=1, engine=engine)
    assert set(assignments(found)) == {0, 1, 2}
    alone = fit(points[3:], 3, init=found.initial_centroids)
    assert found.inertia == pytest.approx(alone.inertia, rel=1e-5)


@pytest.mark.parametrize("engine", ["plain", "matmul", "bounds"])
@pytest.mark.parametrize("k", [5, 70])
def test_wide_rows_of_weight_zero_with_products_beyond_float32_change_nothing(
    engine: str, k: int
) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((1000, 300), np.float32)
    points[900:] = np.where(rng.random((100, 300)) < 0.5, 1e37, -1e37)
    weight = np.r_[np.ones(900), np.zeros(100)]
    beside, alone = (
        fit(points[:n], k, init=points[:k], sample_weight=weight[:n], engine=engine, max_iter=5)
        for n in (1000, 900)
    )
    np.testing.assert_array_equal(beside.centroids, alone.centroids)


@pytest.mark.parametrize("engine", ENGINES)
def test_products_below_float32s_smallest_number_do_not_decide(engine: str) -> None:
    points = np.random.default_rng(0).normal(0, 2e-19, (5000, 2))
    points = np.vstack([points, np.full((1, 2), 1e-14)]).astype("f4")
    found = fit(points, 4, init=points[:4], max_iter=1, engine=engine)
    squared = (points[:, None].astype("f8") - found.centroids.astype("f8")[None]) ** 2
    np.testing.assert_array_equal(found.assignments, squared.sum(-1).argmin(1))


@pytest.mark.parametrize("far", [1e12, 1e16])
def test_a_column_that_every_other_row_has_keeps_its_digits_beside_a_row_far_out(
    far: float,
) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8192, 2))
    points[:, 1] = 0
    points[1::2, 1] = 30 + rng.random(4096)
    points = np.vstack([points, [[0, far]]]).astype("f4")
    found = fit(points, 3, n_init=1)
    mine = assignments(found) == assignments(found)[1]
    np.testing.assert_allclose(
        found.centroids[assignments(found)[1]],
        points[mine].astype("f8").mean(0),
        rtol=1e-6,
        atol=1e-7,
    )


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_k_means_parallel_draws_among_the_heaviest_weights_that_float32_holds() -> None:
    found = fit(blobs(500, 2, 5), 5, init="k-means||", sample_weight=np.full(500, 3e38))
    alone = fit(blobs(500, 2, 5), 5, init="k-means||")
    np.testing.assert_allclose(found.centroids, alone.centroids, rtol=1e-6)
