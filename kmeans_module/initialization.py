"""Where a fit begins: greedy k-means++, k-means||, or random rows.

All draw rows with a probability in proportion to their weight, and every draw comes from one seed.
A row of weight 0 has no mass, however far away it is: hence the products that take 0 for 0 times
infinity.

The draws are the same bits for any number of cores and any block: distances are summed from
``x - c`` where they count, and masses are integers.
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

#: Rounds of k-means||, and candidates that each draws for each cluster: Bahmani et al. find five
#: rounds enough, and two a cluster as good as more.
_ROUNDS: Final = 5
_OVERSAMPLING: Final = 2

#: Of a candidate, relative to the largest; float32 holds it.
_LEAST_MASS: Final = 2.0**-100


class Searches(NamedTuple):
    """What of the choice is a search over all rows.

    Attributes:
        greedily: from rows, the number of clusters and the seed to the rows that
            `greedy_k_means_plus_plus` draws.
        nearest: from rows and places float32 [p, d] to the nearest place of each, int32 [n].
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
        rows: n of them.
        n_clusters: k, at most the number of distinct rows of positive weight.
        seed: int32 [2].
        searches: what searches all rows; by default the cores. The draws are the same.

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
    """Rows without replacement, by the largest keys of ``log(mass) + Gumbel noise``.

    Efraimidis and Spirakis 2006. Returns int32 [count]. O(n log n) time, O(n) memory.
    """
    uniform = tf.random.stateless_uniform([len(mass)], seed, minval=1e-300, dtype=tf.float64)
    with np.errstate(divide="ignore"):
        keys = np.log(mass, dtype=np.float64) - np.log(-np.log(as_numpy(uniform)))
    chosen: NDArray[np.int32] = tf.math.top_k(keys, count).indices.numpy()
    return chosen


def greedy_k_means_plus_plus(
    rows: WeightedRows, n_clusters: int, seed: tf.Tensor
) -> NDArray[np.int32]:
    """The rows int32 [k] that the cores draw."""
    return DrawingOnCores(rows, n_clusters).draw_centroids(n_clusters, seed)


def _k_means_parallel(
    rows: WeightedRows, n_clusters: int, seed: tf.Tensor, searches: Searches
) -> NDArray[np.int32]:
    """k-means|| (Bahmani et al. 2012): a few rounds of many draws, then k-means++ among those.

    Each round draws 2 k rows at once, in proportion to their weighted squared distance to all that
    were drawn before: exactly so many, without replacement, where the paper has so many in
    expectation. Every candidate then stands for the rows that are nearest to it. The arguments are
    those of `initial_centroids`.

    Returns:
        int32 [k]. O(10 n d k) time, the points read five times; memory O(block) and a few numbers
        a row. Data of so few distinct rows that too few candidates have a mass are left to
        k-means++.
    """
    weight = as_numpy(rows.weight)
    seeds = tf.random.experimental.stateless_split(seed, _ROUNDS + 2)
    candidates = _random_rows(weight, 1, seeds[0])
    nearest = np.zeros(rows.n, np.int32)
    squared = _squared_distances(rows, candidates, nearest)
    for number in range(1, _ROUNDS + 1):
        # A row of weight 0 may be infinitely far away.
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
    # By a power of two, so that float32 holds the largest.
    masses = np.ldexp(masses[masses > 0], -np.frexp(masses.max())[1])
    among = weigh(place_rows(places), np.maximum(masses, _LEAST_MASS).astype(np.float32), largest)
    chosen: NDArray[np.int32] = weighted[greedy_k_means_plus_plus(among, n_clusters, seeds[-1])]
    return chosen


def most_places(init: str, n_clusters: int) -> int:
    """For how many places at once `Searches.nearest` is asked, at most; 0 where it is not."""
    return _OVERSAMPLING * n_clusters if init == "k-means||" else 0


def _squared_distances(
    rows: WeightedRows, drawn: NDArray[np.int32], nearest: NDArray[np.int32]
) -> Float64:
    """The squared distance of each row to the one of the drawn rows that it is nearest to."""
    places = rows.points.gather(drawn)

    def measure(start: int, stop: int) -> Float64:
        return rows.points.squared_distances(start, stop, nearest[start:stop], places)

    return np.concatenate(run_in_parallel(measure, core_ranges(rows.n)))
