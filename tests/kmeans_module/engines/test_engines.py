"""Every engine through the seam (`engines.engine`), and the compiled ones beside the plain one."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from kmeans_module import fit
from kmeans_module.engines import bounds, kept_sums, moved
from kmeans_module.engines.choice import ENGINES, SHARDS, EngineName, new_engine
from kmeans_module.engines.engine import StepSums
from kmeans_module.engines.sharded import Shard, ShardedEngine
from kmeans_module.lloyd import move_centroids
from kmeans_module.model_space import enter
from kmeans_module.rows import Rows
from kmeans_module.weighted_rows import weigh

from ..problems import Float32, assignments, blobs, distinct_rows, misaligned

COMPILED: tuple[EngineName, ...] = ("unrolled", "matmul", "bounds", "moved", "device")

# Kernels are compiled for each width and number of clusters, so these are few.
SHAPES = ((1, 3), (3, 20), (20, 7), (32, 40), (272, 5))

RELAXED = settings(deadline=None, max_examples=50, derandomize=True)


class Problem(NamedTuple):
    points: Float32
    weight: Float32
    centroids: Float32
    jumps: bool


@pytest.fixture
def eager_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds from the second step on, however much they leave, and never sums anew."""
    monkeypatch.setattr(bounds, "_BOUNDS_FROM", 2.0)
    monkeypatch.setattr(bounds, "_ALL_ROWS", 1.0)
    monkeypatch.setattr(moved, "_BOUNDS_FROM", 2.0)
    monkeypatch.setattr(moved, "_ALL_ROWS", 100.0)
    monkeypatch.setattr(moved, "_MOST", 1.0)
    monkeypatch.setattr(moved, "CHUNK", 4)
    monkeypatch.setattr(kept_sums, "_NEW_SUMS", 2.0)


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


#: Whole shards: a shard begins at a multiple of 16 rows.
SPLITS = ((0, 16, 400), (0, 160, 176, 400), (0, 384, 400))


class SeamProblem(NamedTuple):
    """400 rows, of which some lie together far away and some have no weight; two steps."""

    points: Rows
    weight: Float32
    steps: tuple[Float32, ...]
    shards: Callable[[EngineName, tuple[int, ...]], list[Shard]]


@pytest.fixture(scope="module")
def seam_problem() -> SeamProblem:
    points = blobs(400, 3, 20)
    points[[5, 17, 230, 390]] = [60, 60, 60]
    points[[40, 300]] = [90, 0, 0]
    weight = np.random.default_rng(2).uniform(0.5, 2, 400).astype("f4")
    weight[[5, 40, 300]] = 0
    weight[8:17:3] = 0
    space = enter(points, weight, standardize=False)
    rows = space.to_model(points)
    weighed = weigh(space.rows, weight, space.largest)

    def shards(name: EngineName, cuts: tuple[int, ...]) -> list[Shard]:
        return [SHARDS[name](weighed, 20, *part) for part in pairwise(cuts)]

    return SeamProblem(space.rows, weight, (rows[100:120], rows[105:125]), shards)


def assert_same_sums(found: StepSums, expected: StepSums) -> None:
    for ours, theirs in zip(found.clusters, expected.clusters, strict=True):
        np.testing.assert_array_equal(ours.limbs, theirs.limbs)
    assert found.has_changed == expected.has_changed


@pytest.mark.parametrize("cuts", SPLITS)
@pytest.mark.parametrize("name", ENGINES)
def test_a_step_adds_up_over_any_split_of_the_rows(
    name: EngineName, cuts: tuple[int, ...], seam_problem: SeamProblem
) -> None:
    (whole,) = seam_problem.shards(name, (0, 400))
    parts = seam_problem.shards(name, cuts)
    for centroids in (*seam_problem.steps, seam_problem.steps[-1]):
        first, *others = (part.step(centroids) for part in parts)
        assert_same_sums(sum(others, start=first), whole.step(centroids))
    assert not whole.step(seam_problem.steps[-1]).has_changed


