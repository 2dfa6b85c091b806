"""Where a fit begins: greedy k-means++, k-means||, or random rows.

All draw rows with a probability in proportion to their weight, and every draw comes from one seed.
A row of weight 0 has no mass, however far away it is: hence the products that take 0 for 0 times
infinity.

The draws are the same bits for any number of cores and any block: distances are summed from
``x - c`` where they count, and masses are integers.
"""

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from .array_types import Float32, Float64
from .blocks import Contribution, loop_blocks, rows_per_block
from .cluster_sums import sum_by_cluster
from .cores import core_ranges, run_in_parallel
from .engines.plain import nearest_rows
from .engines.score_rounding import score_errors
from .graphs import FLOATS, INT, graph
from .quiet_tensorflow import tf
from .rows import ROWS_SPEC, RowTensors, as_numpy, place_rows
from .weighted_rows import WeightedRows, weigh

Initialization = Literal["k-means++", "k-means||", "random"]
INITIALIZATIONS: Final[tuple[Initialization, ...]] = get_args(Initialization)

#: Rounds of k-means||, and candidates that each draws for each cluster: Bahmani et al. find five
#: rounds enough, and two a cluster as good as more.
_ROUNDS: Final = 5
_OVERSAMPLING: Final = 2

#: Of a candidate, relative to the largest; float32 holds it.
_LEAST_MASS: Final = 2.0**-100

_SEED = tf.TensorSpec([2], tf.int32)


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


