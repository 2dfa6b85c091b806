"""Lloyd steps by stock TensorFlow: the engine ``plain``, and the oracle of the others."""

import math

import numpy as np
import tensorflow as tf

from ..array_types import Float32
from ..assignment import assign_and_sum
from ..graphs import FLOATS, INT, TABLE, graph
from ..rows import ROWS_SPEC, RowTensors, as_numpy
from .engine import StepSums
from .sharded import Shard


class PlainShard(Shard):
    """Every distance in every step, from ``x - c`` of the nearest centroid."""

    _distances: tf.Tensor
    _summed_distances: tf.Tensor

    def _assign(self, centroids: tf.Tensor) -> StepSums:
        before = self._assignments
        self._assignments, self._distances, sums, counts, self._summed_distances = _assign_and_sum(
            self._points.tensors, self._weight, centroids, self._start, self._stop
        )
        has_changed = not np.array_equal(as_numpy(before), as_numpy(self._assignments))
        return StepSums(sums.numpy(), counts.numpy(), math.nan, has_changed)

    def _inertia(self) -> float:
        return float(self._summed_distances)

    def _squared_distances(self) -> Float32:
        distances: Float32 = as_numpy(self._distances)
        return distances


@graph(ROWS_SPEC, FLOATS, TABLE, INT, INT)
def _assign_and_sum(
    points: RowTensors, weight: tf.Tensor, centroids: tf.Tensor, start: tf.Tensor, stop: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    def block(first: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        return points.block(start + first, tf.minimum(start + last, stop))

    return assign_and_sum(block, weight, centroids)
