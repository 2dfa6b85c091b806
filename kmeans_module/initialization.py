"""Initial centroids: greedy k-means++, k-means||, or random rows.

All draw rows with a probability proportional to their weight, from one seed. A row of weight 0 has
no mass at any distance: hence the products in which 0 times infinity is 0.

The draws have the same bits for any number of cores and any block: decisive distances are summed
from ``x - c``, and masses are integers.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .cluster_sums import sum_by_cluster
from .cores import core_ranges, run_in_parallel
from .engines.plain import nearest_rows
from .greedy_drawing import DrawingOnCores
from .quiet_tensorflow import tf
from .rows import as_numpy, place_rows
from .weighted_rows import WeightedRows, weigh

Initialization = Literal["k-means++", "k-means||", "random"]
INITIALIZATIONS: Final[tuple[Initialization, ...]] = get_args(Initialization)

#: Rounds of k-means||, and candidates per round and cluster: by Bahmani et al. five rounds suffice,
#: and two per cluster are as good as more.
_ROUNDS: Final = 5
_OVERSAMPLING: Final = 2

#: The mass of a candidate, relative to the largest, that float32 can represent.
_LEAST_MASS: Final = 2.0**-100


class Searches(NamedTuple):
    """The searches over all rows in an initialization.

    Attributes:
        greedily: takes rows, the number of clusters and the seed; returns the rows drawn by
            `greedy_k_means_plus_plus`.
        nearest: takes rows and places float32 [p, d]; returns the nearest place of each row,
            int32 [n].
    """

    greedily: Callable[[WeightedRows, int, tf.Tensor], NDArray[np.int32]]
    nearest: Callable[[WeightedRows, Float32], NDArray[np.int32]]


def initial_centroids(
    init: str,
    rows: WeightedRows,
    n_clusters: int,
    seed: tf.Tensor,
    searches: Searches | None = None,
) -> Float32:
    """Choose ``n_clusters`` of the rows as centroids.

    Args:
        init: one of `INITIALIZATIONS`.
        rows: n rows.
        n_clusters: k, at most the number of distinct rows of positive weight.
        seed: int32 [2].
        searches: the searches over all rows; by default on the CPU. The draws are the same.

    Returns:
        float32 [k, d].
    """
    searches = searches or Searches(greedy_k_means_plus_plus, nearest_rows)
    if init == "k-means++":
        chosen = searches.greedily(rows, n_clusters, seed)
    elif init == "k-means||":
        chosen = _k_means_parallel(rows, n_clusters, seed, searches)
    else:
        chosen = _random_rows(as_numpy(rows.weight), n_clusters, seed)
    return rows.points.gather(chosen)


def _random_rows(mass: Float64, count: int, seed: tf.Tensor) -> NDArray[np.int32]:
    """Draw rows without replacement, by the largest keys of ``log(mass) + Gumbel noise``.

    See Efraimidis and Spirakis 2006. Returns int32 [count]. O(n log n) time, O(n) memory.
    """
    uniform = tf.random.stateless_uniform([len(mass)], seed, minval=1e-300, dtype=tf.float64)
    with np.errstate(divide="ignore"):
        keys = np.log(mass, dtype=np.float64) - np.log(-np.log(as_numpy(uniform)))
    chosen: NDArray[np.int32] = tf.math.top_k(keys, count).indices.numpy()
    return chosen


def greedy_k_means_plus_plus(
    rows: WeightedRows, n_clusters: int, seed: tf.Tensor
) -> NDArray[np.int32]:
    """Draw rows int32 [k] on the CPU."""
    return DrawingOnCores(rows, n_clusters).draw_centroids(n_clusters, seed)


def _k_means_parallel(
    rows: WeightedRows, n_clusters: int, seed: tf.Tensor, searches: Searches
) -> NDArray[np.int32]:
    """Draw by k-means|| (Bahmani et al. 2012): a few rounds of many draws, then k-means++ among
    those.

    Each round draws 2 k rows, with a probability proportional to their weighted squared distance to
    the previously drawn rows: exactly 2 k, without replacement; in the paper this is the expected
    number. Every candidate then represents the rows that are nearest to it. The arguments are those
    of `initial_centroids`.

    Returns:
        int32 [k]. O(10 n d k) time, with five passes over the points; O(block) memory and a few
        numbers per row. If too few candidates have a mass, because the data have few distinct rows,
        k-means++ is used.
    """
    weight = as_numpy(rows.weight)
    seeds = tf.random.experimental.stateless_split(seed, _ROUNDS + 2)
    candidates = _random_rows(weight, 1, seeds[0])
    nearest = np.zeros(rows.n, np.int32)
    squared = _squared_distances(rows, candidates, nearest)
    for number in range(1, _ROUNDS + 1):
        # A row of weight 0 may be infinite.
        mass = np.multiply(squared, weight, out=np.zeros_like(squared), where=weight > 0)
        drawn = _random_rows(mass, min(_OVERSAMPLING * n_clusters, rows.n), seeds[number])
        among_drawn = searches.nearest(rows, rows.points.gather(drawn))
        distance = _squared_distances(rows, drawn, among_drawn)
        is_nearer = distance < squared
        squared = np.where(is_nearer, distance, squared)
        nearest = np.where(is_nearer, among_drawn + np.int32(len(candidates)), nearest)
        candidates = np.concatenate([candidates, drawn])
    wide = weight.astype(np.float64)[:, None]
    masses = sum_by_cluster(wide, [nearest], len(candidates), rows.scale.weight).value[:, 0]
    weighted = candidates[masses > 0]
    if len(weighted) < n_clusters:
        return greedy_k_means_plus_plus(rows, n_clusters, seeds[-1])
    places = rows.points.gather(weighted)
    largest = np.abs(places).max(axis=0).astype(np.float64)
    # Scaled by a power of two, so that float32 holds the largest.
    masses = np.ldexp(masses[masses > 0], -np.frexp(masses.max())[1])
    among = weigh(place_rows(places), np.maximum(masses, _LEAST_MASS).astype(np.float32), largest)
    chosen: NDArray[np.int32] = weighted[greedy_k_means_plus_plus(among, n_clusters, seeds[-1])]
    return chosen


def most_places(init: str, n_clusters: int) -> int:
    """Return the most places in a call of `Searches.nearest`; 0 if it is not called."""
    return _OVERSAMPLING * n_clusters if init == "k-means||" else 0


def _squared_distances(
    rows: WeightedRows, drawn: NDArray[np.int32], nearest: NDArray[np.int32]
) -> Float64:
    """Return the squared distance of each row to the nearest drawn row."""
    places = rows.points.gather(drawn)

    def measure(start: int, stop: int) -> Float64:
        return rows.points.squared_distances(start, stop, nearest[start:stop], places)

    return np.concatenate(run_in_parallel(measure, core_ranges(rows.n)))