@pytest.mark.parametrize("name", ENGINES)
def test_a_step_after_the_assignments_to_other_centroids_has_its_own_sums(
    name: EngineName, seam_problem: SeamProblem
) -> None:
    (anew,), (engine,) = (seam_problem.shards(name, (0, 400)) for _ in range(2))
    first, second = seam_problem.steps
    anew.step(second)
    expected = anew.finish(second)
    engine.step(first)
    found = engine.finish(second)
    np.testing.assert_array_equal(found.assignments, expected.assignments)
    assert found.inertia.value == expected.inertia.value
    assert_same_sums(engine.step(first), anew.step(first))


@pytest.mark.parametrize("cuts", SPLITS)
@pytest.mark.parametrize("name", ENGINES)
def test_the_farthest_rows_of_parts_are_merged_into_those_of_all(
    name: EngineName, cuts: tuple[int, ...], seam_problem: SeamProblem
) -> None:
    (whole,) = seam_problem.shards(name, (0, 400))
    engine = ShardedEngine(seam_problem.shards(name, cuts))
    for centroids in seam_problem.steps:
        whole.step(centroids)
        engine.step(centroids)
    for count in (1, 2, 3, 10, 400):
        found, expected = engine.farthest(count), whole.farthest(count)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        # Those of weight 0 are left out, and of equally far ones the lowest is the first.
        np.testing.assert_array_equal(found.numbers[:3], [17, 230, 390][:count])
        assert len(found.numbers) <= count


@pytest.mark.parametrize("name", ENGINES)
def test_the_farthest_rows_are_what_numpy_finds(
    name: EngineName, seam_problem: SeamProblem
) -> None:
    (engine,) = seam_problem.shards(name, (0, 400))
    centroids = seam_problem.steps[0]
    engine.step(centroids)
    rows, weight = seam_problem.points.tensors.block(0, 400).numpy(), seam_problem.weight
    squared = ((rows[:, None].astype("f8") - centroids[None]) ** 2).sum(-1)
    nearest, least = squared.argmin(1), np.where(weight > 0, squared.min(1), 0)
    far = engine.farthest(400)
    assert set(far.numbers) == set(np.flatnonzero(least > 0))
    np.testing.assert_allclose(far.squared_distances, least[far.numbers], rtol=1e-4)
    np.testing.assert_allclose(
        far.squared_distances, np.sort(least)[::-1][: len(far.numbers)], rtol=1e-4
    )
    np.testing.assert_array_equal(far.points, rows[far.numbers])
    np.testing.assert_array_equal(far.weights, weight[far.numbers])
    np.testing.assert_array_equal(far.assignments, nearest[far.numbers])


@pytest.mark.parametrize("has_stepped", [True, False])
@pytest.mark.parametrize("name", ENGINES)
def test_finish_gives_the_inertia_and_the_assignments_of_the_centroids_that_it_is_given(
    name: EngineName, has_stepped: bool, seam_problem: SeamProblem
) -> None:
    engine = ShardedEngine(seam_problem.shards(name, (0, 160, 400)))
    before, centroids = seam_problem.steps
    if has_stepped:
        engine.step(before)
    rows, weight = seam_problem.points.tensors.block(0, 400).numpy(), seam_problem.weight
    squared = ((rows[:, None].astype("f8") - centroids[None]) ** 2).sum(-1)
    for _ in range(2):
        state = engine.finish(centroids)
        np.testing.assert_array_equal(state.assignments, squared.argmin(1))
        assert state.inertia.value == pytest.approx(squared.min(1) @ weight, rel=1e-6)


@pytest.mark.usefixtures("eager_bounds")
@pytest.mark.parametrize("name", COMPILED)
def test_every_step_is_that_of_the_plain_engine_bit_by_bit(name: EngineName) -> None:
    @RELAXED
    @given(problems())
    def compare(problem: Problem) -> None:
        points, weight, raw, jumps = problem
        k, d = raw.shape
        if name == "unrolled" and k * d > 64:
            return
        space = enter(points, weight, standardize=False)
        weighed = weigh(space.rows, weight, space.largest)
        plain, fast = (new_engine(each, weighed, k) for each in ("plain", name))
        centroids = space.to_model(raw)
        rng = np.random.default_rng(0)
        for number in range(8):
            expected, found = plain.step(centroids), fast.step(centroids)
            assert_same_sums(found, expected)
            assert found.has_changed or number > 0
            oracle, state = plain.finish(centroids), fast.finish(centroids)
            np.testing.assert_array_equal(state.assignments, oracle.assignments)
            np.testing.assert_array_equal(state.inertia.limbs, oracle.inertia.limbs)
            for ours, theirs in zip(fast.farthest(9), plain.farthest(9), strict=True):
                np.testing.assert_array_equal(ours, theirs)
            sums, counts = (each.value for each in expected.clusters)
            centroids = move_centroids(centroids, sums, counts[:, 0]).numpy()
            if jumps:
                # Not only Lloyd's own moves: the bounds must hold for any.
                centroids += rng.normal(0, 0.3, centroids.shape).astype("f4") * (number % 2)

    compare()


