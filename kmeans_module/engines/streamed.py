"""Lloyd steps over rows that are read again in every step: the engine of a source.

Nothing is stored per row between steps. Each block is a separate shard for the kernels of the
engines in memory, and the sums are added; a hash of all assignments shows whether one has changed.
"""

import hashlib
from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

import numpy as np

from ..array_types import Float32
from ..cluster_sums import ClusterSums
from ..errors import UnreadableRows
from ..fixed_point import CHANGED_ROWS
from ..rows import Rows, aligned_empty
from ..source_rows import SourceRows
from ..weighted_rows import WeightedRows
from .block_step import BLOCK_SHARDS
from .engine import Engine, FarRows, FinalState, StepSums
from .sharded import Shard


class StreamedShard(Engine):
    """An engine of one range of the rows of a source; each call reads them once.

    Args:
        shard: what makes the engine of a block of rows, as a class of `Shard` does.
        rows: all of them.
        n_clusters: k.
        start, stop: its rows.
    """

    def __init__(
        self,
        shard: Callable[[WeightedRows, int, int, int], Shard],
        rows: SourceRows,
        n_clusters: int,
        start: int,
        stop: int,
    ) -> None:
        self.scale, self.squares = rows.scale, rows.squares
        self._shard, self._rows, self._k = shard, rows, n_clusters
        block_shard = BLOCK_SHARDS.get(shard)
        self._block = None if block_shard is None else block_shard(rows, n_clusters)
        self._start, self._stop = start, stop
        self._index_type = np.min_scalar_type(n_clusters - 1)
        self._hash = b""
        self._total: ClusterSums | None = None
        self._centroids: Float32 = np.empty((0, 0), np.float32)

    def step(self, centroids: Float32) -> StepSums:
        digest = hashlib.blake2b(digest_size=16)

        def step_block(shard: Shard) -> StepSums:
            sums = shard.step(centroids)
            digest.update(shard.assignments().astype(self._index_type).data)
            return sums

        sums = reduce(add, (step_block(shard) for _, shard in self._shards()))
        self._check_total(sums.clusters)
        has_changed = digest.digest() != self._hash
        self._hash, self._centroids = digest.digest(), centroids
        return StepSums(sums.clusters, has_changed)

    def farthest(self, count: int) -> FarRows:
        def of_block(first: int, shard: Shard) -> FarRows:
            shard.step(self._centroids)
            far = shard.farthest(count)
            return far._replace(numbers=far.numbers + first)

        parts = (of_block(first, shard) for first, shard in self._shards())
        return reduce(lambda one, other: one.merge(other, count), parts)

    def finish(self, centroids: Float32) -> FinalState:
        parts = (shard.finish(centroids).inertia for _, shard in self._shards())
        return FinalState(reduce(add, parts), None)

    def _check_total(self, clusters: ClusterSums) -> None:
        """Check that the totals of all clusters equal those of the previous step.

        Integers: the same rows add up to the same bits, whatever their clusters are. Raises
        UnreadableRows.
        """
        before, self._total = self._total, clusters.total()
        if before is not None and not before.equals(self._total):
            raise UnreadableRows(CHANGED_ROWS)

    def _shards(self) -> Iterator[tuple[int, Shard]]:
        """An engine of each block until the next, and the number of its first row."""
        for first, points, weight in self._rows.blocks(self._start, self._stop):
            if self._block is not None:
                self._block.hold(points, weight)
                yield first, self._block
                continue
            m = len(weight)
            block = self._rows.with_rows(points, weight, _norms(points, m))
            yield first, self._shard(block, self._k, 0, m)


def _norms(points: Rows, m: int) -> Float32:
    norms = aligned_empty(m)
    # A row of weight 0 may exceed float32.
    with np.errstate(over="ignore"):
        norms[:] = np.sqrt(points.squared_norms(0, m))
    return norms
