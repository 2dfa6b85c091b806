"""Greedy k-means++ (Arthur and Vassilvitskii 2007): the draws, and their part on the CPU.

Each next centroid is drawn with a probability proportional to the squared distance to the previous
ones; of several draws, the one with the smallest inertia is kept (their "greedy" variant, as in
scikit-learn).

The mass of a row is its weight times its squared distance, as an integer: the draws are the same
for any number of cores and any block. The squared distance is a float32 sum from ``x - c`` in the
order of a stock operation, the only part that uses TensorFlow: nothing is traced.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .blocks import BLOCK_NUMBERS, block_ranges
from .cores import core_ranges, run_in_parallel
from .engines.plain import ScoreTile
from .engines.score_rounding import score_bounds
from .quiet_tensorflow import tf
from .rows import Rows, aligned_empty, as_numpy, share_memory
from .weighted_rows import WeightedRows

Int64 = NDArray[np.int64]

#: The least number of pairs of a place and a row whose differences are in memory at a time.
_LEAST_PAIRS: Final = 256


class Nearer(NamedTuple):
    """Rows that are nearer to a candidate than to the rows drawn before.

    Attributes:
        place, row: int64 [p], the numbers of a candidate and a row.
        squared: float32 [p], their squared distances.
    """

    place: Int64
    row: Int64
    squared: Float32


class RowRange(ABC):
    """Consecutive rows, and their squared distances to the nearest drawn row."""

    @abstractmethod
    def fill(self, value: float) -> None:
        """Set this squared distance for all rows."""

    @abstractmethod
    def largest(self) -> Any:
        """Return the largest weighted squared distance, float64 []."""

    @abstractmethod
    def mass(self, scale: float) -> Any:
        """Return the mass of all rows, int64 []."""

    @abstractmethod
    def row_at(self, scale: float, mass: int) -> int:
        """Return the number of the first row at which the cumulative mass exceeds ``mass``."""


R = TypeVar("R", bound=RowRange)
T = TypeVar("T")


class Drawing(ABC, Generic[R]):
    """Rows for greedy draws.

    Args:
        n: the number of rows.
        ranges: the ranges of all rows, in order.
    """

    def __init__(self, n: int, ranges: Sequence[R]) -> None:
        self._n, self._ranges = n, ranges
        self._scale = 1.0

    def draw_centroids(self, n_clusters: int, seed: tf.Tensor) -> NDArray[np.int32]:
        """Draw the rows int32 [k] that become centroids."""
        first, uniforms = _first_and_next(n_clusters, _trials_of(n_clusters), seed)
        # The first draw is by weight only, as if every row had the distance 1.
        self._fill(1.0)
        chosen = self._draw(first)
        self._fill(np.inf)
        self._try_rows(chosen)
        self._move_closer(0)
        for uniform in uniforms[1:]:
            candidates = self._draw(uniform)
            best = int(np.argmax(self._try_rows(candidates)))
            chosen.append(candidates[best])
            self._move_closer(best)
        return np.array(chosen, np.int32)

    @abstractmethod
    def _fill(self, value: float) -> None:
        """Set this squared distance for all rows."""

    @abstractmethod
    def _try_rows(self, candidates: Sequence[int]) -> Int64:
        """Return the decrease of the sum of masses by each of t rows: int64 [t]."""

    @abstractmethod
    def _move_closer(self, chosen: int) -> None:
        """Draw one of the tried rows."""

    def _of_ranges(self, function: Callable[[R], T]) -> list[T]:
        """Call a function for each of the ranges."""
        return list(map(function, self._ranges))

    def _draw(self, uniforms: Float64) -> list[int]:
        """Draw rows with a probability proportional to weight times squared distance."""
        largest = max(map(float, self._of_ranges(lambda each: each.largest())))
        self._scale = scale = _mass_scale(largest, self._n)
        masses = list(map(int, self._of_ranges(lambda each: each.mass(scale))))
        until = np.cumsum(masses)

        def draw_row(uniform: float) -> int:
            # Rounding may make it equal to the sum.
            mass = min(int(uniform * float(until[-1])), int(until[-1]) - 1)
            # side="right": a range or a row without mass is never drawn.
            number = min(int(np.searchsorted(until, mass, side="right")), len(masses) - 1)
            rest = mass - (int(until[number]) - masses[number])
            return self._ranges[number].row_at(scale, rest)

        return [draw_row(float(uniform)) for uniform in uniforms]


def _trials_of(n_clusters: int) -> int:
    """Return scikit-learn's number of draws per centroid."""
    return 2 + int(math.log(n_clusters))


