"""Clusters merge in the order of Ward's method."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, ward

from kmeans_module.merging import merge_clusters


@pytest.mark.parametrize("seed", range(5))
def test_clusters_merge_as_scipys_ward_merges_rows_that_stand_for_them(seed: int) -> None:
    # A cluster whose rows are all alike costs SciPy nothing to merge: it goes on from there.
    random = np.random.default_rng(seed)
    places = random.standard_normal((12, 3)).astype(np.float32)
    clusters = np.concatenate([np.arange(12), random.integers(0, 12, 60)]).astype(np.int32)
    points = places[clusters]
    merged = merge_clusters(points, clusters)
    theirs = cut_tree(ward(points.astype(np.float64)), list(range(1, 13)))
    for k in range(1, 13):
        labels = theirs[:, k - 1]
        expected = np.stack([points[labels == label].mean(axis=0) for label in range(k)])
        found = merged.means(k)
        assert found.shape == (k, 3)
        np.testing.assert_allclose(
            found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-5
        )


def test_a_number_without_a_row_is_no_cluster() -> None:
    points = np.array([[0.0], [1.0], [10.0]], np.float32)
    merged = merge_clusters(points, np.array([5, 2, 9], np.int32))
    assert merged.sizes.tolist() == [1, 1, 1]
    assert sorted(merged.means(2)[:, 0].tolist()) == [0.5, 10.0]


def test_a_large_cluster_takes_a_row_rather_than_another_large_one_that_is_as_far() -> None:
    points = np.repeat(np.array([[0.0], [1.0], [2.0]], np.float32), [50, 50, 1], axis=0)
    clusters = np.repeat(np.arange(3, dtype=np.int32), [50, 50, 1])
    means = merge_clusters(points, clusters).means(2)
    assert sorted(means[:, 0].tolist()) == pytest.approx([0.0, 52 / 51])
