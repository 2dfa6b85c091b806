"""What is called drift, and what is left to chance."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from export import ModelCard
from export.drift import Drift, DriftThresholds, RecentAnswers, largest_changes, measure_drift
from export.model_card import QUANTILES, ClusterProfile, Parameters, Silhouette, TrainingData

QUARTILES = dict(zip(QUANTILES, (0.1, 1.0, 2.0, 3.0, 4.0, 9.0), strict=True))


def card(
    sizes: list[int], *, left_out: int = 0, quantiles: Mapping[str, float] = QUARTILES
) -> ModelCard:
    rows = sum(sizes)
    return ModelCard(
        model="m",
        created="2025-01-01T00:00:00+00:00",
        package_version="0",
        tensorflow_version="0",
        n_clusters=len(sizes),
        n_features=1,
        feature_names=("x",),
        standardize=False,
        shift=(0.0,),
        scale=(1.0,),
        data=TrainingData("", (), rows + left_out, rows, left_out),
        parameters=Parameters("random", 1, 1, 0.0, 0),
        n_iter=1,
        converged=True,
        inertia=1.0,
        silhouette=Silhouette(None, 0),
        distance_quantiles=quantiles,
        clusters=tuple(
            ClusterProfile(index, size, size / rows, {}) for index, size in enumerate(sizes)
        ),
        history=(),
    )


def recent(
    counts: list[int] | NDArray[Any],
    *,
    rejected: int = 0,
    quantiles: Mapping[str, float] = QUARTILES,
) -> RecentAnswers:
    return RecentAnswers(np.array(counts, np.int64), rejected, quantiles)


def found(of: Drift, **thresholds: float) -> list[str]:
    return of.beyond(DriftThresholds(**thresholds))


def test_the_same_rows_are_no_drift() -> None:
    same = measure_drift(card([300, 700], left_out=10), recent([300, 700], rejected=10))
    assert same.psi == pytest.approx(0)
    assert same.rejected_baseline == same.rejected_recent
    assert found(same, max_psi=0, max_distance_change=0, max_rejected_rise=0) == []


def test_the_index_is_the_textbooks() -> None:
    # Shares 0.5, 0.5 -> 0.8, 0.2: (0.3) ln 1.6 + (-0.3) ln 0.4 = 0.141 + 0.275 = 0.41589.
    index = measure_drift(card([500_000, 500_000]), recent([800_000, 200_000])).psi
    assert index == pytest.approx(0.41589, abs=1e-4)


def test_a_cluster_that_is_empty_is_no_division_by_zero() -> None:
    gone = measure_drift(card([500, 500]), recent([1000, 0]))
    assert gone.psi is not None
    assert np.isfinite(gone.psi)
    assert [each.recent for each in gone.clusters] == [1.0, 0.0]
    (line,) = found(gone)
    assert "the cluster shares have changed" in line
    assert "cluster 1, 50.0% -> 0.0%" in line


def test_few_rows_of_many_clusters_are_chance_and_many_are_drift() -> None:
    rng = np.random.default_rng(5)
    sizes = [1000] * 50
    few = np.bincount(rng.integers(50, size=100), minlength=50)
    by_chance = measure_drift(card(sizes), recent(few))
    assert by_chance.psi is not None
    assert by_chance.psi > 0.2
    assert found(by_chance) == []
    assert len(found(measure_drift(card(sizes), recent(few * 1000)))) == 1


@settings(max_examples=25, deadline=None)
@given(clusters=st.integers(2, 40), rows=st.integers(200, 5000), seed=st.integers(0, 2**32))
def test_chance_is_the_chi_squared_of_the_literature(clusters: int, rows: int, seed: int) -> None:
    of = measure_drift(card([100] * clusters), recent([rows] + [0] * (clusters - 1)))
    exact = stats.chi2.ppf(0.999, clusters - 1) * (1 / (100 * clusters) + 1 / rows)
    # Wilson and Hilferty are right to a few hundredths at one degree of freedom, else better.
    assert of.psi_by_chance == pytest.approx(exact, rel=0.04)


def test_rows_of_the_same_kind_are_called_drift_once_in_a_thousand_times_at_most() -> None:
    rng = np.random.default_rng(11)
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    sizes = (shares * 20_000).astype(int).tolist()
    called = sum(
        bool(found(measure_drift(card(sizes), recent(rng.multinomial(300, shares))), max_psi=0))
        for _ in range(2000)
    )
    assert called <= 12


def test_distances_that_grow_are_drift_and_the_extremes_are_not_judged() -> None:
    farther = {**QUARTILES, "0.75": 3.6, "0.95": 6.0, "1": 900.0}
    of = measure_drift(card([5000, 5000]), recent([5000, 5000], quantiles=farther))
    (line,) = found(of)
    assert "95% quantile of the distances has changed by +50.0%, 4 -> 6" in line
    assert len(found(of, max_distance_change=0.1)) == 2
    nearer = {name: value / 2 for name, value in QUARTILES.items()}
    assert (
        len(found(measure_drift(card([5000, 5000]), recent([5000, 5000], quantiles=nearer)))) == 4
    )


def test_distances_of_a_handful_of_rows_are_chance() -> None:
    farther = {name: value * 1.5 for name, value in QUARTILES.items()}
    of = measure_drift(card([5000, 5000]), recent([3, 3], quantiles=farther))
    assert all(each.by_chance for each in of.distances)
    assert found(of) == []


def test_a_card_whose_rows_lie_on_their_centroids_has_a_change_that_is_a_number() -> None:
    zeros = dict.fromkeys(QUARTILES, 0.0)
    same = measure_drift(card([50, 50], quantiles=zeros), recent([50, 50], quantiles=zeros))
    assert [each.change for each in same.distances] == [0.0] * 4
    moved = measure_drift(card([50, 50], quantiles=zeros), recent([50, 50]))
    assert all(np.isfinite(each.change) and each.change > 1 for each in moved.distances)


def test_rejected_rows_are_drift_beyond_the_rise_and_chance() -> None:
    of = measure_drift(card([500, 500], left_out=10), recent([450, 450], rejected=100))
    (line,) = found(of)
    assert line.startswith("10.0% of the rows could not be answered, and 1.0% of the training rows")
    assert found(of, max_rejected_rise=0.2) == []
    assert found(measure_drift(card([500, 500]), recent([9, 9], rejected=2))) == []


def test_where_no_row_was_answered_that_is_what_is_said() -> None:
    of = measure_drift(card([50, 50]), recent([0, 0], rejected=40, quantiles={}))
    assert of.psi is None
    assert of.distances == ()
    assert found(of)[0] == "no recent row was answered"


def test_a_card_without_distances_is_compared_by_its_shares() -> None:
    of = measure_drift(card([500, 500], quantiles={}), recent([1000, 0]))
    assert of.distances == ()
    assert len(found(of)) == 1


def test_one_cluster_has_no_shares_that_could_move() -> None:
    assert found(measure_drift(card([1000]), recent([10])), max_psi=0) == []


def test_of_many_clusters_those_are_shown_that_moved_most() -> None:
    of = measure_drift(card([100] * 6), recent([100, 10, 100, 250, 100, 40]))
    assert [each.index for each in largest_changes(of.clusters, 3)] == [1, 3, 5]
