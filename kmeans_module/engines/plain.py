"""Lloyd steps by stock TensorFlow: the engine ``plain``."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..array_types import Float32
from ..assignment import assign_and_sum
from ..lloyd import Step
from ..numpy_rows import as_numpy
from ..rows import ROWS_SPEC, Rows


class PlainEngine:
    """Every distance in every step, by stock TensorFlow: short, and the oracle of the others."""

    def __init__(self, points: Rows, sample_weight: tf.Tensor) -> None:
        self._points, self._weight = points, sample_weight
        self.assignments: NDArray[np.int32] = np.full(sample_weight.shape, -1, np.int32)
        self._squared_distances: Float32

    def step(self, centroids: Float32) -> Step:
        """See `Engine`."""
        assignments, distances, sums, counts, inertia = _assign_and_sum(
            self._points, self._weight, tf.constant(centroids)
        )
        before, self.assignments = self.assignments, assignments.numpy()
        self._squared_distances = as_numpy(distances)
        changed = not np.array_equal(before, self.assignments)
        return Step(sums.numpy(), counts.numpy(), float(inertia), changed)

    def squared_distances(self) -> Float32:
        """See `Engine`."""
        return self._squared_distances


_assign_and_sum = tf.function(
    lambda points, weight, centroids: assign_and_sum(points.block, weight, centroids),
    [ROWS_SPEC, tf.TensorSpec([None], tf.float32), tf.TensorSpec([None, None], tf.float32)],
    autograph=False,
)
