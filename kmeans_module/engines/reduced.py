"""Lloyd steps over the rows of many workers: each computes its own rows, and sums are reduced."""

from hashlib import blake2b

import numpy as np

from ..array_types import Float32
from ..cluster_sums import ClusterSums
from ..errors import WorkersDiffer
from ..fixed_point import FixedSum
from ..source_rows import SourceRows
from ..workers import Reducer
from .engine import Engine, FarRows, FinalState, StepSums


class NoRows(Engine):
    """The engine of a worker without rows."""

    def __init__(self, rows: SourceRows, n_clusters: int) -> None:
        self.scale, self.squares = rows.scale, rows.squares
        self._rows, self._k, self._d = rows, n_clusters, rows.source.shape[1]

    def step(self, centroids: Float32) -> StepSums:
        limbs = self.scale.limbs
        points = FixedSum(np.zeros((limbs, self._k, self._d), np.int64), self.scale.points)
        weight = FixedSum(np.zeros((limbs, self._k, 1), np.int64), self.scale.weight)
        return StepSums(ClusterSums(points, weight), has_changed=False)

    def farthest(self, count: int) -> FarRows:
        return FarRows(
            numbers=np.empty(0, np.int64),
            squared_distances=np.empty(0),
            points=np.empty((0, self._d), np.float32),
            weights=np.empty(0, np.float32),
            assignments=np.empty(0, np.int32),
        )

    def finish(self, centroids: Float32) -> FinalState:
        scale = self._rows.inertia_scale(centroids)
        return FinalState(FixedSum(np.zeros(scale.limbs, np.int64), scale), None)


class ReducedEngine(Engine):
    """The combined engine of all workers.

    Args:
        own: the engine of the rows of this worker.
        reducer: the reducer of the workers.
    """

    def __init__(self, own: Engine, reducer: Reducer) -> None:
        self.scale, self.squares = own.scale, own.squares
        self._own, self._reducer = own, reducer

    def step(self, centroids: Float32) -> StepSums:
        own = self._own.step(centroids)
        points, weight = own.clusters
        mark = _mark(centroids)
        # One reduction for all.
        numbers = np.concatenate(
            [points.limbs.ravel(), weight.limbs.ravel(), [own.has_changed, mark]]
        )
        total = self._reducer.sum(numbers)
        if total[-1] != self._reducer.workers * mark:
            raise WorkersDiffer(
                "the workers have different centroids, for their processors round otherwise; use "
                "machines of one kind"
            )
        size = points.limbs.size
        clusters = ClusterSums(
            FixedSum(total[:size].reshape(points.limbs.shape), points.scale),
            FixedSum(total[size:-2].reshape(weight.limbs.shape), weight.scale),
        )
        return StepSums(clusters, has_changed=bool(total[-2]))

    def farthest(self, count: int) -> FarRows:
        own, gather = self._own.farthest(count), self._reducer.gather
        far = FarRows(
            gather(own.numbers),
            gather(own.squared_distances),
            gather(own.points),
            gather(own.weights),
            gather(own.assignments),
        )
        return far.cut(count)

    def finish(self, centroids: Float32) -> FinalState:
        return FinalState(self._own.finish(centroids).inertia.reduce(self._reducer), None)


def _mark(centroids: Float32) -> int:
    """Return a checksum of centroids, small enough for sums over workers."""
    digest = blake2b(np.ascontiguousarray(centroids).data, digest_size=5)
    return int.from_bytes(digest.digest(), "big")
