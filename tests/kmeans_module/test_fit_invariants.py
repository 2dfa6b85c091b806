"""What holds for every fit, on problems that hypothesis makes up."""

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kmeans_module import FitResult, fit
from kmeans_module.engines.choice import ENGINES

from .problems import (
    Float32,
    assignments,
    blobs,
    decided_by_rounding,
    distinct_rows,
    two_nearest_distances,
)

Problem = tuple[Float32, Float32]

# The first example compiles the graphs; time is bounded by pytest's own limit.
RELAXED = settings(deadline=None, max_examples=40, derandomize=True)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Points [n, d] and k initial centroids among them; often with ties and duplicates."""
    seed = draw(st.integers(0, 2**16))
    n, d = draw(st.integers(3, 60)), draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        points = rng.standard_normal((n, d)).astype("f4")
    else:
        points = rng.integers(-3, 4, (n, d)).astype("f4")
    distinct = len(np.unique(points, axis=0))
    k = draw(st.integers(1, min(distinct, 8)))
    return points, distinct_rows(points, k, seed=seed)


def assert_same_clusters(
    points: Float32, ours: FitResult, other: FitResult, order: Any = slice(None)
) -> None:
    """Rows whose two nearest distances differ clearly are in the same cluster in both."""
    near = two_nearest_distances(points, ours.centroids)
    clear = (near.shape[1] == 1) | (near[:, -1] - near[:, 0] > 1e-4)
    np.testing.assert_array_equal(
        assignments(ours)[order][clear[order]], assignments(other)[clear[order]]
    )


@RELAXED
@given(problems())
def test_inertia_never_rises_over_lloyd_steps(problem: Problem) -> None:
    points, init = problem
    result = fit(points, len(init), init=init, tol=0)
    inertias = [step.inertia for step in result.history] + [result.inertia]
    for before, after in pairwise(inertias):
        assert after <= before * (1 + 1e-5) + 1e-5


@RELAXED
@given(problems())
def test_the_assignments_are_of_the_nearest_returned_centroid(problem: Problem) -> None:
    points, init = problem
    result = fit(points, len(init), init=init)
    wide = points[:, None].astype("f8") - result.centroids[None]
    distance = np.sqrt((wide**2).sum(-1))
    chosen = np.take_along_axis(distance, assignments(result)[:, None], 1)[:, 0]
    assert (chosen <= distance.min(1) + 1e-4).all()
    assert result.inertia == pytest.approx((distance.min(1) ** 2).sum(), rel=1e-4, abs=1e-4)


@RELAXED
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(problem: Problem, random: random.Random) -> None:
    points, init = problem
    order = np.array(random.sample(range(len(points)), len(points)))
    result = fit(points, len(init), init=init)
    assume(not decided_by_rounding(points, init, result.n_iter))
    permuted = fit(points[order], len(init), init=init)
    assert permuted.inertia == pytest.approx(result.inertia, rel=1e-5, abs=1e-5)
    assert_same_clusters(points, result, permuted, order)


@RELAXED
@given(problems(), st.sampled_from([-64.0, 16.0]), st.sampled_from([0.25, 8.0]))
def test_shifting_and_scaling_the_data_change_the_inertia_by_its_unit_only(
    problem: Problem, shift: float, scale: float
) -> None:
    points, init = problem
    result = fit(points, len(init), init=init)
    assume(not decided_by_rounding(points, init, result.n_iter))
    moved = fit(points * scale + shift, len(init), init=init * scale + shift)
    assert moved.inertia / scale**2 == pytest.approx(result.inertia, rel=1e-5, abs=1e-5)
    assert_same_clusters(points, result, moved)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_start() -> None:
    points = blobs(5000, 6, 9)
    first, again = (fit(points, 9, seed=3, n_init=2) for _ in range(2))
    assert first.centroids.tobytes() == again.centroids.tobytes()
    assert assignments(first).tobytes() == assignments(again).tobytes()
    assert first.history == again.history
    other = fit(points, 9, seed=4, n_init=2)
    assert first.initial_centroids.tobytes() != other.initial_centroids.tobytes()


def test_more_starts_never_end_higher() -> None:
    points = blobs(400, 3, 7, spread=1.5)
    one, ten = (fit(points, 7, seed=0, n_init=n) for n in (1, 10))
    assert ten.inertia <= one.inertia


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_a_start_draws_distinct_rows_of_positive_weight(init: str) -> None:
    points = np.repeat(np.arange(20, dtype=np.float32), 50)[:, None]
    weight = np.where(points[:, 0] < 5, 0.0, 1.0)
    result = fit(points, 4, init=init, sample_weight=weight, seed=1, max_iter=1)
    assert (result.initial_centroids >= 5).all()
    if init == "k-means++":
        assert len(np.unique(result.initial_centroids)) == 4


def test_k_means_plus_plus_finds_every_place_when_k_is_the_number_of_places() -> None:
    places = np.random.default_rng(0).standard_normal((30, 3)).astype("f4")
    points = np.repeat(places, 40, axis=0)
    result = fit(points, 30)
    assert len(np.unique(result.initial_centroids, axis=0)) == 30
    assert result.inertia == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_result_holds_pythons_own_numbers(engine: str) -> None:
    found = fit(blobs(500, 2, 2), 6, engine=engine, tol=0.1)
    assert found.converged
    assert [type(each) for each in (found.converged, found.inertia, found.n_iter)] == [
        bool,
        float,
        int,
    ]
    assert {type(each) for step in found.history for each in (step.inertia, step.shift)} == {float}
