"""Lloyd steps that keep the sums of the clusters, and change them by the rows that changed cluster.

Each engine implements the search for the nearest centroids. NumPy sums rows, unless the engine has
kernels for it.
"""

from abc import abstractmethod
from functools import cached_property, reduce
from itertools import starmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32
from ..blocks import block_ranges, rows_per_block
from ..cluster_sums import ClusterSums, SumMemory, order_by_cluster, sum_rows
from ..rows import as_numpy
from ..weighted_rows import WeightedRows
from .engine import StepSums
from .near_ties import decide
from .sharded import Shard

#: Above this share of changed rows the sums are computed again in a sequential pass.
_NEW_SUMS: Final = 0.5

#: Numbers of a block whose sums are taken, and its rows at least. Threads wait less for each other
#: if each call of NumPy takes longer.
_SUM_NUMBERS: Final = 2**18
_SUM_ROWS: Final = 32


class KeptSumsShard(Shard):
    """Searches all rows in every step, and updates the sums for the rows that changed."""

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._n = stop - start
        self._steps, self._changed = 0, self._n
        self._sums: ClusterSums
        self._has_sums = False

    @abstractmethod
    def _search(self, centroids: Float32) -> NDArray[np.int32]:
        """Return the nearest centroid of each row, -1 if undecided: int32 [rows]."""

    def _sum_all(self) -> ClusterSums:
        """Return the sums of all rows by the assignments."""
        return self._sum(None, self._assignments)

    def _sum_moves(
        self, changed: NDArray[np.int64], new: NDArray[np.int32], old: NDArray[np.int32]
    ) -> ClusterSums:
        """Return the sums of some rows by their new clusters, minus those by the old ones."""
        return self._sum(changed, new, old)

    def _sum(self, chosen: NDArray[np.int64] | None, *clusters: NDArray[np.int32]) -> ClusterSums:
        """Return the sums by the first clusters, minus those by the second.

        They are those of the chosen rows; None is all rows.
        """
        weight, k, memory = as_numpy(self._weight), self._shape[1], self._memory

        def sum_block(first: int, last: int) -> ClusterSums:
            part = slice(first, last)
            points = self._points.gather(rows[part] + self._start, memory.points[: last - first])
            each_cluster = [each[part] for each in clusters]
            return sum_rows(points, weight[rows[part]], each_cluster, k, self.scale, memory)

        # The rows of a cluster lie together then, and are added up by fewer calls.
        order = order_by_cluster(clusters[0], k)
        rows = order if chosen is None else chosen[order]
        clusters = tuple(each[order] for each in clusters)
        blocks = block_ranges(0, len(rows), len(memory.points))
        return reduce(ClusterSums.plus, starmap(sum_block, blocks))

    @cached_property
    def _memory(self) -> SumMemory:
        """Memory for the sums of a block of rows."""
        d = self._shape[0]
        block = max(rows_per_block(d, _SUM_NUMBERS), _SUM_ROWS)
        return SumMemory(min(block, self._n), d, self.scale)

    def _assign(self, centroids: Float32) -> StepSums:
        moves = self._move_rows(centroids)
        if not self._has_sums or self._changed > _NEW_SUMS * self._n:
            self._sums = self._sum_all()
        elif self._changed:
            self._sums = self._sums.plus(self._sum_moves(*moves))
        self._has_sums = True
        return StepSums(self._sums, self._changed > 0)

    def _reassign(self, centroids: Float32) -> None:
        self._move_rows(centroids)
        self._has_sums = False

    def _move_rows(
        self, centroids: Float32
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Assign the rows anew: which have changed cluster, their new clusters and the old ones."""
        found = self._search(centroids)
        # The undecided are among them: their -1 was no assignment.
        changed = np.flatnonzero(found != self._assignments)
        new, old = found[changed], self._assignments[changed]
        undecided = np.flatnonzero(new < 0)
        if len(undecided):
            new[undecided] = decide(self._points, changed[undecided] + self._start, centroids)
            changed, new, old = (each[new != old] for each in (changed, new, old))
        self._assignments[changed] = new
        self._changed = len(changed)
        self._steps += 1
        return changed, new, old
