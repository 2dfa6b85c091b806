"""Lloyd steps on every core: each takes the steps of its own range of the rows, its lane.

So what NumPy does for a step, too, is done on each core, not only the kernels, which two loops of
one graph would run beside each other.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..array_types import Float32, Float64
from ..cores import in_parallel, ranges
from ..lloyd import Step, inertia_of_sums
from ..numpy_rows import as_numpy, squared_distances
from ..rows import Rows


class LaneStep(NamedTuple):
    """What a lane's step gives, of its rows.

    Attributes:
        sums: float64 [k, d], of each cluster's weighted points.
        counts: float64 [k], its weight; exactly 0 without a row of positive weight.
        square: the weighted sum of the points' squared norms.
        changed: whether an assignment is another than that of the step before.
    """

    sums: Float64
    counts: Float64
    square: float
    changed: bool


class Lane(Protocol):
    """What takes the steps of one range of the rows."""

    @property
    def index(self) -> tf.Tensor:
        """The nearest centroid of each of its rows in the last step, int32 [rows]."""

    def step(self, centroids: tf.Tensor) -> LaneStep:
        """Assign each of its rows to the nearest of the centroids [k, d], and sum the clusters."""


class LanesEngine:
    """The engine (`lloyd.Engine`) that its lanes make together.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        new_lane: gives the lane of the rows from a first one to before another.
    """

    def __init__(
        self, points: Rows, sample_weight: tf.Tensor, new_lane: Callable[[int, int], Lane]
    ) -> None:
        self._points, self._weight = points, sample_weight
        self._lanes = [new_lane(start, stop) for start, stop in ranges(len(sample_weight))]
        self._centroids: tf.Tensor

    @property
    def assignments(self) -> NDArray[np.int32]:
        """Of the last step, int32 [n]."""
        return np.concatenate([as_numpy(lane.index) for lane in self._lanes])

    def step(self, centroids: Float32) -> Step:
        """One pass over the points; see `lloyd.Engine`."""
        self._centroids = tf.constant(centroids)
        first, *others = in_parallel(
            lambda lane: lane.step(self._centroids), [(lane,) for lane in self._lanes]
        )
        sums, counts, square, changed = first
        for other in others:
            sums, counts = sums + other.sums, counts + other.counts
            square, changed = square + other.square, changed or other.changed
        inertia = inertia_of_sums(
            centroids, sums, counts, square, self.squared_distances, self._weight
        )
        return Step(sums, counts, inertia, changed)

    def squared_distances(self) -> Float32:
        """To the centroids of the last step, float32 [n]."""
        assignments, centroids = self.assignments, self._centroids.numpy()
        parts = in_parallel(
            lambda start, stop: squared_distances(
                self._points, start, stop, assignments[start:stop], centroids
            ),
            ranges(len(assignments)),
        )
        return np.concatenate(parts)
