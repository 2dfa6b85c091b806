"""Where a fit begins: greedy k-means++, k-means||, or random rows.

All draw rows with a probability in proportion to their weight, and every draw comes from one seed.
A row of weight 0 has no mass, however far away it is: hence the products that take 0 for 0 times
infinity.
"""

import math
from collections.abc import Callable
from typing import Final, Literal, NamedTuple, get_args

import tensorflow as tf

from .array_types import Float32
from .assignment import nearest_in_block
from .blocks import Contribution, block_parts, loop_blocks, rows_per_block
from .graphs import FLOATS, INT, INTS, graph
from .rows import ROWS_SPEC, Rows, RowTensors, place_rows

Initialization = Literal["k-means++", "k-means||", "random"]
INITIALIZATIONS: Final[tuple[Initialization, ...]] = get_args(Initialization)

#: Rounds of k-means||, and candidates that each draws for each cluster: Bahmani et al. find five
#: rounds enough, and two a cluster as good as more.
_ROUNDS: Final = 5
_OVERSAMPLING: Final = 2

_SEED = tf.TensorSpec([2], tf.int32)


def initial_centroids(
    init: str, points: Rows, sample_weight: tf.Tensor, n_clusters: int, seed: tf.Tensor
) -> Float32:
    """Choose ``n_clusters`` of the points as centroids.

    Args:
        init: one of `INITIALIZATIONS`.
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: k, at most the number of distinct points of positive weight.
        seed: int32 [2].

    Returns:
        float32 [k, d].
    """
    if init == "k-means++":
        chosen = _greedy_k_means_plus_plus(points, sample_weight, n_clusters, seed)
    elif init == "k-means||":
        chosen = _k_means_parallel(points, sample_weight, n_clusters, seed)
    else:
        chosen = _random_rows(sample_weight, n_clusters, seed)
    return points.gather(chosen.numpy())