@graph(ROWS_SPEC, FLOATS, FLOATS, INT, INT, _SEED)
def _draw_greedily(
    points: RowTensors,
    sample_weight: tf.Tensor,
    norms: tf.Tensor,
    n_clusters: tf.Tensor,
    trials: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draw each next centroid in proportion to its squared distance to those drawn before.

    Arthur and Vassilvitskii 2007; of several draws the one that leaves the smallest inertia is
    kept (their "greedy" variant, and scikit-learn's).

    The arguments are those of `WeightedRows` and of `initial_centroids`, and ``trials`` int32 [],
    t draws for each next centroid.

    Returns:
        int32 [k], rows of ``points``. O(n d k t) time, the points read once for each centroid;
        memory O(block) and t + 2 numbers a row.
    """
    uniform, uniforms = first_and_next(n_clusters, trials, seed)
    blocks = _Blocks(points, sample_weight, norms)
    # The first draw is by weight alone: as if every row were at the distance 1.
    drawn = blocks.draw_rows(blocks.measure(blocks.fill(1.0)), uniform)
    unknown = blocks.measure(blocks.fill(float("inf")))
    closest = blocks.move_closer(unknown, blocks.try_rows(unknown, drawn), tf.constant(0))
    chosen = tf.TensorArray(tf.int32, n_clusters).write(0, drawn[0])

    def draw_centroid(
        i: tf.Tensor, closest: _Closest, chosen: tf.TensorArray
    ) -> tuple[tf.Tensor, _Closest, tf.TensorArray]:
        candidates = blocks.draw_rows(closest, uniforms[i])
        trials = blocks.try_rows(closest, candidates)
        best = tf.argmax(trials.gains, output_type=tf.int32)
        return i + 1, blocks.move_closer(closest, trials, best), chosen.write(i, candidates[best])

    *_, chosen = tf.while_loop(
        lambda i, *_: i < n_clusters,
        draw_centroid,
        (tf.constant(1), closest, chosen),
        parallel_iterations=1,
    )
    return chosen.stack()


def first_and_next(
    n_clusters: int | tf.Tensor, trials: int | tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The uniform numbers of the draws, float64 [1] of the first and [k, t] of the next."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    first = tf.random.stateless_uniform([1], seeds[0], dtype=tf.float64)
    return first, tf.random.stateless_uniform([n_clusters, trials], seeds[1], dtype=tf.float64)


def trials_of(n_clusters: int) -> int:
    """scikit-learn's number of draws for each next centroid."""
    return 2 + int(math.log(n_clusters))


def greedy_k_means_plus_plus(
    rows: WeightedRows, n_clusters: int, seed: tf.Tensor
) -> NDArray[np.int32]:
    """The rows int32 [k] that `_draw_greedily` draws, with scikit-learn's number of trials."""
    trials = trials_of(n_clusters)
    drawn: NDArray[np.int32] = _draw_greedily(
        rows.points.tensors, rows.weight, rows.norms, n_clusters, trials, seed
    ).numpy()
    return drawn


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


class _Closest(NamedTuple):
    """The squared distance of each row to the nearest of the rows drawn.

    Attributes:
        squared: float32 [m] for each block of rows.
        scale: float64 [], a power of two: a mass is the weight times the squared distance times
            it, as an integer.
        masses: int64 [blocks], of the blocks.
    """

    squared: tf.TensorArray
    scale: tf.Tensor
    masses: tf.Tensor


class _Trials(NamedTuple):
    """Which rows would be nearer to each of t candidates.

    Attributes:
        nearer: int64 [p, 2] for each block, the numbers of a candidate and of a row in the block.
        squared: float32 [p] for each block, their squared distances.
        gains: int64 [t], by how much each candidate would lower the sum of the masses.
    """

    nearer: tf.TensorArray
    squared: tf.TensorArray
    gains: tf.Tensor


class _Blocks:
    """Points [n, d], their weights and norms float32 [n] in blocks, to be drawn from greedily."""

    def __init__(self, points: RowTensors, sample_weight: tf.Tensor, norms: tf.Tensor) -> None:
        self._points, self._sample_weight, self._norms = points, sample_weight, norms
        self._n = tf.size(sample_weight)
        self._size = rows_per_block(tf.maximum(tf.size(points.shift), 16))
        self._count = (self._n + self._size - 1) // self._size

    def fill(self, value: float) -> tf.TensorArray:
        """The value float32 [m] for each block of rows."""
        return self._map(lambda i: tf.fill([tf.size(self._part(self._norms, i))], value))

    def measure(self, squared: tf.TensorArray) -> _Closest:
        """The state with these squared distances, float32 [m] for each block."""
        (largest,), _ = loop_blocks(
            lambda i: (
                [
                    tf.reduce_max(
                        weighted_squares(squared.read(i), self._part(self._sample_weight, i))
                    )
                ],
                [],
            ),
            self._count,
            [tf.TensorArray(tf.float64, self._count)],
            [],
        )
        scale = self._scale(tf.reduce_max(largest.stack()))
        (masses,), _ = loop_blocks(
            lambda i: ([tf.reduce_sum(self._masses(squared, scale, i))], []),
            self._count,
            [tf.TensorArray(tf.int64, self._count)],
            [],
            parallel_iterations=2,
        )
        return _Closest(squared, scale, masses.stack())

    def draw_rows(self, closest: _Closest, uniforms: tf.Tensor) -> tf.Tensor:
        """Rows int32 [t] with a probability in proportion to weight times squared distance.

        First the block is drawn, then the row in it: no running sum over all rows is held.
        """
        until = tf.cumsum(closest.masses)

        def draw_row(uniform: tf.Tensor) -> tf.Tensor:
            mass = tf.cast(uniform * tf.cast(until[-1], tf.float64), tf.int64)
            # Rounding may take it up to the sum.
            mass = tf.minimum(mass, until[-1] - 1)
            # side="right": a block or a row without mass is never hit.
            number = tf.searchsorted(until, mass[None], side="right")[0]
            number = tf.minimum(number, self._count - 1)
            inside = tf.cumsum(self._masses(closest.squared, closest.scale, number))
            rest = mass - (until[number] - closest.masses[number])
            row = tf.searchsorted(inside, rest[None], side="right")[0]
            return number * self._size + tf.minimum(row, tf.size(inside) - 1)

        return tf.map_fn(draw_row, uniforms, fn_output_signature=tf.int32)

    def try_rows(self, closest: _Closest, candidates: tf.Tensor) -> _Trials:
        """What the rows int32 [t] would bring nearer."""
        places, t = self._points.gather(candidates), tf.size(candidates)

        def try_block(i: tf.Tensor) -> Contribution:
            rows = self._points.block(i * self._size, tf.minimum((i + 1) * self._size, self._n))
            before = closest.squared.read(i)
            nearer, squared = nearer_rows(before, places, rows, self._part(self._norms, i))
            place, row = nearer[:, 0], nearer[:, 1]
            weight = tf.gather(self._part(self._sample_weight, i), row)
            gain = row_masses(tf.gather(before, row), weight, closest.scale)
            gain -= row_masses(squared, weight, closest.scale)
            return [nearer, squared], [
                tf.ensure_shape(tf.math.unsorted_segment_sum(gain, place, t), candidates.shape)
            ]

        parts = [self._parts(tf.int64, 2), self._parts(tf.float32, 1)]
        (nearer, squared), (gains,) = loop_blocks(
            try_block, self._count, parts, [tf.zeros([t], tf.int64)], parallel_iterations=2
        )
        return _Trials(nearer, squared, gains)

    def move_closer(self, closest: _Closest, trials: _Trials, chosen: tf.Tensor) -> _Closest:
        """The state with the chosen candidate, int32 [], drawn too."""

        def move_block(i: tf.Tensor) -> tf.Tensor:
            nearer = trials.nearer.read(i)
            is_chosen = nearer[:, 0] == tf.cast(chosen, tf.int64)
            row = tf.boolean_mask(nearer[:, 1:], is_chosen)
            squared = tf.boolean_mask(trials.squared.read(i), is_chosen)
            return tf.tensor_scatter_nd_update(closest.squared.read(i), row, squared)

        return self.measure(self._map(move_block))

    def _masses(self, squared: tf.TensorArray, scale: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
        """The masses of the rows of block i: int64 [m]."""
        return row_masses(squared.read(i), self._part(self._sample_weight, i), scale)

    def _scale(self, largest: tf.Tensor) -> tf.Tensor:
        """A power of two by which n numbers up to the largest may be multiplied and added up.

        The exponent is read off the bits: a logarithm may be rounded.
        """
        exponent, bits = (
            tf.bitwise.right_shift(tf.bitcast(each, tf.int64), tf.constant(52, tf.int64)) - 1022
            for each in (largest, tf.cast(self._n, tf.float64))
        )
        exponent = tf.clip_by_value(62 - exponent - bits, -1000, 1000)
        power = tf.bitwise.left_shift(exponent + 1023, tf.constant(52, tf.int64))
        return tf.bitcast(power, tf.float64)

    def _map(self, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.TensorArray:
        """What the function gives for the number of each block, float32 [m]."""
        (part,), _ = loop_blocks(
            lambda i: ([function(i)], []),
            self._count,
            [self._parts(tf.float32, 1)],
            [],
            parallel_iterations=2,
        )
        return part

    def _parts(self, dtype: tf.DType, rank: int) -> tf.TensorArray:
        """Room for a tensor of that rank for each block."""
        return tf.TensorArray(
            dtype,
            self._count,
            element_shape=[None, 2][:rank],
            infer_shape=False,
            clear_after_read=False,
        )

    def _part(self, values: tf.Tensor, i: tf.Tensor) -> tf.Tensor:
        """Of numbers [n] those of block i."""
        return values[i * self._size : (i + 1) * self._size]


def mass_scale(largest: float, n: int) -> float:
    """What `_Blocks` takes as the scale of the masses of n rows, given the largest of them."""
    exponent, bits = ((np.float64(each).view(np.int64) >> 52) - 1022 for each in (largest, n))
    return float(np.ldexp(1.0, int(np.clip(62 - exponent - bits, -1000, 1000))))


def weighted_squares(squared: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Squared distances float32 [m] times weights float32 [m], 0 for the weight 0: float64 [m]."""
    return tf.math.multiply_no_nan(tf.cast(squared, tf.float64), tf.cast(weight, tf.float64))


def row_masses(squared: tf.Tensor, weight: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """`weighted_squares` as integers: int64 [m]."""
    return tf.cast(weighted_squares(squared, weight) * scale, tf.int64)


def nearer_rows(
    before: tf.Tensor, places: tf.Tensor, rows: tf.Tensor, norms: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows that are nearer to a place than before.

    The distance is taken from ``x - c`` where the expanded form, with its rounding, says that it
    may be less: so what is found is what ``x - c`` alone says.

    Args:
        before: float32 [m], squared distances.
        places: float32 [t, d].
        rows: float32 [m, d].
        norms: float32 [m], of the rows.

    Returns:
        int64 [p, 2], the numbers of a place and a row; and float32 [p], their squared distance.
    """
    reach = tf.reduce_sum(tf.square(places), 1, keepdims=True) + tf.square(norms)
    expanded = reach - 2.0 * tf.matmul(places, rows, transpose_b=True)
    errors, spreads = score_errors(norms, places, tf.shape(places)[1])
    # Twice the bound, for the rounding of the norms.
    pairs = tf.where(tf.logical_not(expanded - 2.0 * spreads[:, None] > before + 2.0 * errors))
    # With a pair more: a single one would be summed by several threads, in an order of theirs.
    padded = tf.pad(pairs, [[0, 1], [0, 0]])
    difference = tf.gather(rows, padded[:, 1]) - tf.gather(places, padded[:, 0])
    squared = tf.reduce_sum(tf.square(difference), 1)[:-1]
    is_nearer = squared < tf.gather(before, pairs[:, 1])
    return tf.boolean_mask(pairs, is_nearer), tf.boolean_mask(squared, is_nearer)
