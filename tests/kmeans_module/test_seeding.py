"""Initial centroids: k-means++ and k-means||."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_module import FitResult, fit
from kmeans_module.engines.plain import ScoreTile
from kmeans_module.greedy_drawing import find_nearer
from kmeans_module.rows import place_rows

from .problems import Float32, blobs

pytestmark = pytest.mark.slow


def start_of(result: FitResult) -> float:
    """The inertia that the initial centroids leave."""
    return result.history[0].inertia


def test_k_means_parallel_ends_as_low_as_k_means_plus_plus() -> None:
    points = blobs(3000, 6, 15, spread=0.8)
    seeds = range(10)
    greedy, parallel = (
        np.median([fit(points, 15, init=init, seed=seed).inertia for seed in seeds])
        for init in ("k-means++", "k-means||")
    )
    assert parallel <= 1.02 * greedy


def test_k_means_parallel_starts_far_below_random_rows() -> None:
    points = blobs(3000, 6, 15, spread=0.3)
    parallel, drawn = (
        np.median([start_of(fit(points, 15, init=init, seed=s, max_iter=1)) for s in range(5)])
        for init in ("k-means||", "random")
    )
    assert parallel < 0.6 * drawn


def test_k_means_parallel_starts_from_rows_of_positive_weight() -> None:
    points = blobs(500, 3, 4)
    weight = np.random.default_rng(0).uniform(0.5, 2, 500)
    weight[::3] = 0
    result = fit(points, 6, init="k-means||", sample_weight=weight, max_iter=1)
    squared = ((points[:, None] - result.initial_centroids[None]) ** 2).sum(-1)
    assert (squared.min(0) < 1e-8).all()
    assert (weight[squared.argmin(0)] > 0).all()


@pytest.mark.parametrize("places", [8, 9])
def test_k_means_parallel_finds_every_place_of_few(places: int) -> None:
    distinct = np.random.default_rng(0).standard_normal((places, 3)).astype("f4")
    result = fit(np.repeat(distinct, 50, axis=0), 8, init="k-means||")
    assert len(np.unique(result.initial_centroids, axis=0)) == 8


def test_k_means_parallel_gives_the_same_bits_for_the_same_seed() -> None:
    points = blobs(2000, 4, 6)
    first, again, other = (
        fit(points, 6, init="k-means||", seed=seed, max_iter=1) for seed in (1, 1, 2)
    )
    assert first.initial_centroids.tobytes() == again.initial_centroids.tobytes()
    assert first.initial_centroids.tobytes() != other.initial_centroids.tobytes()


def nearest_of(before: Float32, places: Float32, rows: Float32) -> Float32:
    """What is left of the distances before when rows move closer to each of the places."""
    norms = np.linalg.norm(rows.astype("f8"), axis=1).astype("f4")
    tile = ScoreTile(rows.shape[1], len(places), 64)
    found = np.tile(before, (len(places), 1))
    for place, row, squared in find_nearer(tile, place_rows(rows), norms, before, places):
        found[place, row] = squared
    return found


def test_the_distance_to_a_duplicate_is_0_and_to_its_neighbour_in_float32_is_not() -> None:
    places = np.random.default_rng(0).normal(0, 100, (4, 7)).astype("f4")
    next_to = places.copy()
    next_to[:, 3] = np.nextafter(places[:, 3], np.float32(np.inf))
    rows = np.vstack([places, next_to])
    squared = nearest_of(np.full(8, np.inf, "f4"), places, rows)
    exact = ((places[:, None].astype("f8") - rows[None]) ** 2).sum(-1)
    np.testing.assert_array_equal(np.diag(squared[:, :4]), 0)
    assert (np.diag(squared[:, 4:]) > 0).all()
    np.testing.assert_allclose(squared, exact, rtol=1e-5)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 2**16), st.sampled_from([1, 3, 9, 40]), st.sampled_from([0.0, 1e3]))
def test_the_rows_that_are_nearer_are_all_found(seed: int, d: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.standard_normal((200, d)) + offset).astype("f4")
    places = rows[:5] + rng.choice([0, 1e-3], (5, d)).astype("f4")
    alone = ((places[:, None] - rows[None]).astype("f8") ** 2).sum(-1)
    before = (alone[0] * rng.choice([0.5, 1 - 1e-6, 1, 1 + 1e-6, 2], 200)).astype("f4")
    found = nearest_of(before, places, rows)
    np.testing.assert_allclose(found, np.minimum(alone, before), rtol=1e-5)
    assert (found <= before).all()
