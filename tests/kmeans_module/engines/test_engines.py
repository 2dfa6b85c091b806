"""The compiled engines beside the plain one, which is their oracle."""

import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from kmeans_module import InvalidParameter, fit
from kmeans_module.aligned_window import RowGather, window
from kmeans_module.engines import matmul
from kmeans_module.engines.choice import EngineName, choose_engine, new_engine
from kmeans_module.engines.hamerly_bounds import moves
from kmeans_module.lloyd import move
from kmeans_module.model_space import enter
from kmeans_module.numpy_rows import squared_distances, squared_norms

from ..problems import Float32, blobs, distinct_rows

COMPILED: tuple[EngineName, ...] = ("narrow", "product", "bounds")

# Kernels are compiled for each width and number of clusters, so these are few.
SHAPES = ((1, 3), (3, 20), (20, 7), (32, 40))

RELAXED = settings(deadline=None, max_examples=50, derandomize=True)


class Problem(NamedTuple):
    points: Float32
    weight: Float32
    centroids: Float32
    jumps: bool


@pytest.fixture
def eager_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds from the second step on, however much they leave, and never sums anew."""
    monkeypatch.setattr(matmul, "_BOUNDS_FROM", 2.0)
    monkeypatch.setattr(matmul, "_ALL_ROWS", 1.0)
    monkeypatch.setattr(matmul, "_NEW_SUMS", 2.0)


def misaligned(points: Float32, offset: int) -> Float32:
    """The same numbers, in memory that begins so many numbers after an aligned address."""
    room = np.empty(points.size + 32, np.float32)
    first = -room.ctypes.data % 64 // 4 + offset
    placed: Float32 = room[first : first + points.size].reshape(points.shape)
    placed[:] = points
    return placed


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    d, k = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n = draw(st.sampled_from([k, k + 1, 2 * k, 90, 300]))
    form = draw(st.sampled_from(["normal", "ties", "duplicates", "far", "constant", "wide"]))
    points = rng.standard_normal((n, d))
    if form == "ties":
        points = rng.integers(-2, 3, (n, d)).astype("f8")
    elif form == "duplicates":
        points = points[rng.integers(max(n // 4, 1), size=n)]
    elif form == "far":
        points = points + 1e4
    elif form == "constant":
        points[:, d // 2 :] = 7.0
    elif form == "wide":
        points = points * 10.0 ** rng.uniform(-4, 4, (n, 1))
    placed = misaligned(points.astype("f4"), draw(st.integers(0, 15)))
    weight = np.ones(n, np.float32)
    if draw(st.booleans()):
        weight = rng.uniform(0, 3, n).astype("f4")
        weight[rng.random(n) < 0.2] = 0
        weight[0] = 1
    centroids = placed[rng.choice(n, k, replace=False)].copy()
    if draw(st.booleans()):
        centroids[-1] += 1e3  # its cluster is empty
    return Problem(placed, weight, centroids, draw(st.booleans()))


def assert_same_assignments(
    rows: Float32, centroids: Float32, plain: Any, other: Any, clear_of: float = 1.0
) -> None:
    """Equal, but where the rounding of the expanded form decides between two centroids."""
    (differ,) = np.nonzero(plain != other)
    if not len(differ):
        return
    point = rows[differ].astype("f8")
    wide = centroids.astype("f8")
    squared = [((point - wide[chosen[differ]]) ** 2).sum(1) for chosen in (plain, other)]
    reach = np.linalg.norm(point, axis=1) + np.linalg.norm(wide, axis=1).max()
    rounding = 2 * (3 * rows.shape[1] + 16) * 2.0**-24 * reach**2
    assert (np.abs(squared[0] - squared[1]) <= clear_of * rounding).all()


@pytest.mark.usefixtures("eager_bounds")
@pytest.mark.parametrize("name", COMPILED)
def test_every_step_assigns_and_sums_as_the_plain_engine_does(name: EngineName) -> None:
    @RELAXED
    @given(problems())
    def compare(problem: Problem) -> None:
        points, weight, raw, jumps = problem
        k, d = raw.shape
        if name == "narrow" and k * d > 64:
            return
        space = enter(points, weight, standardize=False)
        rows = space.to_model(points)
        mass = tf.constant(weight)
        plain = new_engine("plain", space.rows, mass, k)
        fast = new_engine(name, space.rows, mass, k)
        centroids = space.to_model(raw)
        rng = np.random.default_rng(0)
        for number in range(8):
            expected, found = plain.step(centroids), fast.step(centroids)
            assert_same_assignments(rows, centroids, plain.assignments, fast.assignments)
            size = np.abs(rows).max() * weight.sum()
            if np.array_equal(plain.assignments, fast.assignments):
                np.testing.assert_allclose(found.sums, expected.sums, rtol=1e-9, atol=1e-9 * size)
                np.testing.assert_allclose(found.counts, expected.counts, rtol=1e-9)
            norms = (rows.astype("f8") ** 2).sum(1) @ weight
            assert found.inertia == pytest.approx(expected.inertia, rel=1e-5, abs=1e-6 * norms)
            np.testing.assert_allclose(
                fast.squared_distances(),
                ((rows - centroids[fast.assignments]).astype("f8") ** 2).sum(1),
                rtol=1e-4,
                atol=1e-12 * size**2,
            )
            assert found.changed or number > 0
            moved, _ = move(centroids, expected.sums, expected.counts)
            centroids = moved.numpy()
            if jumps:
                # Not only Lloyd's own moves: the bounds must hold for any.
                centroids += rng.normal(0, 0.3, centroids.shape).astype("f4") * (number % 2)

    compare()


@pytest.mark.parametrize("name", COMPILED)
def test_equally_near_centroids_give_the_lowest_index(name: EngineName) -> None:
    # Small whole numbers around 0 are exact in every form of the distance.
    half = np.random.default_rng(0).integers(-3, 4, (200, 3)).astype("f4")
    points = np.vstack([half, -half])
    space = enter(points, np.ones(400, "f4"), standardize=False)
    np.testing.assert_array_equal(space.shift, 0)
    centroids = np.vstack([points[:10], points[:10]])
    engine = new_engine(name, space.rows, tf.ones([400]), 20)
    engine.step(centroids)
    squared = ((points[:, None] - centroids[None]) ** 2).sum(-1)
    assert (np.sort(squared, 1)[:, 0] == np.sort(squared, 1)[:, 1]).all()
    np.testing.assert_array_equal(engine.assignments, squared.argmin(1))


@pytest.mark.parametrize("name", COMPILED)
def test_blocks_join_without_a_seam(name: EngineName) -> None:
    points = misaligned(blobs(70_001, 3, 20, spread=0.3), 5)
    init = distinct_rows(points, 20)
    plain = fit(points, 20, init=init, engine="plain", max_iter=12)
    fast = fit(points, 20, init=init, engine=name, max_iter=12)
    assert fast.n_iter == plain.n_iter
    assert fast.inertia == pytest.approx(plain.inertia, rel=1e-6)
    assert (fast.assignments != plain.assignments).mean() < 1e-3
    for ours, oracle in zip(fast.history, plain.history, strict=True):
        assert ours.inertia == pytest.approx(oracle.inertia, rel=1e-6)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("empty", [False, True])
def test_a_whole_fit_ends_as_scikit_learns_does(name: EngineName, empty: bool) -> None:
    points = blobs(900, 3, 20, spread=0.7)
    init = distinct_rows(points, 20)
    if empty:
        init[3:5] += 500
    weight = np.random.default_rng(1).uniform(0.5, 2, 900).astype("f4")
    ours = fit(points, 20, init=init, sample_weight=weight, engine=name)
    theirs = KMeans(20, init=init.astype("f8"), n_init=1)
    theirs.fit(points.astype("f8"), sample_weight=weight)
    assert ours.engine == name
    assert ours.n_iter == theirs.n_iter_
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_array_equal(ours.assignments, theirs.labels_)


@pytest.mark.parametrize("name", COMPILED)
def test_a_row_of_weight_zero_that_is_infinitely_far_changes_nothing(name: EngineName) -> None:
    points = blobs(300, 3, 20)
    init = distinct_rows(points, 20)
    alone = fit(points, 20, init=init, engine=name)
    far = np.vstack([points, np.full((1, 3), 1e25, "f4")])
    beside = fit(far, 20, init=init, engine=name, sample_weight=np.r_[np.ones(300), 0])
    assert beside.n_iter == alone.n_iter
    assert beside.inertia == pytest.approx(alone.inertia, rel=1e-6)
    assert (beside.assignments < 20).all()


def test_the_inertia_of_tight_clusters_far_apart_keeps_its_digits() -> None:
    # What is left of the norms is 1e-12 of them: it cannot be had from sums.
    places = np.array([[-1e3, 0, 0], [1e3, 0, 0], [0, 1e3, 0]], "f4")
    points = np.repeat(places, 400, axis=0) + blobs(1200, 3, 1, spread=1e-3) * 1e-3
    plain, fast = (
        fit(points, 3, init=points[[0, 400, 800]], engine=name) for name in ("plain", "narrow")
    )
    assert fast.history[0].inertia == pytest.approx(plain.history[0].inertia, rel=1e-5)


@pytest.mark.parametrize("k", [1, 2, 9])
def test_moves_bound_how_far_centroids_went_and_are_apart(k: int) -> None:
    rng = np.random.default_rng(k)
    before = rng.standard_normal((k, 5)).astype("f4")
    after = before + rng.normal(0, 0.1, (k, 5)).astype("f4")
    own, others, apart = (each.numpy() for each in moves()(tf.constant(before), tf.constant(after)))
    went = np.linalg.norm(after.astype("f8") - before, axis=1)
    between = np.linalg.norm(after[:, None].astype("f8") - after[None], axis=-1)
    np.fill_diagonal(between, np.inf)
    np.testing.assert_allclose(own, went, rtol=1e-5)
    assert (own >= went).all()
    for j in range(k):
        largest = np.delete(went, j).max(initial=0)
        assert largest <= others[j] <= largest * (1 + 1e-5)
    if k == 1:
        assert apart == 0
    else:
        np.testing.assert_allclose(apart, between.min(1), rtol=1e-5)
        assert (apart <= between.min(1)).all()


@pytest.mark.parametrize("d", [1, 3, 16, 40, 64])
@pytest.mark.parametrize("offset", [0, 4, 12, 15])
def test_rows_are_read_wherever_memory_begins(d: int, offset: int) -> None:
    points = misaligned(np.arange(50 * d, dtype=np.float32).reshape(50, d), offset)
    rows = enter(points, np.ones(50, "f4"), standardize=False).rows
    gathering = RowGather(rows, 4)
    for chosen in ([7, 3, 3, 41], [0, 49, 5]):
        read = gathering.window(np.array(chosen)).tile(tf.constant(0), len(chosen), d)
        np.testing.assert_array_equal(read, points[chosen])
    for start, stop in ((0, 16), (16, 32), (5, 18), (40, 50)):
        between = window(rows, tf.constant(start), tf.constant(stop), 16, d)
        assert between.count == stop - start
        read = between.tile(tf.constant(0), stop - start, d)
        np.testing.assert_array_equal(read, points[start:stop])


@pytest.mark.parametrize("d", [1, 3, 64])
@pytest.mark.parametrize("offset", [0, 5])
def test_passes_of_their_own_read_every_row(d: int, offset: int) -> None:
    points = misaligned(blobs(1500, d), offset)
    space = enter(points, np.ones(1500, "f4"), standardize=True)
    placed = space.to_model(points).astype("f8")
    np.testing.assert_allclose(
        squared_norms(space.rows, 512, 1500), (placed[512:] ** 2).sum(1), rtol=1e-6
    )
    index = np.arange(1500, dtype="i4") % 4
    centroids = placed[:4].astype("f4")
    np.testing.assert_allclose(
        squared_distances(space.rows, 0, 1500, index, centroids),
        ((placed - centroids[index]) ** 2).sum(1),
        rtol=1e-5,
        atol=1e-10,
    )


def test_the_rule_chooses_plain_steps_for_small_data_and_bounds_for_large() -> None:
    assert choose_engine(20_000, 784, 100) == "plain"
    assert choose_engine(100_000, 2, 3) == "plain"
    assert choose_engine(4_000_000, 2, 8) == "narrow"
    assert choose_engine(1_000_000, 16, 64) == "bounds"
    assert choose_engine(273_280, 3, 64) == "product"
    assert choose_engine(1_000_000, 64, 256) == "bounds"
    assert fit(blobs(100), 3).engine == "plain"


def test_an_engine_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"'fast'.*'auto', 'plain'"):
        fit(blobs(100), 3, engine="fast")


BITS = """
import hashlib, sys
from kmeans_module import fit
from tests.kmeans_module.problems import blobs
for engine in ("narrow", "product", "bounds"):
    found = fit(blobs(40_000, 3, 20), 20, engine=engine, seed=5, max_iter=8)
    print(hashlib.sha256(found.centroids.tobytes() + found.assignments.tobytes()
                         + repr(found.history).encode()).hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_in_another_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exec(BITS, {})
    here = capsys.readouterr().out
    exec(BITS, {})
    assert capsys.readouterr().out == here
    there = subprocess.run([sys.executable, "-c", BITS], capture_output=True, text=True, check=True)
    assert there.stdout == here
