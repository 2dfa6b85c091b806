"""Many rows by a compiled kernel: what it decides, the served graph says too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module import KMeansModule
from kmeans_module.array_types import Array, Float32
from kmeans_module.column_assignment import OUT_OF_RANGE, UNDECIDED, ColumnAssignment
from kmeans_module.model_space import Distance

RNG = np.random.default_rng(23)


def compare(
    centroids: Array,
    points: Array,
    *,
    shift: Array | None = None,
    scale: Array | None = None,
    distance: Distance = "euclidean",
) -> float:
    """Hold the kernel against the served graph; gives the share of rows that it decides."""
    d = centroids.shape[1]
    centroids, points = (each.astype(np.float32) for each in (centroids, points))
    if distance == "cosine":
        centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    shift, scale = (
        np.full(d, each, np.float32) if given is None else given.astype(np.float32)
        for each, given in ((0, shift), (1, scale))
    )
    module = KMeansModule(centroids, shift, scale, distance)
    said = {name: tensor.numpy() for name, tensor in module.assign(tf.constant(points)).items()}
    index, found = ColumnAssignment(centroids, shift, scale, distance).assign(
        np.asfortranarray(points)
    )
    decided = found >= 0
    np.testing.assert_array_equal(index[decided], said["cluster_index"][decided])
    np.testing.assert_allclose(found[decided], said["distance"][decided], rtol=5e-7, atol=0)
    # A row without a cluster is out of range.
    assert np.isin(found[~decided], [UNDECIDED, OUT_OF_RANGE]).all()
    assert (said["cluster_index"][found == UNDECIDED] >= 0).all()
    return float(decided.mean())


def unscaled(centroids: Float32) -> ColumnAssignment:
    zeros = np.zeros_like(centroids[0])
    return ColumnAssignment(centroids, zeros, zeros + 1, "euclidean")


def spread(n: int, d: int) -> Array:
    return RNG.normal(size=(n, d))


@pytest.mark.parametrize(
    ("d", "k"), [(1, 1), (1, 3), (2, 2), (3, 64), (16, 64), (16, 65), (20, 300), (100, 7), (40, 33)]
)
def test_nearly_all_ordinary_rows_are_decided_and_as_the_served_graph_says(d: int, k: int) -> None:
    # More rows than a block has, and not a whole number of tiles.
    assert compare(spread(k, d), spread(70_001, d)) > 0.99


@pytest.mark.parametrize("magnitude", [1e-12, 1e-6, 1e6, 1e12])
def test_rows_of_any_magnitude_are_decided(magnitude: float) -> None:
    assert compare(magnitude * spread(8, 3), magnitude * spread(5_000, 3)) > 0.99


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_rows_are_taken_into_the_space_of_the_model(distance: Distance) -> None:
    shift, scale = np.array([1000, -3, 0.1]), np.array([50, 0.01, 7])
    points = spread(5_000, 3) * scale + shift
    share = compare(spread(8, 3), points, shift=shift, scale=scale, distance=distance)
    assert share > 0.99


def test_a_centroid_far_out_does_not_leave_the_other_rows_undecided() -> None:
    centroids = np.vstack([spread(8, 3), [[1e9, 0, 0]]])
    assert compare(centroids, spread(5_000, 3)) > 0.98


def test_rows_far_out_are_as_the_served_graph_says() -> None:
    compare(spread(8, 3), spread(5_000, 3) * 10.0 ** RNG.uniform(-20, 20, (5_000, 1)))
    compare(spread(8, 3) + 1e4, spread(5_000, 3) + 1e4)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda c: (c[0] + c[1]) / 2 + 1e-7 * spread(5_000, 3), id="between two"),
        pytest.param(lambda c: np.repeat(c[:2], 2_500, axis=0) + 1e-8, id="at a centroid"),
        pytest.param(lambda c: RNG.integers(-2, 3, (5_000, 3)), id="whole numbers"),
    ],
)
def test_near_ties_are_left_to_the_served_graph_or_as_it_says(
    make: Callable[[Array], Array],
) -> None:
    for k in (8, 50):
        centroids = RNG.integers(-2, 3, (k, 3)).astype(np.float32)
        compare(centroids, make(centroids))


def test_no_row_is_decided_between_centroids_that_are_the_same() -> None:
    found = unscaled(np.ones((2, 3), np.float32)).assign(np.ones((9, 3), np.float32))[1]
    np.testing.assert_array_equal(found, UNDECIDED)
    assert compare(np.ones((2, 3)), spread(1_000, 3)) == 0
    assert compare(np.ones((70, 3)), spread(1_000, 3)) == 0


def test_a_row_that_is_a_centroid_is_decided_at_the_distance_0() -> None:
    centroids = spread(4, 3).astype(np.float32)
    index, distance = unscaled(centroids).assign(centroids)
    np.testing.assert_array_equal(index, range(4))
    np.testing.assert_array_equal(distance, 0)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_bad_rows_are_left_to_the_served_graph(distance: Distance) -> None:
    points: Any = np.ones((6, 3))
    points[range(5), [0, 1, 2, 0, 1]] = [np.nan, np.inf, -np.inf, 1e25, 1e39]
    if distance == "cosine":
        points[:] = [[0, 0, 0]] * 5 + [[1, 1, 1]]
    with np.errstate(over="ignore"):
        assert compare(np.eye(3), points * [1, 2, 3], distance=distance) == pytest.approx(1 / 6)


def test_centroids_that_float32_can_hardly_measure_leave_all_to_the_served_graph() -> None:
    assert compare(np.array([[1e17, 0], [0, 1.0]]), spread(100, 2)) == 0


def test_points_may_lie_by_rows_and_be_wider_numbers() -> None:
    centroids, points = spread(4, 3).astype(np.float32), spread(1_000, 3)
    model = unscaled(centroids)
    by_columns = model.assign(np.asfortranarray(points.astype(np.float32)))
    for given in (points, points.astype(np.float32), points[::-1][::-1]):
        for one, other in zip(model.assign(given), by_columns, strict=True):
            np.testing.assert_array_equal(one, other)
    assert [len(each) for each in model.assign(points[:0])] == [0, 0]
