"""Lloyd steps on every core: each core computes the steps of a range of rows, its shard.

So the NumPy part of a step also runs on every core, not only the kernels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import reduce
from operator import add
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32, Float64
from ..blocks import block_ranges
from ..cluster_sums import ClusterSums, sum_rows
from ..cores import run_in_parallel
from ..fixed_point import sum_column
from ..quiet_tensorflow import tf
from ..rows import as_numpy
from ..weighted_rows import RowTotals, WeightedRows
from .engine import Engine, FarRows, FinalState, StepSums
from .near_ties import decide, undecided_rows

#: The assignment of a row before the first step; an undecided row has -1.
NO_CLUSTER: Final = -2

_BLOCK_ROWS: Final = 16_384


class Shard(Engine, ABC):
    """An engine for one range of rows.

    Args:
        rows: all rows.
        n_clusters: k.
        start, stop: the range, with ``start`` a multiple of 16.
    """

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        self.scale, self.squares = rows.scale, rows.squares
        self._rows, self._points = rows, rows.points
        self._totals: RowTotals = rows
        self._weight, self._norms = rows.weight[start:stop], rows.norms[start:stop]
        self._scale_tensor = rows.scale.tensor()
        self._start, self._stop = start, stop
        self._shape = len(rows.points.shift), n_clusters
        self._assignments: NDArray[np.int32] = np.full(stop - start, NO_CLUSTER, np.int32)
        self._centroids: Float32 = np.empty((0, 0), np.float32)

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        """Return calls that compile one kernel each, for steps from such centroids [k, d].

        For an engine of a few rows that computes no steps.
        """
        return ()

    @staticmethod
    def variant(rows: WeightedRows, centroids: Float32) -> Hashable:
        """Return the key that distinguishes the kernels for such rows and centroids, besides d and
        k.
        """
        return ()

    @abstractmethod
    def _assign(self, centroids: Float32) -> StepSums:
        """Compute a step, and store the assignments int32 [stop - start]."""

    def _reassign(self, centroids: Float32) -> None:
        """Take a step whose sums nobody asks for."""
        self._assign(centroids)

    def step(self, centroids: Float32) -> StepSums:
        sums = self._assign(centroids)
        self._centroids = centroids
        return sums

    def farthest(self, count: int) -> FarRows:
        self._settle()
        weight, squared = as_numpy(self._weight), self._distances(0, len(self._weight))
        # A stable order makes the choice on ties the same on every machine.
        far = np.argsort(-squared, kind="stable")[:count]
        far = far[squared[far] > 0]
        return FarRows(
            numbers=far + self._start,
            squared_distances=squared[far],
            points=self._points.gather(far + self._start),
            weights=weight[far],
            assignments=self._assignments[far],
        )

    def finish(self, centroids: Float32) -> FinalState:
        if not np.array_equal(centroids, self._centroids):
            self._reassign(centroids)
            self._centroids = centroids
        assignments = self.assignments()
        scale, weight = self._totals.inertia_scale(centroids), as_numpy(self._weight)
        parts = (
            sum_column(self._distances(first, last) * weight[first:last], scale)
            for first, last in block_ranges(0, len(weight), _BLOCK_ROWS)
        )
        return FinalState(reduce(add, parts), assignments)

    def assignments(self) -> NDArray[np.int32]:
        """The assignments of the last step, int32 [stop - start]."""
        self._settle()
        return self._assignments

    def _distances(self, first: int, last: int) -> Float64:
        """Return the squared distances, and 0 for a row of weight 0, which may be infinite."""
        squared = self._points.squared_distances(
            self._start + first, self._start + last, self._assignments[first:last], self._centroids
        )
        return np.where(as_numpy(self._weight)[first:last] > 0, squared, 0)

    def _settle(self) -> None:
        """Have all assignments of the last step in `_assignments`; they are there already."""

    def _decide(
        self, index: tf.Tensor, limbs: Sequence[tf.Tensor], centroids: Float32
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], ClusterSums]:
        """The rows that a kernel left undecided, their clusters, and the sums with them.

        Args:
            index: int32 [stop - start], -1 where it is undecided.
            limbs: the kernel's sums of the other rows.
            centroids: those of the step.
        """
        undecided = undecided_rows(as_numpy(index))
        decided = decide(self._points, undecided + self._start, centroids)
        sums = ClusterSums.of(limbs, self.scale)
        if len(undecided):
            weight = as_numpy(self._weight)[undecided]
            points = self._points.gather(undecided + self._start)
            sums = sums.plus(sum_rows(points, weight, [decided], self._shape[1], self.scale))
        return undecided, decided, sums


class ShardedEngine(Engine):
    """The combined engine of engines for consecutive ranges of rows."""

    def __init__(self, shards: Sequence[Engine]) -> None:
        self.scale, self.squares = shards[0].scale, shards[0].squares
        self._shards = [(shard,) for shard in shards]

    def step(self, centroids: Float32) -> StepSums:
        parts = run_in_parallel(lambda shard: shard.step(centroids), self._shards)
        total: StepSums = reduce(add, parts)
        return total

    def farthest(self, count: int) -> FarRows:
        parts = run_in_parallel(lambda shard: shard.farthest(count), self._shards)
        far: FarRows = reduce(lambda one, other: one.merge(other, count), parts)
        return far

    def finish(self, centroids: Float32) -> FinalState:
        parts = run_in_parallel(lambda shard: shard.finish(centroids), self._shards)
        inertias, assignments = zip(*parts, strict=True)
        is_kept = all(each is not None for each in assignments)
        return FinalState(reduce(add, inertias), np.concatenate(assignments) if is_kept else None)
