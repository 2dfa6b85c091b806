"""Plain steps until kernels are compiled: the bits do not tell, and nothing waits."""

import time
from collections.abc import Callable
from functools import partial
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_module.engines import choice, compiled_later
from kmeans_module.engines.bounds import BoundsShard
from kmeans_module.engines.choice import EngineName, new_engine
from kmeans_module.engines.compiled_later import CompiledLater, Kernels, Stage, kernels_of
from kmeans_module.engines.matmul import MatmulSearchShard
from kmeans_module.engines.plain import PlainShard
from kmeans_module.engines.sharded import Shard, ShardedEngine
from kmeans_module.lloyd import LloydResult, run
from kmeans_module.model_space import enter
from kmeans_module.weighted_rows import WeightedRows, weigh

from ..problems import Float32, blobs, distinct_rows, misaligned

K = 20


@pytest.fixture(scope="module")
def problem() -> tuple[WeightedRows, Float32]:
    points = blobs(2000, 3, K, spread=0.7)
    weight = np.random.default_rng(1).uniform(0.5, 2, 2000).astype("f4")
    space = enter(points, weight, standardize=False)
    begin = space.to_model(distinct_rows(points, K))
    begin[3] += 500  # its cluster is empty
    return weigh(space.rows, weight, space.largest), begin


