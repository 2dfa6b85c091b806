"""The interface between Lloyd's loop and the engines that take its steps.

An engine holds the points and the weights of all rows, or of a range of them. What the engines of
several ranges give can be merged, so that one loop serves them all: `lloyd.run` knows no points.

The bits are the same whoever takes the steps. A row's cluster is that of the least float64
distance, however an engine finds it (`near_ties`); and all that is summed over rows is summed as
integers (`fixed_point`).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32, Float64
from ..cluster_sums import ClusterSums, SumScale
from ..fixed_point import FixedSum


@dataclass(frozen=True)
class StepSums:
    """The sums of a step over rows; sums of parts of the rows can be added.

    Attributes:
        clusters: the sums of the clusters.
        has_changed: whether an assignment differs from that of the step before.
    """

    clusters: ClusterSums
    has_changed: bool

    def __add__(self, other: "StepSums") -> "StepSums":
        return StepSums(self.clusters.plus(other.clusters), self.has_changed or other.has_changed)


class FarRows(NamedTuple):
    """The rows farthest from their centroids, the farthest first, of equally far ones the lowest.

    Attributes:
        numbers: int64 [m], of the rows.
        squared_distances: float64 [m], above 0.
        points: float32 [m, d], in the model's space.
        weights: float32 [m], above 0.
        assignments: int32 [m], the clusters that they are in.
    """

    numbers: NDArray[np.int64]
    squared_distances: Float64
    points: Float32
    weights: Float32
    assignments: NDArray[np.int32]

    def merge(self, other: "FarRows", count: int) -> "FarRows":
        """The farthest of the rows of both, at most ``count``."""
        return FarRows(
            np.concatenate([self.numbers, other.numbers]),
            np.concatenate([self.squared_distances, other.squared_distances]),
            np.concatenate([self.points, other.points]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.assignments, other.assignments]),
        ).cut(count)

    def cut(self, count: int) -> "FarRows":
        """The farthest of these rows in any order, at most ``count``."""
        order = np.lexsort((self.numbers, -self.squared_distances))[:count]
        return FarRows(
            self.numbers[order],
            self.squared_distances[order],
            self.points[order],
            self.weights[order],
            self.assignments[order],
        )


class FinalState(NamedTuple):
    """The final state of a start.

    Attributes:
        inertia: the weighted sum of the squared distances, from x - c: its value is float64 [].
        assignments: int32 [n], the nearest centroids; that of `ShardedEngine` is a copy. None where
            the engine keeps nothing of a row.
    """

    inertia: FixedSum
    assignments: NDArray[np.int32] | None


class Engine(Protocol):
    """The engine of the steps of one start; it may keep state between steps.

    Attributes:
        scale: that of the sums of clusters, the same for all ranges of the rows.
        squares: the weighted sum of the squared norms of all rows.
    """

    scale: SumScale
    squares: float

    def step(self, centroids: Float32) -> StepSums:
        """Assign each row to the nearest of the centroids [k, d], and sum the clusters."""

    def farthest(self, count: int) -> FarRows:
        """The rows farthest from their centroids in the last step, at most ``count``.

        Rows of weight 0, and rows at the distance 0, are not among them.
        """

    def finish(self, centroids: Float32) -> FinalState:
        """The assignments to these centroids [k, d], by a last step where they have moved."""
