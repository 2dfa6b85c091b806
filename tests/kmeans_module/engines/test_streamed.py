"""Steps over the rows of a source, beside those over the same rows in memory."""

import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from kmeans_module import RowSource, UnreadableRows, fit, source_rows
from kmeans_module.engines.choice import SHARDS, EngineName, new_engine
from kmeans_module.engines.engine import Engine
from kmeans_module.engines.sharded import ShardedEngine
from kmeans_module.engines.streamed import StreamedShard
from kmeans_module.model_space import enter
from kmeans_module.rows import sample_places
from kmeans_module.source_rows import SourceRows
from kmeans_module.weighted_rows import least_magnitude, weigh

from ..problems import Float32, blobs, distinct_rows

STREAMED: tuple[EngineName, ...] = ("plain", "unrolled", "matmul", "device")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 50 rows of three numbers."""
    monkeypatch.setattr(source_rows, "_BLOCK_NUMBERS", 150)


def _problem() -> tuple[Float32, Float32]:
    """400 rows, of which some lie together far away and some have no weight."""
    points = blobs(400, 3, 20)
    points[[5, 17, 230, 390]] = [60, 60, 60]
    points[[40, 300]] = [90, 0, 0]
    weight = np.random.default_rng(2).uniform(0.5, 2, 400).astype("f4")
    weight[[5, 40, 300]] = 0
    weight[50:100] = 0
    return points, weight


def _in_memory(points: Float32, weight: Float32) -> Engine:
    space = enter(points, weight, standardize=False)
    return new_engine("plain", weigh(space.rows, weight, space.largest), 20)


def _rows(points: Float32, weight: Float32) -> SourceRows:
    source = RowSource.from_array(points, weight)
    return SourceRows.enter(source, standardize=False, distance="euclidean")


@pytest.mark.parametrize("cuts", [(0, 400), (0, 50, 400), (0, 130, 170, 400)])
@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_steps_as_memory_does_over_any_split_of_the_rows(
    name: EngineName, cuts: tuple[int, ...]
) -> None:
    points, weight = _problem()
    rows, memory = _rows(points, weight), _in_memory(points, weight)
    parts = [StreamedShard(SHARDS[name], rows, 20, *part) for part in pairwise(cuts)]
    stream = ShardedEngine(parts)
    assert stream.scale.points.worth.tobytes() == memory.scale.points.worth.tobytes()
    assert stream.squares == memory.squares
    places = rows.space.to_model(points)
    for centroids in (places[100:120], places[105:125], places[105:125], places[100:120]):
        found, expected = stream.step(centroids), memory.step(centroids)
        for ours, theirs in zip(found.clusters, expected.clusters, strict=True):
            np.testing.assert_array_equal(ours.limbs, theirs.limbs)
        assert found.has_changed == expected.has_changed
        for count in (1, 3, 400):
            for one, other in zip(stream.farthest(count), memory.farthest(count), strict=True):
                np.testing.assert_array_equal(one, other)
        state, known = stream.finish(centroids), memory.finish(centroids)
        np.testing.assert_array_equal(state.inertia.limbs, known.inertia.limbs)
        assert state.assignments is None


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "standardized": {"standardize": True},
    "cosine": {"distance": "cosine"},
    "standardized cosine": {"standardize": True, "distance": "cosine"},
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_from_the_same_start_a_stream_ends_in_the_same_bytes(
    options: dict[str, Any], dtype: str
) -> None:
    points, weight = _problem()
    given = (points * 50 + 1000).astype(dtype)
    init = distinct_rows(points, 20) * 50 + 1000
    # Far out, so that clusters are empty.
    init[-2:] = [[2e4, 0, 0], [0, 2e4, 1]]
    memory = fit(given, 20, init=init, sample_weight=weight, **options)
    stream = fit(RowSource.from_array(given, weight), 20, init=init, **options)
    assert stream.assignments is None
    assert stream.sample_weight is None
    assert stream.history == memory.history
    assert [each.cluster_sizes.tobytes() for each in stream.history] == [
        each.cluster_sizes.tobytes() for each in memory.history
    ]
    assert (stream.n_iter, stream.converged) == (memory.n_iter, memory.converged)
    assert stream.inertia == memory.inertia
    assert stream.centroids.tobytes() == memory.centroids.tobytes()
    assert stream.initial_centroids.tobytes() == memory.initial_centroids.tobytes()
    for name in ("shift", "scale", "centroids"):
        ours, theirs = (getattr(each.module, name).numpy() for each in (stream, memory))
        assert ours.tobytes() == theirs.tobytes()


def test_columns_of_zeros_in_the_sample_are_measured_by_a_pass_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = blobs(9000, 3, 5)
    points[:, 1] = 0
    # Not among the rows that are sampled.
    rare = np.setdiff1d(np.arange(9000), sample_places(9000, 3))[100]
    points[rare, 1] = 1e-20
    monkeypatch.setattr(source_rows, "_BLOCK_NUMBERS", 3000)
    measured = []

    def watched(*arguments: Any) -> Any:
        measured.append(least_magnitude(*arguments))
        return measured[-1]

    monkeypatch.setattr(source_rows, "least_magnitude", watched)
    init = points[:5] + np.float32(0.5)
    memory, stream = (
        fit(each, 5, init=init, max_iter=3) for each in (points, RowSource.from_array(points))
    )
    assert len(measured) >= 9
    assert np.min(measured) == np.float32(1e-20)
    assert stream.history == memory.history
    assert stream.centroids.tobytes() == memory.centroids.tobytes()


def test_the_next_block_is_read_while_one_is_worked_on_and_no_more() -> None:
    points, read = blobs(400, 3, 20), threading.Semaphore(0)

    class Watched(RowSource):
        shape, dtype = (400, 3), np.dtype("f4")
        blocks: int = 0

        def read(self, start: int, stop: int) -> Float32:
            self.blocks += 1
            read.release()
            return points[start:stop]

    source = Watched()
    rows = SourceRows.enter(source, standardize=False, distance="euclidean")
    while read.acquire(blocking=False):
        pass
    source.blocks = 0
    for number, block in enumerate(rows.blocks(0, 400), 1):
        assert block.first == 50 * (number - 1)
        np.testing.assert_array_equal(block.points.array, points[block.first : block.first + 50])
        # This one and, but for the last, the next.
        for _ in range(2 if number == 1 else int(number < 8)):
            assert read.acquire(timeout=30)
        assert source.blocks == min(number + 1, 8)


def test_a_source_that_fails_in_a_pass_ends_the_fit_with_its_error() -> None:
    points = blobs(400, 3, 20)

    class Failing(RowSource):
        shape, dtype = (400, 3), np.dtype("f4")
        reads: int = 0

        def read(self, start: int, stop: int) -> Float32:
            if self.fails and start >= 200:
                raise UnreadableRows("the disk is gone")
            return points[start:stop]

        fails: bool = False

    source = Failing()

    def fail(_: object) -> None:
        source.fails = True

    with pytest.raises(UnreadableRows, match="the disk is gone"):
        fit(source, 20, init=points[:20], on_iteration=fail, tol=0)


@pytest.mark.parametrize(
    "rows", [lambda points: points, RowSource.from_array], ids=["memory", "source"]
)
def test_the_fit_of_a_sample_is_where_a_fit_may_begin(rows: Callable[[Any], Any]) -> None:
    points = blobs(3000, 3, 12, spread=0.5)
    found = fit(rows(points), 12, seeding="sample", sample_rows=600, n_init=5, seed=3)
    assert found.parameters.seeding == "sample"
    assert (found.parameters.sample_rows, found.parameters.n_init) == (600, 5)
    whole = fit(points, 12, n_init=10)
    assert found.inertia <= 1.001 * whole.inertia
    near = fit(rows(points), 12, seeding="sample", sample_rows=600, n_init=5, seed=3, passes=1)
    assert (near.n_iter, near.parameters.passes) == (1, 1)
    assert near.initial_centroids.tobytes() == found.initial_centroids.tobytes()
    assert found.inertia <= near.inertia <= 1.01 * found.inertia
    assert near.history == found.history[:1]