def _row_masses(squared: Float32, weight: Float32, scale: float) -> Int64:
    """Return the masses of rows [m]; 0 for the weight 0 at any distance."""
    masses: Int64 = (_weighted(squared, weight) * scale).astype(np.int64)
    return masses


class _Pairs:
    """Pairs of a place and a row, until their distances are computed.

    Args:
        places: float32 [t, d].
    """

    def __init__(self, places: Float32) -> None:
        d = places.shape[1]
        self._places, self._count = places, 0
        self._most: int = max(BLOCK_NUMBERS // d, _LEAST_PAIRS)
        self._numbers = aligned_empty((self._most + 1) * d)
        self._differences = self._numbers.reshape(-1, d)
        self._place, self._row = (np.empty(self._most, np.int64) for _ in range(2))

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another pair."""
        return self._count == self._most

    def add(self, place: Int64, row: Int64, rows: Float32, first: int) -> int:
        """Add as many pairs as there is room for; return their number.

        Args:
            place, row: int64 [p], the numbers of each pair. Rows are counted from ``first``.
            rows: float32 [m, d], the rows from ``first`` on.
            first: the number of the first row.
        """
        stop = min(self._count + len(row), self._most)
        part, added = slice(self._count, stop), int(stop - self._count)
        # `np.take` with ``out`` would copy all rows, which are no contiguous array.
        places = np.take(self._places, place[:added], axis=0)
        np.subtract(rows[row[:added]], places, out=self._differences[part])
        self._place[part] = place[:added]
        np.add(row[:added], first, out=self._row[part])
        self._count = stop
        return added

    def take_nearer(self, before: Float32) -> Nearer:
        """Return the pairs that are nearer than ``before``, float32 per row; remove all pairs."""
        count, self._count = self._count, 0
        # With an additional row, because several threads would sum a single one, in another order.
        numbers = share_memory(self._numbers[: (count + 1) * self._differences.shape[1]])
        differences = tf.reshape(numbers, [count + 1, -1])
        squared = as_numpy(tf.reduce_sum(tf.square(differences), 1))[:-1]
        is_nearer = squared < before[self._row[:count]]
        return Nearer(*(each[:count][is_nearer] for each in (self._place, self._row, squared)))


def _weighted(squared: Float32, weight: Float32) -> Float64:
    # A row of weight 0 may be infinite.
    with np.errstate(invalid="ignore"):
        wide = np.multiply(squared, weight, dtype=np.float64)
    return wide if weight.all() else np.where(weight > 0, wide, 0)


def _mass_scale(largest: float, n: int) -> float:
    """Return a power of two with which n numbers up to the largest can be scaled and summed.

    The exponent comes from the bits, because a logarithm may be rounded.
    """
    exponent, bits = ((np.float64(each).view(np.int64) >> 52) - 1022 for each in (largest, n))
    return float(np.ldexp(1.0, int(np.clip(62 - exponent - bits, -1000, 1000))))


def _first_and_next(n_clusters: int, trials: int, seed: tf.Tensor) -> tuple[Float64, Float64]:
    """Return the uniform numbers of the draws: float64 [1] for the first, [k, t] for the others."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    first = tf.random.stateless_uniform([1], seeds[0], dtype=tf.float64)
    following = tf.random.stateless_uniform([n_clusters, trials], seeds[1], dtype=tf.float64)
    return first.numpy(), following.numpy()


class DrawingOnCores(Drawing["_CoreRange"]):
    """Rows in memory, with one range per core.

    O(n d k t) time for t trials, with one pass over the points per centroid; O(block) memory, and t
    + 2 numbers per row at first.
    """

    def __init__(self, rows: WeightedRows, n_clusters: int) -> None:
        t = _trials_of(n_clusters)
        super().__init__(rows.n, [_CoreRange(rows, t, *part) for part in core_ranges(rows.n)])
        self._points = rows.points

    def _of_ranges(self, function: Callable[["_CoreRange"], T]) -> list[T]:
        return run_in_parallel(function, [(each,) for each in self._ranges])

    def _fill(self, value: float) -> None:
        self._of_ranges(lambda each: each.fill(value))

    def _try_rows(self, candidates: Sequence[int]) -> Int64:
        places, scale = self._points.gather(np.array(candidates)), self._scale
        gains = self._of_ranges(lambda each: each.try_places(places, scale))
        total: Int64 = np.sum(gains, axis=0)
        return total

    def _move_closer(self, chosen: int) -> None:
        self._of_ranges(lambda each: each.move_closer(chosen))


class _CoreRange(RowRange):
    """The rows of a core.

    Args:
        rows: all rows.
        trials: the most places that are tried at once.
        start, stop: the range of the core.
    """

    def __init__(self, rows: WeightedRows, trials: int, start: int, stop: int) -> None:
        self._points, self._start = rows.points, start
        self._weight, self._norms = (
            as_numpy(each)[start:stop] for each in (rows.weight, rows.norms)
        )
        self._squared = np.empty(stop - start, np.float32)
        self._tile = ScoreTile(len(rows.points.shift), trials, stop - start)
        self._nearer: list[Nearer] = []

    def fill(self, value: float) -> None:
        self._squared.fill(value)

    def largest(self) -> float:
        return float(_weighted(self._squared, self._weight).max())

    def mass(self, scale: float) -> int:
        return int(_row_masses(self._squared, self._weight, scale).sum())

    def row_at(self, scale: float, mass: int) -> int:
        until = np.cumsum(_row_masses(self._squared, self._weight, scale))
        row = int(np.searchsorted(until, mass, side="right"))
        return self._start + min(row, len(until) - 1)

    def try_places(self, places: Float32, scale: float) -> Int64:
        """Return the decrease of the sum of masses by each of t places [t, d]: int64 [t]."""
        known = self._points, self._norms, self._squared
        self._nearer = find_nearer(self._tile, *known, places, self._start)
        return gains_of(self._nearer, self._squared, self._weight, scale, len(places))

    def move_closer(self, chosen: int) -> None:
        """Draw one of the places."""
        for place, row, squared in self._nearer:
            is_chosen = place == chosen
            self._squared[row[is_chosen]] = squared[is_chosen]
        self._nearer = []


def find_nearer(
    tile: ScoreTile,
    points: Rows,
    norms: Float32,
    before: Float32,
    places: Float32,
    start: int = 0,
) -> list[Nearer]:
    """Return the rows that are nearer to a place than before, in parts.

    The distance is computed from ``x - c`` if it may be less by the expanded form and its rounding
    error: so the result is that of ``x - c`` alone.

    Args:
        tile: the memory of the scores.
        points: the points in the model's space.
        norms: float32 [m], the norms of the rows from ``start`` on.
        before: float32 [m], the squared distances of these rows.
        places: float32 [t, d].
        start: the first row. The numbers of found rows count from it.
    """
    bounds, pairs = score_bounds(norms, places), _Pairs(places)
    half_norm = np.float32(0.5) * np.square(places).sum(axis=1) - bounds.centroids
    weights = np.concatenate([-places, half_norm[:, None]], axis=1)
    most = np.zeros(tile.size, np.float32)
    found: list[Nearer] = []
    for first, last in block_ranges(0, len(norms), tile.size):
        m = last - first
        # The square of a row of weight 0 may exceed float32.
        with np.errstate(over="ignore", invalid="ignore"):
            points.read(start + first, start + last, tile.rows[:m])
            # Twice the bound, for the rounding of the norms.
            most[:m] = np.float32(0.5) * (before[first:last] - np.square(norms[first:last]))
            most[:m] += bounds.rows(norms[first:last])
            place, row = np.nonzero(tile.may_be_within(weights, most)[:, :m])
            while len(row):
                added = pairs.add(place, row, tile.rows, first)
                place, row = place[added:], row[added:]
                if pairs.is_full:
                    found.append(pairs.take_nearer(before))
    found.append(pairs.take_nearer(before))
    return found


def gains_of(
    nearer: Sequence[Nearer], squared: Float32, weight: Float32, scale: float, t: int
) -> Int64:
    """Return the decrease of the sum of masses by each of t places: int64 [t].

    Args:
        nearer: the result of `find_nearer`.
        squared, weight: float32 [m], of the searched rows.
        scale: the scale of the masses.
        t: the number of places.
    """
    gains = np.zeros(t, np.int64)
    # Without a drawn row the masses are infinite, and there is one candidate.
    with np.errstate(invalid="ignore"):
        for place, row, found in nearer:
            gain = _row_masses(squared[row], weight[row], scale)
            gain -= _row_masses(found, weight[row], scale)
            np.add.at(gains, place, gain)
    return gains