class ReadyAfter(Kernels):
    """Kernels that are ready when they were asked for so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def are_ready(self) -> bool:
        self._left -= 1
        return self._left < 0

    def spend(self, seconds: float, calls: Callable[[], compiled_later.Calls]) -> None:
        assert seconds > 0


def _given(kernels: Kernels, centroids: Float32) -> Kernels:
    return kernels


def run_switched(problem: tuple[WeightedRows, Float32], name: EngineName, at: int) -> LloydResult:
    """A fit whose every stage is ready so many steps after the fit is in that before."""
    rows, begin = problem
    engine = new_engine(name, rows, K, at_once=True)
    assert isinstance(engine, CompiledLater)
    assert len(engine._stages) == (2 if name == "unrolled" else 3)
    ready = [Kernels(), *(ReadyAfter(at) for _ in engine._stages[1:])]
    stages = [
        Stage(stage.engine, partial(_given, each), lambda _: ())
        for stage, each in zip(engine._stages, ready, strict=True)
    ]
    return run(CompiledLater(stages, rows.scale, rows.squares), begin, max_iter=12, tolerance=0)


@pytest.mark.parametrize("name", ["unrolled", "matmul", "bounds", "moved"])
def test_a_fit_has_the_same_bits_whenever_it_goes_over_to_compiled_steps(
    name: EngineName, problem: tuple[WeightedRows, Float32]
) -> None:
    expected = run(new_engine("plain", problem[0], K), problem[1], max_iter=12, tolerance=0)
    assert len(expected.history) > 5
    for at in range(len(expected.history) + 1):
        found = run_switched(problem, name, at)
        assert found.history == expected.history
        assert found.inertia == expected.inertia
        np.testing.assert_array_equal(found.assignments, expected.assignments)
        assert found.centroids.tobytes() == expected.centroids.tobytes()


@pytest.mark.parametrize("name", ["unrolled", "matmul", "bounds", "moved"])
def test_what_takes_long_is_compiled_beside_the_steps_and_then_takes_them(
    name: EngineName, problem: tuple[WeightedRows, Float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, begin = problem
    monkeypatch.setattr(compiled_later, "_PATIENCE", 0.0)
    monkeypatch.setattr(compiled_later, "_kernels", {})
    engine = new_engine(name, rows, K, at_once=True)
    assert isinstance(engine, CompiledLater)
    plain = new_engine("plain", rows, K)
    deadline = time.monotonic() + 120
    engine.step(begin)
    kernels = engine._stages[-1].kernels(begin)
    while not kernels.are_ready():
        assert time.monotonic() < deadline
        engine.step(begin)
    plain.step(begin)
    for centroids in (begin + np.float32(0.1), begin + np.float32(0.1)):
        found, expected = engine.step(centroids), plain.step(centroids)
        assert found.clusters.equals(expected.clusters)
        assert found.has_changed == expected.has_changed


def test_short_fits_compile_nothing_until_they_have_taken_long_together() -> None:
    kernels, called = Kernels(), Event()
    for _ in range(3):
        kernels.spend(0.3 * compiled_later._PATIENCE, lambda: [called.set])
        assert not called.is_set()
    assert not kernels.are_ready()
    kernels.spend(0.3 * compiled_later._PATIENCE, lambda: [called.set])
    assert called.wait(60)


@pytest.mark.parametrize(
    ("threshold", "shard", "later"),
    [
        (None, PlainShard, 2),
        ("_LONG_WORK", MatmulSearchShard, 1),
        ("_LONGEST_WORK", BoundsShard, 0),
    ],
)
def test_the_longer_the_steps_the_more_kernels_the_first_of_them_waits_for(
    threshold: str | None,
    shard: type[Shard],
    later: int,
    problem: tuple[WeightedRows, Float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, begin = problem
    monkeypatch.setattr(compiled_later, "_kernels", {})
    if threshold is not None:
        monkeypatch.setattr(choice, threshold, 1.0)
    engine = new_engine("bounds", rows, K, at_once=True)
    assert isinstance(engine, CompiledLater)
    engine.step(begin)
    first, ready = engine._engine, [stage.kernels(begin).are_ready() for stage in engine._stages]
    assert isinstance(first, ShardedEngine)
    assert all(type(part) is shard for (part,) in first._shards)
    assert ready == [True] + [False] * later


def test_the_unrolled_engine_begins_without_kernels_for_any_size(
    problem: tuple[WeightedRows, Float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, begin = problem
    monkeypatch.setattr(compiled_later, "_kernels", {})
    monkeypatch.setattr(choice, "_LONGEST_WORK", 1.0)
    engine = new_engine("unrolled", rows, K, at_once=True)
    assert isinstance(engine, CompiledLater)
    engine.step(begin)
    assert isinstance(engine._engine, ShardedEngine)
    assert all(type(part) is PlainShard for (part,) in engine._engine._shards)
    assert not engine._stages[1].kernels(begin).are_ready()


@pytest.mark.parametrize(("k", "variants"), [(64, 3), (4, 2)])
def test_rows_that_are_multiplied_where_they_lie_have_kernels_of_their_own(
    k: int, variants: int
) -> None:
    points, ones = blobs(300, 272, 4), np.ones(300, np.float32)
    found = set()
    # In the second the mean is long beside the rows; the third begins at another address, which
    # NumPy, for few centroids, does not mind.
    for moved in (misaligned(points, 0), misaligned(points + 1e4, 0), misaligned(points, 1)):
        space = enter(moved.astype("f4", copy=False), ones, standardize=False)
        rows = weigh(space.rows, ones, space.largest)
        centroids = rows.points.gather(np.arange(k))
        found.add(MatmulSearchShard.variant(rows, np.stack([centroids[0]] * k)))
    assert len(found) == variants


def test_kernels_are_kept_by_engine_and_shape() -> None:
    assert kernels_of(("matmul", 3, 7)) is kernels_of(("matmul", 3, 7))
    assert kernels_of(("matmul", 3, 7)) is not kernels_of(("matmul", 3, 8))


def test_what_a_kernel_raises_in_the_thread_is_raised_by_the_fit() -> None:
    kernels = Kernels()

    def fail() -> None:
        raise MemoryError("no room")

    kernels.spend(2 * compiled_later._PATIENCE, lambda: [fail])
    assert kernels._thread is not None
    kernels._thread.join(60)
    with pytest.raises(MemoryError, match="no room"):
        kernels.are_ready()


def test_a_process_that_ends_waits_for_the_kernel_at_hand_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second, go = Event(), Event(), Event()

    def take_long() -> None:
        first.set()
        assert go.wait(60)

    kernels = Kernels()
    kernels.spend(2 * compiled_later._PATIENCE, lambda: [take_long, second.set])
    assert first.wait(60)
    monkeypatch.setattr(
        compiled_later, "main_thread", lambda: SimpleNamespace(is_alive=lambda: False)
    )
    go.set()
    assert kernels._thread is not None
    kernels._thread.join(60)
    assert not kernels._thread.is_alive()
    assert not second.is_set()
    assert not kernels.are_ready()
