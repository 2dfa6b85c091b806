"""The interface between Lloyd's loop and the engines that take its steps.

An engine holds the points and the weights of all rows, or of a range of them. What the engines of
several ranges give can be merged, so that one loop serves them all: `lloyd.run` knows no points.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32, Float64

#: A difference below this share of the norms has fewer than seven right digits in float64.
_CANCELLED: Final = 1e-8


@dataclass(frozen=True)
class StepSums:
    """What one step sums over the rows; the sum of two is that of the rows of both.

    Attributes:
        sums: float64 [k, d], of each cluster's weighted points.
        counts: float64 [k], its weight; exactly 0 without a row of positive weight.
        squares: the weighted sum of the points' squared norms, or NaN where it is not taken.
        has_changed: whether an assignment differs from that of the step before.
    """

    sums: Float64
    counts: Float64
    squares: float
    has_changed: bool

    def __add__(self, other: "StepSums") -> "StepSums":
        return StepSums(
            self.sums + other.sums,
            self.counts + other.counts,
            self.squares + other.squares,
            self.has_changed or other.has_changed,
        )

    def inertia(self, centroids: Float32) -> float | None:
        """The weighted sum of squared distances to the centroids [k, d] of the step.

        ``sum w |x - c|^2 = sum w |x|^2 - 2 c.S + W |c|^2``, in float64. None where so little is
        left of the norms that rounding could show, or where the squares were not taken.
        """
        wide = centroids.astype(np.float64)
        norms = self.squares + float(self.counts @ np.square(wide).sum(1))
        inertia = norms - 2.0 * float(np.vdot(wide, self.sums))
        return inertia if inertia > _CANCELLED * norms else None


class FarRows(NamedTuple):
    """The rows farthest from their centroids, the farthest first, of equally far ones the lowest.

    Attributes:
        numbers: int64 [m], of the rows.
        squared_distances: float32 [m], above 0.
        points: float64 [m, d], in the model's space.
        weights: float32 [m], above 0.
        assignments: int32 [m], the clusters that they are in.
        members: int64 [k], how many rows of positive weight each cluster has.
    """

    numbers: NDArray[np.int64]
    squared_distances: Float32
    points: Float64
    weights: Float32
    assignments: NDArray[np.int32]
    members: NDArray[np.int64]

    def merge(self, other: "FarRows", count: int) -> "FarRows":
        """The farthest of the rows of both, at most ``count``."""
        numbers = np.concatenate([self.numbers, other.numbers])
        squared = np.concatenate([self.squared_distances, other.squared_distances])
        order = np.lexsort((numbers, -squared))[:count]
        return FarRows(
            numbers[order],
            squared[order],
            np.concatenate([self.points, other.points])[order],
            np.concatenate([self.weights, other.weights])[order],
            np.concatenate([self.assignments, other.assignments])[order],
            self.members + other.members,
        )


class FinalState(NamedTuple):
    """Where a start ends: the inertia, summed from x - c, and the nearest centroids, int32 [n]."""

    inertia: float
    assignments: NDArray[np.int32]


class Engine(Protocol):
    """What takes the steps of one start; it may keep what it knows from one to the next."""

    def step(self, centroids: Float32) -> StepSums:
        """Assign each row to the nearest of the centroids [k, d], and sum the clusters."""

    def farthest(self, count: int) -> FarRows:
        """The rows farthest from their centroids in the last step, at most ``count``.

        Rows of weight 0, and rows at the distance 0, are not among them.
        """

    def finish(self, centroids: Float32) -> FinalState:
        """The assignments to these centroids [k, d], by a last step where they have moved."""