@graph(FLOATS, INT, _SEED)
def _random_rows(sample_weight: tf.Tensor, n_clusters: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """k rows without replacement, by the largest keys of ``log(weight) + Gumbel noise``.

    Efraimidis and Spirakis 2006. Returns int32 [k]. O(n log n) time, O(n) memory.
    """
    uniform = tf.random.stateless_uniform(
        tf.shape(sample_weight), seed, minval=1e-300, dtype=tf.float64
    )
    gumbel = -tf.math.log(-tf.math.log(uniform))
    keys = tf.math.log(tf.cast(sample_weight, tf.float64)) + gumbel
    return tf.math.top_k(keys, n_clusters).indices


@graph(ROWS_SPEC, FLOATS, INT, INT, _SEED)
def _draw_greedily(
    points: RowTensors,
    sample_weight: tf.Tensor,
    n_clusters: tf.Tensor,
    trials: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draw each next centroid in proportion to its squared distance to those drawn before.

    Arthur and Vassilvitskii 2007; of several draws the one that leaves the smallest inertia is
    kept (their "greedy" variant, and scikit-learn's).

    The arguments are those of `initial_centroids`, and ``trials`` int32 [], t draws for each next
    centroid.

    Returns:
        int32 [k], rows of ``points``. O(n d k t) time, the points read once for each centroid;
        memory O(block) and t + 2 numbers a row.
    """
    seeds = tf.random.experimental.stateless_split(seed, 2)
    uniforms = tf.random.stateless_uniform([n_clusters, trials], seeds[1], dtype=tf.float64)
    uniform = tf.random.stateless_uniform([1], seeds[0], dtype=tf.float64)
    blocks = _Blocks(points, sample_weight)
    # The first draw is one, by weight alone: as if every row were at the distance 1.
    closest = blocks.measure(lambda i: tf.ones_like(blocks.weight(i)))
    uniforms = tf.concat([tf.fill([1, trials], uniform[0]), uniforms[1:]], 0)
    chosen = tf.TensorArray(tf.int32, n_clusters)

    def draw_centroid(
        i: tf.Tensor, closest: _Closest, chosen: tf.TensorArray
    ) -> tuple[tf.Tensor, _Closest, tf.TensorArray]:
        candidates = blocks.draw_rows(closest, uniforms[i])
        at_least = tf.where(i == 0, float("inf"), 0.0)
        drawn, inertias = blocks.try_rows(closest, candidates, at_least)
        best = tf.argmin(inertias, output_type=tf.int32)
        closest = blocks.measure(lambda i: drawn.read(i)[best])
        return i + 1, closest, chosen.write(i, candidates[best])

    *_, chosen = tf.while_loop(
        lambda i, *_: i < n_clusters,
        draw_centroid,
        (tf.constant(0), closest, chosen),
        parallel_iterations=1,
    )
    return chosen.stack()


def _greedy_k_means_plus_plus(
    points: Rows, sample_weight: tf.Tensor, n_clusters: int, seed: tf.Tensor
) -> tf.Tensor:
    """`_draw_greedily` with scikit-learn's number of trials."""
    return _draw_greedily(
        points.tensors, sample_weight, n_clusters, 2 + int(math.log(n_clusters)), seed
    )


def _k_means_parallel(
    points: Rows, sample_weight: tf.Tensor, n_clusters: int, seed: tf.Tensor
) -> tf.Tensor:
    """k-means|| (Bahmani et al. 2012): a few rounds of many draws, then k-means++ among those.

    Each round draws 2 k rows at once, in proportion to their weighted squared distance to all that
    were drawn before: exactly so many, without replacement, where the paper has so many in
    expectation. Every candidate then stands for the rows that are nearest to it. The arguments are
    those of `initial_centroids`.

    Returns:
        int32 [k], rows of ``points``. O(10 n d k) time, the points read five times; memory
        O(block) and a few numbers a row. Data of so few distinct rows that too few candidates
        have a mass are left to k-means++.
    """
    n = sample_weight.shape[0]
    seeds = tf.random.experimental.stateless_split(seed, _ROUNDS + 2)
    candidates = _random_rows(sample_weight, 1, seeds[0])
    squared, nearest = _update_nearest(
        points.tensors, tf.fill([n], float("inf")), tf.zeros([n], tf.int32), candidates, 0
    )
    for number in range(1, _ROUNDS + 1):
        count = min(_OVERSAMPLING * n_clusters, n)
        drawn = _random_rows(tf.math.multiply_no_nan(squared, sample_weight), count, seeds[number])
        squared, nearest = _update_nearest(points.tensors, squared, nearest, drawn, len(candidates))
        candidates = tf.concat([candidates, drawn], 0)
    mass = tf.math.unsorted_segment_sum(sample_weight, nearest, len(candidates))
    weighted = tf.boolean_mask(candidates, mass > 0)
    if len(weighted) < n_clusters:
        return _greedy_k_means_plus_plus(points, sample_weight, n_clusters, seeds[-1])
    among = place_rows(points.gather(weighted.numpy()))
    weight = tf.boolean_mask(mass, mass > 0)
    chosen = _greedy_k_means_plus_plus(among, weight, n_clusters, seeds[-1])
    return tf.gather(weighted, chosen)


class _Closest(NamedTuple):
    """The squared distance of each row to the nearest of the rows drawn.

    Attributes:
        squared: float32 [m] for each block of rows.
        masses: float64 [blocks], their sums times the weights.
    """

    squared: tf.TensorArray
    masses: tf.Tensor


class _Blocks:
    """Points [n, d] and their weights float32 [n] in blocks, to be drawn from greedily."""

    def __init__(self, points: RowTensors, sample_weight: tf.Tensor) -> None:
        self._points, self._sample_weight = points, sample_weight
        self._size = rows_per_block(tf.maximum(tf.size(points.shift), 16))
        self._count = (tf.size(sample_weight) + self._size - 1) // self._size
        (self._norms,), _ = loop_blocks(
            lambda i: ([tf.reduce_sum(tf.square(self._rows(i)), 1)], []),
            self._count,
            [_block_array(self._count, 1)],
            [],
            parallel_iterations=2,
        )

    def measure(self, squared_of_block: Callable[[tf.Tensor], tf.Tensor]) -> _Closest:
        """The state with these squared distances, float32 [m] for the number of a block."""

        def measure_block(i: tf.Tensor) -> Contribution:
            squared = squared_of_block(i)
            mass = tf.cast(tf.math.multiply_no_nan(squared, self.weight(i)), tf.float64)
            return (squared, tf.reduce_sum(mass, 0)), ()

        parts = [_block_array(self._count, 1), tf.TensorArray(tf.float64, self._count)]
        (squared, masses), _ = loop_blocks(
            measure_block, self._count, parts, [], parallel_iterations=2
        )
        return _Closest(squared, masses.stack())

    def draw_rows(self, closest: _Closest, uniforms: tf.Tensor) -> tf.Tensor:
        """Rows int32 [t] with a probability in proportion to weight times squared distance.

        First the block is drawn, then the row in it: no running sum over all rows is held.
        """
        masses = closest.masses
        until = tf.cumsum(masses)

        def draw_row(uniform: tf.Tensor) -> tf.Tensor:
            mass = uniform * until[-1]
            # side="right": a block or a row without mass is never hit.
            number = tf.searchsorted(until, mass[None], side="right")[0]
            number = tf.minimum(number, tf.size(masses) - 1)
            mass_of_rows = tf.math.multiply_no_nan(
                closest.squared.read(number), self.weight(number)
            )
            inside = tf.cumsum(tf.cast(mass_of_rows, tf.float64))
            rest = mass - (until[number] - masses[number])
            # Rounding may put the rest a hair outside its block.
            rest = tf.clip_by_value(rest, 0.0, inside[-1] * (1 - 2.0**-52))
            row = tf.searchsorted(inside, rest[None], side="right")[0]
            return number * self._size + tf.minimum(row, tf.size(inside) - 1)

        return tf.map_fn(draw_row, uniforms, fn_output_signature=tf.int32)

    def try_rows(
        self, closest: _Closest, candidates: tf.Tensor, at_least: tf.Tensor
    ) -> tuple[tf.TensorArray, tf.Tensor]:
        """With each of the rows int32 [t] drawn too: the squared distances, and their inertia.

        A row counts as ``at_least`` so far from those drawn before: infinitely, if there were none.

        Returns:
            float32 [t, m] for each block of rows, and float64 [t].
        """
        places = self._points.gather(candidates)

        def try_block(i: tf.Tensor) -> Contribution:
            squared = squared_distances_to(places, self._rows(i), self._norms.read(i))
            squared = tf.minimum(squared, tf.maximum(closest.squared.read(i), at_least))
            left = tf.reduce_sum(tf.math.multiply_no_nan(squared, self.weight(i)), 1)
            return [squared], [tf.cast(left, tf.float64)]

        parts = [_block_array(self._count, 2)]
        inertias = tf.zeros([tf.size(candidates)], tf.float64)
        (drawn,), (inertias,) = loop_blocks(
            try_block, self._count, parts, [inertias], parallel_iterations=2
        )
        return drawn, inertias

    def _rows(self, i: tf.Tensor) -> tf.Tensor:
        return self._points.block(i * self._size, (i + 1) * self._size)

    def weight(self, i: tf.Tensor) -> tf.Tensor:
        """The weights of block i, float32 [m]."""
        return self._sample_weight[i * self._size : (i + 1) * self._size]


@graph(ROWS_SPEC, FLOATS, INTS, INTS, INT)
def _update_nearest(
    points: RowTensors, squared: tf.Tensor, nearest: tf.Tensor, drawn: tf.Tensor, number: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The squared distance to the nearest candidate, and its number, with those drawn now.

    Args:
        points: [n, d].
        squared, nearest: float32 and int32 [n], before.
        drawn: int32 [t], rows.
        number: int32 [], the number of the first of them.
    """
    places = points.gather(drawn)
    n, t = tf.size(squared), tf.size(drawn)
    block = rows_per_block(tf.maximum(t, tf.size(points.shift)))
    blocks = (n + block - 1) // block

    def compare_block(i: tf.Tensor) -> Contribution:
        part = slice(i * block, (i + 1) * block)
        index, distance = nearest_in_block(points.block(part.start, part.stop), places)
        is_nearer = distance < squared[part]
        return (
            tf.where(is_nearer, distance, squared[part]),
            tf.where(is_nearer, index + number, nearest[part]),
        ), ()

    parts = block_parts(blocks, (tf.float32, tf.int32))
    parts, _ = loop_blocks(compare_block, blocks, parts, [], parallel_iterations=2)
    return tuple(part.concat() for part in parts)


def squared_distances_to(places: tf.Tensor, rows: tf.Tensor, norms: tf.Tensor) -> tf.Tensor:
    """Squared distances float32 [t, m] from places [t, d] to rows [m, d] of squared norms [m].

    By the expanded form. Where it may be off by a quarter for rounding (`hamerly_bounds` has the
    bound), the distance is taken from ``x - c``: a duplicate of a place is at 0, and every other
    row is not.
    """
    reach = tf.reduce_sum(tf.square(places), 1, keepdims=True) + norms
    squared = reach - 2.0 * tf.matmul(places, rows, transpose_b=True)
    d = tf.cast(tf.shape(rows)[1], tf.float32)
    doubtful = tf.where(squared <= (8 * 2.0**-24) * (3 * d + 16) * reach)
    place, row = doubtful[:, 0], doubtful[:, 1]
    exact = tf.reduce_sum(
        tf.math.squared_difference(tf.gather(places, place), tf.gather(rows, row)), 1
    )
    return tf.tensor_scatter_nd_update(squared, doubtful, exact)


def _block_array(blocks: tf.Tensor, rank: int) -> tf.TensorArray:
    return tf.TensorArray(
        tf.float32, blocks, element_shape=[None] * rank, infer_shape=False, clear_after_read=False
    )