@RELAXED
@given(problems())
def test_the_plain_engine_steps_as_numpy_does_in_float64(problem: Problem) -> None:
    points, weight, raw, _ = problem
    space = enter(points, weight, standardize=False)
    rows, centroids = space.to_model(points).astype("f8"), space.to_model(raw)
    engine = new_engine("plain", weigh(space.rows, weight, space.largest), len(raw))
    step = engine.step(centroids)
    state = engine.finish(centroids)
    # Column by column, as near ties are decided where rows are narrow, or by dot products.
    difference = rows[:, None] - centroids[None]
    squared = np.matmul(difference[..., None, :], difference[..., None])[..., 0, 0]
    if rows.shape[1] < 8:
        squared = np.square(np.moveaxis(difference, -1, 0)).sum(axis=0)
    np.testing.assert_array_equal(state.assignments, squared.argmin(1))
    member = (np.arange(len(raw))[:, None] == state.assignments) * weight.astype("f8")
    size = np.abs(rows).max(axis=0) * weight.sum() + 1e-300
    found, mass = (each.value for each in step.clusters)
    np.testing.assert_allclose(found / size, member @ rows / size, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mass[:, 0], member.sum(1), rtol=1e-9)
    expected = squared.min(1) @ weight
    norms = np.square(rows).sum(1) @ weight
    assert state.inertia.value == pytest.approx(expected, rel=1e-5, abs=1e-13 * norms)
    assert engine.squares == pytest.approx(norms, rel=1e-9)


@pytest.mark.parametrize("name", COMPILED)
def test_equally_near_centroids_give_the_lowest_index(name: EngineName) -> None:
    # Small whole numbers around 0 are exact in every form of the distance.
    half = np.random.default_rng(0).integers(-3, 4, (200, 3)).astype("f4")
    points = np.vstack([half, -half])
    space = enter(points, np.ones(400, "f4"), standardize=False)
    np.testing.assert_array_equal(space.shift, np.rint(space.shift))
    points = space.to_model(points)
    centroids = np.vstack([points[:10], points[:10]])
    engine = new_engine(name, weigh(space.rows, np.ones(400, "f4"), space.largest), 20)
    engine.step(centroids)
    squared = ((points[:, None] - centroids[None]) ** 2).sum(-1)
    assert (np.sort(squared, 1)[:, 0] == np.sort(squared, 1)[:, 1]).all()
    np.testing.assert_array_equal(engine.finish(centroids).assignments, squared.argmin(1))


@pytest.mark.parametrize("name", COMPILED)
def test_blocks_join_without_a_seam(name: EngineName) -> None:
    points = misaligned(blobs(70_001, 3, 20, spread=0.3), 5)
    init = distinct_rows(points, 20)
    plain = fit(points, 20, init=init, engine="plain", max_iter=12)
    fast = fit(points, 20, init=init, engine=name, max_iter=12)
    assert fast.history == plain.history
    assert fast.inertia == plain.inertia
    np.testing.assert_array_equal(fast.assignments, plain.assignments)
    assert fast.centroids.tobytes() == plain.centroids.tobytes()


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
    assert (assignments(beside) < 20).all()


def test_the_inertia_of_tight_clusters_far_apart_keeps_its_digits() -> None:
    # What is left of the norms is 1e-12 of them: it cannot be had from sums.
    places = np.array([[-1e3, 0, 0], [1e3, 0, 0], [0, 1e3, 0]], "f4")
    points = np.repeat(places, 400, axis=0) + blobs(1200, 3, 1, spread=1e-3) * 1e-3
    plain, fast = (
        fit(points, 3, init=points[[0, 400, 800]], engine=name) for name in ("plain", "unrolled")
    )
    assert fast.history[0].inertia == pytest.approx(plain.history[0].inertia, rel=1e-5)
