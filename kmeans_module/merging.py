"""Merge clusters whose union increases the inertia the least (Ward 1963).

If all rows have nearly orthogonal directions, as in embeddings, k-means rarely corrects a start
with two centroids in one cluster and none in another. Among many small clusters, each true cluster
has at least one, and parts of the same cluster are close to each other, because a mean has less
noise than a row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64


@dataclass(frozen=True)
class MergedClusters:
    """Clusters, and the order of their merges into one.

    Attributes:
        sums: float64 [m, d], the sums of the rows of each cluster.
        sizes: float64 [m], the numbers of rows.
        pairs: int64 [m - 1, 2]: each merge adds the second cluster to the first.
    """

    sums: Float64
    sizes: Float64
    pairs: NDArray[np.int64]

    def means(self, k: int) -> Float32:
        """Return the means of the k clusters, at most m, that remain after merging the others.

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
    """Compute the merges of the clusters of points [n, d], given by numbers int32 [n]; some numbers
    may have no row.

    O(n d + m^2 d + m^3) time for m clusters, O(n d + m^2) memory.
    """
    order = np.argsort(assignments, kind="stable")
    _, starts, counts = np.unique(assignments[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
    sizes = counts.astype(np.float64)
    return MergedClusters(sums, sizes, _merge_pairs(sums / sizes[:, None], sizes))


def _merge_pairs(means: Float64, sizes: Float64) -> NDArray[np.int64]:
    """Return the pairs in the order of their merges, by the update of Lance and Williams (1967)."""
    weight = sizes.copy()
    # No matrix product, because a BLAS library may use several threads for it.
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
