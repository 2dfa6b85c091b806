"""Fewer clusters out of many, by merging those whose union costs the least inertia (Ward 1963).

Where no two directions of the rows are alike, as in embeddings, k-means rarely mends a start that
has two centroids in one cluster and none in another. Many small clusters have one in each, and
those that are parts of one cluster are near each other: their mean is known better than a row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64


@dataclass(frozen=True)
class MergedClusters:
    """Clusters, and the order in which they merge into one.

    Attributes:
        sums: float64 [m, d], of the rows of each cluster.
        sizes: float64 [m], how many they are.
        pairs: int64 [m - 1, 2]: each merge adds the second cluster to the first.
    """

    sums: Float64
    sizes: Float64
    pairs: NDArray[np.int64]

    def means(self, k: int) -> Float32:
        """The means of the k clusters, at most m, that are left when the others have merged.

        Returns:
            float32 [k, d]. O(m d) time.
        """
        sums, sizes = self.sums.copy(), self.sizes.copy()
        merges = self.pairs[: len(sizes) - k]
        for first, second in merges:
            sums[first] += sums[second]
            sizes[first] += sizes[second]
        left = np.setdiff1d(np.arange(len(sizes)), merges[:, 1])
        means: Float32 = (sums[left] / sizes[left, None]).astype(np.float32)
        return means


def merge_clusters(points: Float32, assignments: NDArray[np.int32]) -> MergedClusters:
    """The merges of the clusters of points [n, d], of whose numbers int32 [n] some may have no row.

    O(n d + m^2 d + m^3) time for m clusters, O(n d + m^2) memory.
    """
    order = np.argsort(assignments, kind="stable")
    _, starts, counts = np.unique(assignments[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
    sizes = counts.astype(np.float64)
    return MergedClusters(sums, sizes, _merge_pairs(sums / sizes[:, None], sizes))


def _merge_pairs(means: Float64, sizes: Float64) -> NDArray[np.int64]:
    """The pairs in the order of their merges, by the update of Lance and Williams (1967)."""
    weight = sizes.copy()
    # No matrix product: a BLAS library may share it out among its threads.
    cost = np.stack([np.square(means - mean).sum(axis=1) for mean in means])
    cost *= weight * weight[:, None] / (weight + weight[:, None])
    np.fill_diagonal(cost, np.inf)
    pairs = np.empty((len(weight) - 1, 2), np.int64)
    for step in range(len(pairs)):
        first, second = np.unravel_index(np.argmin(cost), cost.shape)
        pairs[step] = first, second
        both = weight[first] + weight[second]
        merged = (weight[first] + weight) * cost[first] + (weight[second] + weight) * cost[second]
        merged = (merged - weight * cost[first, second]) / (both + weight)
        merged[[first, second]] = np.inf
        cost[first] = cost[:, first] = merged
        cost[second] = cost[:, second] = np.inf
        weight[first] = both
    return pairs
