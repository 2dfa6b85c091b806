"""The search of wide rows, beside float64."""

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module.aligned_window import RowGather
from kmeans_module.engines.score_rounding import has_far_centroid
from kmeans_module.engines.wide_rows import WideRows, is_wide
from kmeans_module.model_space import enter
from kmeans_module.rows import as_numpy
from kmeans_module.weighted_rows import WeightedRows, weigh

from ..problems import Float32, misaligned

# More rows than a block has.
N, D, K = 9_000, 272, 4


def weighed_rows(*, offset: int = 0, mean: float = 0.0, standardize: bool = False) -> WeightedRows:
    points = np.random.default_rng(0).standard_normal((N, D)).astype("f4") * 2 + np.float32(mean)
    weight = np.ones(N, np.float32)
    space = enter(misaligned(points, offset), weight, standardize=standardize)
    return weigh(space.rows, weight, space.largest)


def near_centroids(rows: WeightedRows) -> Float32:
    """Two pairs of centroids, each of which float32 hardly tells apart."""
    first, second = rows.points.gather(np.array([3, 8_999]))
    nearly = np.nextafter(first, np.inf).astype("f4")
    return np.stack([first, nearly, second, second * np.float32(1 + 1e-6)])


@pytest.mark.parametrize("has_far", [False, True])
@pytest.mark.parametrize("offset", [0, 1, 12])
@pytest.mark.parametrize(("mean", "standardize"), [(0, False), (1.5, True)])
def test_what_is_decided_is_what_float64_finds_and_the_bounds_hold(
    mean: float, standardize: bool, offset: int, has_far: bool
) -> None:
    rows = weighed_rows(offset=offset, mean=mean, standardize=standardize)
    points, norms = rows.points, as_numpy(rows.norms)
    assert is_wide(rows, K)
    z = points.gather(np.arange(N)).astype("f8")
    apart = points.gather(np.array([0, 4_000, 6_000, 7_000]))
    for centroids, least_decided in ((near_centroids(rows), 0.0), (apart, 0.9)):
        distance = np.sqrt(np.square(z[:, None] - centroids).sum(-1))
        for start, stop in ((0, 4_096), (4_096, N)):
            part = slice(start, stop)
            wide = WideRows(points, start, stop, norms[part])
            gathered = np.arange(stop - 64, stop)
            window = RowGather(points, 128).window(gathered)
            padded = np.zeros(128, np.float32)
            padded[:64] = norms[gathered]
            options = {"has_far": has_far}
            for found, true in (
                (
                    wide.search(
                        tf.constant(norms[part]), centroids, with_bounds=True, has_far=has_far
                    ),
                    distance[part],
                ),
                (wide.search_window(window, padded, centroids, **options), distance[gathered]),
            ):
                index, upper, lower = (each.numpy()[: len(true)] for each in found)
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


def test_only_the_last_row_of_a_table_that_is_not_aligned_is_left_undecided_for_that() -> None:
    rows = weighed_rows(offset=4)
    norms = as_numpy(rows.norms)
    centroids = rows.points.gather(np.array([0, 4_000, 6_000, N - 1]))
    wide = WideRows(rows.points, 0, N, norms)
    (index,) = wide.search(rows.norms, centroids, with_bounds=False, has_far=False)
    for found in (index.numpy(), wide.search_by_numpy(centroids)):
        # These rows lie on a centroid.
        np.testing.assert_array_equal(found[[0, 4_000, 6_000, N - 1]], [0, 1, 2, -1])


def test_rows_far_from_the_origin_and_narrow_ones_are_searched_otherwise() -> None:
    far = weighed_rows(mean=100)
    assert not is_wide(far, K)
    near = weighed_rows()
    assert not is_wide(near, D)


def test_of_wide_rows_a_centroid_twice_as_long_as_most_has_an_error_of_its_own() -> None:
    centroids = np.ones((9, D), np.float32)
    assert not has_far_centroid(centroids, is_wide=True)
    centroids[4] *= 2
    assert has_far_centroid(centroids, is_wide=True)
    assert not has_far_centroid(centroids)
