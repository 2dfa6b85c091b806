"""Lloyd steps on every core: each takes the steps of a range of the rows, its shard.

So the part of a step that NumPy does, too, runs on every core, not only the kernels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import reduce

import numpy as np
import tensorflow as tf

from ..array_types import Float32
from ..cores import run_in_parallel
from ..rows import Rows, as_numpy
from .engine import Engine, FarRows, FinalState, StepSums


class Shard(Engine, ABC):
    """An engine of one range of the rows.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: k.
        start, stop: its rows, ``start`` a multiple of 16.
    """

    def __init__(
        self, points: Rows, sample_weight: tf.Tensor, n_clusters: int, start: int, stop: int
    ) -> None:
        self._points, self._weight = points, sample_weight[start:stop]
        self._start, self._stop = start, stop
        self._shape = len(points.shift), n_clusters
        self._assignments = tf.fill([stop - start], -1)
        self._centroids: Float32 = np.empty((0, 0), np.float32)

    @abstractmethod
    def _assign(self, centroids: tf.Tensor) -> StepSums:
        """Take a step, and keep the assignments int32 [stop - start]."""

    def step(self, centroids: Float32) -> StepSums:
        sums = self._assign(tf.constant(centroids))
        self._centroids = centroids
        return sums

    def farthest(self, count: int) -> FarRows:
        weight, assignments = as_numpy(self._weight), as_numpy(self._assignments)
        squared = self._weighted_distances()
        # A stable order makes the choice among equally far rows the same on every machine.
        far = np.argsort(-squared, kind="stable")[:count]
        far = far[squared[far] > 0]
        return FarRows(
            numbers=far + self._start,
            squared_distances=squared[far],
            points=self._points.gather(far + self._start).astype(np.float64),
            weights=weight[far],
            assignments=assignments[far],
            members=np.bincount(assignments[weight > 0], minlength=self._shape[1]),
        )

    def finish(self, centroids: Float32) -> FinalState:
        if not np.array_equal(centroids, self._centroids):
            self.step(centroids)
        return FinalState(self._inertia(), self._assignments.numpy())

    def _inertia(self) -> float:
        """The weighted sum of the squared distances of the last step."""
        squared = self._weighted_distances()
        return float(np.einsum("n,n->", squared, as_numpy(self._weight), dtype=np.float64))

    def _weighted_distances(self) -> Float32:
        """The squared distances, and 0 for a row of weight 0: it may be infinitely far away."""
        return np.where(as_numpy(self._weight) > 0, self._squared_distances(), np.float32(0))

    def _squared_distances(self) -> Float32:
        """To the assigned centroids of the last step, float32 [stop - start]."""
        assignments = as_numpy(self._assignments)
        return self._points.squared_distances(self._start, self._stop, assignments, self._centroids)


class ShardedEngine(Engine):
    """The engine that engines of successive ranges of the rows make together.

    What they give is merged in their order, so that the bits are the same each time.
    """

    def __init__(self, shards: Sequence[Engine]) -> None:
        self._shards = [(shard,) for shard in shards]

    def step(self, centroids: Float32) -> StepSums:
        first, *others = run_in_parallel(lambda shard: shard.step(centroids), self._shards)
        total: StepSums = sum(others, start=first)
        return total

    def farthest(self, count: int) -> FarRows:
        parts = run_in_parallel(lambda shard: shard.farthest(count), self._shards)
        far: FarRows = reduce(lambda one, other: one.merge(other, count), parts)
        return far

    def finish(self, centroids: Float32) -> FinalState:
        parts = run_in_parallel(lambda shard: shard.finish(centroids), self._shards)
        inertias, assignments = zip(*parts, strict=True)
        return FinalState(sum(inertias), np.concatenate(assignments))
