"""Which number of clusters stands out, and that it is said when none does."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import davies_bouldin_score, silhouette_score

from kmeans_module import (
    InvalidParameter,
    MeasuredK,
    NonFinitePoint,
    SelectionProgress,
    TooFewDistinctPoints,
    fit,
    select_k,
    selection,
)
from kmeans_module.array_types import Float32
from kmeans_module.lloyd import LloydResult, best_of_starts
from kmeans_module.model_space import Distance
from kmeans_module.selection import suggest

from .problems import blobs, planted_directions

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("clusters", "most"), [(3, 5), (5, 7), (12, 14)])
def test_the_number_of_blobs_is_found(clusters: int, most: int) -> None:
    points, _ = make_blobs(400, 6, centers=clusters, random_state=clusters)
    found = select_k(points, max(2, clusters - 2), most, resamples=6)
    assert found.suggestion == clusters
    assert found.reason.startswith(f"k = {clusters}: the most clusters that halves")
    assert [each.k for each in found.measured] == list(range(max(2, clusters - 2), most + 1))


@pytest.mark.parametrize("features", [1, 2, 6])
def test_on_noise_no_k_stands_out(features: int) -> None:
    points = np.random.default_rng(features).uniform(size=(300, features))
    found = select_k(points, 2, 7, resamples=4)
    assert found.suggestion is None
    assert found.reason.startswith("no k stands out: at k = ")


def test_one_round_cloud_has_no_clusters() -> None:
    found = select_k(np.random.default_rng(0).standard_normal((300, 4)), 2, 5, resamples=4)
    assert found.suggestion is None


@pytest.mark.parametrize(("k", "noise", "seed"), [(10, 1.5, 0), (20, 1.0, 1), (30, 1.5, 2)])
def test_directions_of_embeddings_are_found(k: int, noise: float, seed: int) -> None:
    rows = planted_directions(k, 256, noise, 1_000, seed)
    found = select_k(rows, k - 1, k + 2, distance="cosine", n_init=2, resamples=5, seed=seed)
    assert found.suggestion == k


def test_directions_in_noise_three_times_as_long_are_found() -> None:
    rows = planted_directions(10, 256, 3.0, 2_000, 0)
    found = select_k(rows, 10, 11, distance="cosine", n_init=2, resamples=4)
    assert found.suggestion == 10
    # The silhouette is nearer to that of noise than 0.04.
    assert 0.02 < (found.measured[0].excess or 0) < 0.04


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_on_noise_of_many_features_no_k_stands_out(distance: Distance) -> None:
    rows = np.random.default_rng(0).standard_normal((500, 256))
    assert select_k(rows, 2, 4, distance=distance, n_init=2, resamples=4).suggestion is None


def test_n_init_is_the_number_of_starts_of_halves_of_the_rows_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts: dict[int, set[int]] = {}

    def counted(
        given: Iterable[Float32], run_start: Callable[[int, Float32], LloydResult]
    ) -> LloydResult:
        given = tuple(given)
        best = best_of_starts(given, run_start)
        assert best.assignments is not None
        starts.setdefault(len(best.assignments), set()).add(len(given))
        return best

    monkeypatch.setattr(selection, "best_of_starts", counted)
    select_k(blobs(80, 3, 4), 3, 3, n_init=5, resamples=2)
    # One start more is merged from many small clusters.
    assert starts[40] == {6}


def test_a_range_up_to_the_number_of_distinct_rows_is_measured() -> None:
    found = select_k(np.repeat(np.arange(12.0)[:, None] ** 2, 30, axis=0), 10, 12, resamples=2)
    assert found.measured[-1].inertia == 0


def test_rings_of_directions_are_found_by_cosine_distance_alone() -> None:
    rng = np.random.default_rng(0)
    angles = np.repeat([0.2, 1.0, 2.2, 4.0], 60) + rng.normal(0, 0.05, 240)
    rows = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(0.01, 100, (240, 1))
    assert select_k(rows, 2, 6, distance="cosine", resamples=4).suggestion == 4
    assert select_k(rows, 2, 6, resamples=4).suggestion != 4


def test_the_measures_are_those_of_the_best_fit_and_the_inertia_never_rises() -> None:
    points = blobs(300, 3, 4) * np.array([1, 100, 0.1], "f4") + 50
    found = select_k(points, 2, 7, standardize=True, resamples=3)
    inertias = [each.inertia for each in found.measured]
    assert all(np.diff(inertias) <= 0)
    for each in found.measured:
        best = fit(points, each.k, standardize=True, n_init=10)
        assert each.inertia <= best.inertia * 1.02
        entered = (points - points.mean(0)) / points.std(0)
        labels = ((entered[:, None] - each.centroids) ** 2).sum(-1).argmin(1)
        assert each.silhouette == pytest.approx(silhouette_score(entered, labels), abs=1e-4)
        assert each.davies_bouldin == pytest.approx(davies_bouldin_score(entered, labels), rel=1e-3)
        assert each.stability is not None
        assert each.stability <= 1


def test_what_was_stopped_goes_on_to_the_same_bits() -> None:
    points = blobs(200, 3, 4)
    told: list[SelectionProgress] = []
    whole = select_k(points, 2, 6, resamples=3, seed=4, on_progress=told.append)
    assert [each.k for each in told] == sorted(each.k for each in told)
    shares = [each.share for each in told]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1

    again: list[MeasuredK] = []
    rest = select_k(
        points, 2, 6, resamples=3, seed=4, measured=whole.measured[:2], on_measured=again.append
    )
    assert [each.k for each in again] == [4, 5, 6]
    for one, other in zip(whole.measured, rest.measured, strict=True):
        np.testing.assert_array_equal(one.centroids, other.centroids)
        assert dataclasses.replace(one, centroids=other.centroids) == other
    assert rest.reason == whole.reason


def test_as_many_clusters_as_rows_are_measured_as_far_as_they_can_be() -> None:
    found = select_k(np.arange(6.0)[:, None] ** 2, 2, 6, resamples=2)
    last = found.measured[-1]
    assert (last.k, last.inertia) == (6, 0)
    assert last.silhouette is last.davies_bouldin is last.stability is last.excess is None


def measured(k: int, silhouette: float, noise: float, stability: float) -> MeasuredK:
    return MeasuredK(
        k, 1.0, silhouette, 0.0, 0.0, 0.0, 0.0, stability, noise, 0.01, np.zeros((k, 1), "f4")
    )


def test_a_k_on_which_halves_disagree_is_not_suggested_and_the_reason_says_so() -> None:
    suggestion, reason = suggest([measured(2, 0.5, 0.3, 0.4), measured(3, 0.31, 0.3, 1.0)])
    assert suggestion is None
    assert "k = 2 has a silhouette above that of noise (0.500 against 0.300), but halves" in reason
    suggestion, reason = suggest(
        [measured(2, 0.5, 0.3, 0.99), measured(3, 0.45, 0.3, 0.95), measured(4, 0.4, 0.3, 0.9)]
    )
    assert suggestion == 3
    assert reason.endswith("the highest silhouette, 0.500, is that of k = 2")
    assert suggest([])[0] is None


def test_a_k_of_which_halves_never_find_one_cluster_again_is_not_suggested() -> None:
    forty = measured(40, 0.2, 0.1, 0.98)
    too_many = dataclasses.replace(measured(41, 0.2, 0.1, 0.995), recovery=0.4)
    found_again = dataclasses.replace(forty, recovery=0.9)
    assert suggest([found_again, too_many])[0] == 40
    suggestion, reason = suggest([too_many])
    assert suggestion is None
    assert reason.endswith(
        "do not agree on its clusters (recovery 0.400, below the required 0.750)"
    )
    _, reason = suggest([measured(3, 0.2, 0.1, 0.897)])
    assert reason.endswith("(stability 0.897, below the required 0.900)")


def test_of_many_clusters_rows_between_them_may_change_hands_and_of_few_less_than_a_third() -> None:
    assert suggest([dataclasses.replace(measured(40, 0.2, 0.1, 0.971), recovery=0.9)])[0] == 40
    assert suggest([dataclasses.replace(measured(40, 0.2, 0.1, 0.969), recovery=0.9)])[0] is None
    assert suggest([dataclasses.replace(measured(5, 0.2, 0.1, 0.941), recovery=0.9)])[0] == 5
    assert suggest([dataclasses.replace(measured(5, 0.2, 0.1, 0.939), recovery=0.9)])[0] is None


@pytest.mark.parametrize(
    ("noise", "deviation", "least"),
    [
        (0.3, 0.01, 0.04),  # Few features: 0.04...
        (0.3, 0.02, 0.06),  # ... and three deviations.
        (0.04, 0.0001, 0.04),
        (0.006, 0.0003, 0.009),  # Noise reaches little: as much again, and ten deviations...
        (-0.001, 0.0005, 0.005),  # ... of which the first is nothing below zero.
        (0.006, 0.02, 0.06),
    ],
)
def test_the_least_excess_is_a_part_of_a_silhouette_that_noise_reaches_where_that_is_low(
    noise: float, deviation: float, least: float
) -> None:
    def suggests(excess: float) -> bool:
        each = dataclasses.replace(measured(3, noise + excess, noise, 1), noise_deviation=deviation)
        return suggest([each])[0] == 3

    assert suggests(least + 1e-6)
    assert not suggests(least - 1e-6)


def test_a_range_that_makes_no_sense_is_refused() -> None:
    points = blobs(50)
    with pytest.raises(InvalidParameter, match="k_min is 1, and one cluster has no silhouette"):
        select_k(points, 1, 5)
    with pytest.raises(InvalidParameter, match="k_min is 5, above k_max, 3"):
        select_k(points, 5, 3)
    with pytest.raises(InvalidParameter, match="resamples is 1"):
        select_k(points, resamples=1)
    with pytest.raises(TooFewDistinctPoints, match="only 2 of 50 rows"):
        select_k(np.repeat(points[:2], 25, axis=0), 2, 5)
    with pytest.raises(NonFinitePoint):
        select_k(np.full((5, 2), np.nan))
