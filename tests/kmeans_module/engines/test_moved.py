"""Which rows are compared with the centroids that moved, and which are searched among all."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from kmeans_module.aligned_window import RowGather
from kmeans_module.array_types import Float32
from kmeans_module.engines import moved
from kmeans_module.engines.choice import new_engine
from kmeans_module.engines.moved import MovedShard
from kmeans_module.engines.nearer_search import nearer_search, tile_rows
from kmeans_module.engines.score_rounding import sample_norms
from kmeans_module.model_space import enter
from kmeans_module.weighted_rows import WeightedRows, weigh

from ..problems import blobs

M, CHUNK = 256, 4


def weighed(points: Float32) -> WeightedRows:
    weight = np.ones(len(points), "f4")
    space = enter(points, weight, standardize=False)
    return weigh(space.rows, weight, space.largest)


def distances(rows: Float32, centroids: Float32) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(
        rows[:, None].astype("f8") - centroids[None], axis=-1
    )
    return lengths


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize(("d", "k"), [(3, 20), (33, 10)])
def test_a_row_stays_where_all_that_it_is_compared_with_but_its_own_are_farther(
    d: int, k: int, far: bool
) -> None:
    rng = np.random.default_rng(d)
    rows = weighed(rng.standard_normal((200, d), dtype=np.float32))
    points = rows.points.gather(np.arange(200))
    centroids = points[:k] * np.float32(0.5)
    if far:
        centroids[3] *= 1e4
    own = np.where(np.arange(200) % 3, distances(points, centroids).argmin(1), 1).astype("i4")
    norms = np.zeros(M, "f4")
    norms[:200] = rows.norms
    mine, place = np.zeros((M, d), "f4"), np.zeros(M, "i4")
    most = np.zeros(M // tile_rows(M, d), "i4")
    mine[:200], place[:200] = centroids[own], own
    window = RowGather(rows.points, M).window(np.arange(200))
    tight = distances(points, centroids)
    seen = set()
    for chunks in range(-(-k // CHUNK) + 1):
        most[:] = chunks
        stays, upper = nearer_search(M, d, k, CHUNK)(
            window,
            tf.constant(mine.ravel()),
            tf.constant(place),
            tf.constant(most),
            tf.constant(norms),
            sample_norms(norms[:200]),
            tf.constant(centroids),
        )
        others = tight.copy()
        others[np.arange(200), own] = np.inf
        nearest = others[:, : chunks * CHUNK].min(axis=1, initial=np.inf)
        distance = tight[np.arange(200), own]
        np.testing.assert_array_equal(stays.numpy()[:200], nearest > distance)
        assert (upper.numpy()[:200] >= distance).all()
        is_near = distance < 100
        np.testing.assert_allclose(upper.numpy()[:200][is_near], distance[is_near], rtol=2e-3)
        seen |= set(stays.numpy()[:200].tolist())
    assert seen == {True, False}


def test_rows_that_no_moved_centroid_can_reach_are_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moved, "_BOUNDS_FROM", 2.0)
    points = blobs(4000, 5, 200, spread=0.1)
    rows = weighed(points)
    centroids = rows.points.gather(np.arange(200))
    shard = MovedShard(rows, 200, 0, 4000)
    shard.step(centroids)
    read: list[np.int64] = []
    searched: list[np.int64] = []
    leave, search = MovedShard._leave, MovedShard._search_rows

    def note_read(self: MovedShard, rows: NDArray[np.int64], *rest: NDArray[np.int64]) -> object:
        read.extend(rows)
        return leave(self, rows, *rest)  # type: ignore[arg-type]

    def note_searched(self: MovedShard, rows: NDArray[np.int64], *rest: Float32) -> None:
        searched.extend(rows)
        search(self, rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MovedShard, "_leave", note_read)
    monkeypatch.setattr(MovedShard, "_search_rows", note_searched)
    shard.step(centroids)
    unmoved = len(searched)
    before = shard.assignments().copy()
    centroids = centroids.copy()
    centroids[7] += np.float32(0.02)
    step = shard.step(centroids)
    plain = new_engine("plain", rows, 200)
    plain.step(centroids)
    after = plain.finish(centroids).assignments
    assert after is not None
    np.testing.assert_array_equal(shard.assignments(), after)
    assert step.has_changed == bool((before != after).any())
    # One of 200 moved: that is its own cluster, and those beside it.
    assert 0 < len(read) < 1000
    assert len(searched) - unmoved < 400
