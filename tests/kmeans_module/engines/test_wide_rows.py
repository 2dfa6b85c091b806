"""The search of wide rows, beside float64."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from kmeans_module.aligned_window import RowGather
from kmeans_module.engines.score_rounding import has_far_centroid
from kmeans_module.engines.wide_rows import WideRows, is_wide
from kmeans_module.model_space import enter
from kmeans_module.rows import as_numpy
from kmeans_module.weighted_rows import WeightedRows, weigh

from ..problems import Float32, misaligned

# More rows than a block has; and centroids that NumPy multiplies in pieces, and TensorFlow at once.
N, D, FEW, MANY = 9_000, 272, 4, 64


def weighed_rows(*, offset: int = 0, mean: float = 0.0, standardize: bool = False) -> WeightedRows:
    points = np.random.default_rng(0).standard_normal((N, D)).astype("f4") * 2 + np.float32(mean)
    weight = np.ones(N, np.float32)
    space = enter(misaligned(points, offset), weight, standardize=standardize)
    return weigh(space.rows, weight, space.largest)


def near_centroids(rows: WeightedRows, k: int) -> Float32:
    """Two pairs of centroids, each of which float32 hardly tells apart, and others."""
    first, second, *others = rows.points.gather(np.array([3, 8_999, *range(10, 10 + k - FEW)]))
    nearly = np.nextafter(first, np.inf).astype("f4")
    return np.stack([first, nearly, second, second * np.float32(1 + 1e-6), *others])


def test_few_centroids_are_multiplied_in_pieces_and_many_at_once() -> None:
    assert WideRows.multiplies_by_numpy(D, FEW)
    assert not WideRows.multiplies_by_numpy(D, MANY)


@pytest.mark.parametrize("has_far", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 12])
@pytest.mark.parametrize(("mean", "standardize"), [(0, False), (1.5, True)])
@pytest.mark.parametrize("k", [FEW, MANY])
def test_what_is_decided_is_what_float64_finds_and_the_bounds_hold(
    k: int, mean: float, standardize: bool, offset: int, has_far: bool
) -> None:
    rows = weighed_rows(offset=offset, mean=mean, standardize=standardize)
    points, norms = rows.points, as_numpy(rows.norms)
    assert is_wide(rows, k)
    z = points.gather(np.arange(N)).astype("f8")
    apart = points.gather(np.linspace(0, N - 2, k).astype(np.int64))
    far = np.concatenate([apart[:-1], 3 * apart[-1:]])
    for centroids, least_decided in (
        (near_centroids(rows, k), 0.0),
        (apart, 0.9),
        (far, 0.9),
    ):
        assert has_far_centroid(centroids, is_wide=True) == (centroids is far)
        distance = cdist(z, centroids.astype("f8"))
        for start, stop in ((0, 4_096), (4_096, N)):
            part = slice(start, stop)
            wide = WideRows(points, start, stop, norms[part])
            gathered = np.arange(stop - 64, stop)
            window = RowGather(points, 128).window(gathered)
            padded = np.zeros(128, np.float32)
            padded[:64] = norms[gathered]
            every = wide.search(
                tf.constant(norms[part]), centroids, with_bounds=True, has_far=has_far
            )
            of_window = wide.search_window(window, padded, centroids, has_far=has_far)
            answers = [(every, distance[part]), (of_window, distance[gathered])]
            if wide.multiplies_by_numpy(D, k):
                chosen = wide.search_chosen(gathered, norms[gathered], centroids)
                answers.append((chosen, distance[gathered]))
            for found, true in answers:
                index, upper, lower = (np.asarray(each)[: len(true)] for each in found)
                decided = np.flatnonzero(index >= 0)
                assert len(decided) >= least_decided * len(true)
                np.testing.assert_array_equal(index[decided], true[decided].argmin(1))
                nearest, *others = np.sort(true[decided], axis=1).T
                assert (upper[decided] >= nearest).all()
                assert (lower[decided] <= others[0]).all()
            (alone,) = wide.search(
                tf.constant(norms[part]), centroids, with_bounds=False, has_far=has_far
            )
            for clusters in (alone.numpy(), wide.search_by_numpy(centroids)):
                decided = np.flatnonzero(clusters >= 0)
                assert len(decided) >= least_decided * len(clusters)
                np.testing.assert_array_equal(clusters[decided], distance[part][decided].argmin(1))


@pytest.mark.parametrize(("k", "last"), [(FEW, 3), (MANY, -1)])
def test_only_tensorflow_leaves_the_last_row_of_a_table_that_is_not_aligned_undecided(
    k: int, last: int
) -> None:
    rows = weighed_rows(offset=4)
    norms = as_numpy(rows.norms)
    centroids = rows.points.gather(np.array([0, 4_000, 6_000, N - 1, *range(10, 10 + k - FEW)]))
    wide = WideRows(rows.points, 0, N, norms)
    (index,) = wide.search(rows.norms, centroids, with_bounds=False, has_far=False)
    for found in (index.numpy(), wide.search_by_numpy(centroids)):
        # These rows lie on a centroid.
        np.testing.assert_array_equal(found[[0, 4_000, 6_000, N - 1]], [0, 1, 2, last])


def test_rows_far_from_the_origin_and_narrow_ones_are_searched_otherwise() -> None:
    far = weighed_rows(mean=100)
    assert not is_wide(far, FEW)
    near = weighed_rows()
    assert not is_wide(near, D)


def test_of_wide_rows_a_centroid_twice_as_long_as_most_has_an_error_of_its_own() -> None:
    centroids = np.ones((9, D), np.float32)
    assert not has_far_centroid(centroids, is_wide=True)
    centroids[4] *= 2
    assert has_far_centroid(centroids, is_wide=True)
    assert not has_far_centroid(centroids)
