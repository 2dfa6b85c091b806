"""Where a fit begins: greedy k-means++, or random rows.

Both draw rows with a probability in proportion to their weight, and every draw comes from one seed.
A row of weight 0 has no mass, however far away it is: hence the products that take 0 for 0 times
infinity.
"""

import math
from typing import Final, Literal

import tensorflow as tf

from .assignment import rows_per_block
from .errors import InvalidParameter
from .model_space import ROWS_SPEC, Float32, Rows

Initialization = Literal["k-means++", "random"]
INITIALIZATIONS: Final[tuple[Initialization, ...]] = ("k-means++", "random")

_COLUMN = tf.TensorSpec([None], tf.float32)
_SEED = tf.TensorSpec([2], tf.int32)
_INT = tf.TensorSpec([], tf.int32)


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

    Raises:
        InvalidParameter: ``init`` is not known.
    """
    if init == "k-means++":
        # scikit-learn's number of trials.
        trials = 2 + int(math.log(n_clusters))
        chosen = greedy_k_means_plus_plus(points, sample_weight, n_clusters, trials, seed)
    elif init == "random":
        chosen = random_rows(sample_weight, n_clusters, seed)
    else:
        known = ", ".join(repr(name) for name in INITIALIZATIONS)
        raise InvalidParameter(f"init is {init!r}; give {known} or an array of centroids")
    centroids: Float32 = points.gather(chosen).numpy()
    return centroids


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


def _greedy_k_means_plus_plus(
    points: Rows,
    sample_weight: tf.Tensor,
    n_clusters: tf.Tensor,
    trials: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Draw each next centroid in proportion to its squared distance to those drawn before.

    Arthur and Vassilvitskii 2007; of several draws the one that leaves the smallest inertia is
    kept (their "greedy" variant, and scikit-learn's).

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: int32 [], k.
        trials: int32 [], draws for each next centroid.
        seed: int32 [2].

    Returns:
        int32 [k], rows of ``points``. O(n d k trials) time; memory O(block) and one number a row:
        the squared distances to the nearest of those drawn are held in blocks, each replaced in
        its place.
    """
    seeds = tf.random.experimental.stateless_split(seed, 2)
    uniforms = tf.random.stateless_uniform([n_clusters, trials], seeds[1], dtype=tf.float64)
    uniform = tf.random.stateless_uniform([1], seeds[0], dtype=tf.float64)
    # The first draw is by weight alone: as if every row were at the distance 1.
    first = _draw(*_everywhere(1.0, points, sample_weight), sample_weight, uniform)[0]
    infinity, _ = _everywhere(float("inf"), points, sample_weight)
    closest, masses = _choose(points, sample_weight, infinity, points.gather(first[None]))
    chosen = tf.TensorArray(tf.int32, n_clusters).write(0, first)

    def body(
        i: tf.Tensor, closest: tf.TensorArray, masses: tf.Tensor, chosen: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.Tensor, tf.TensorArray]:
        candidates = _draw(closest, masses, sample_weight, uniforms[i])
        potentials = _potentials(points, sample_weight, closest, points.gather(candidates))
        best = candidates[tf.argmin(potentials)]
        closest, masses = _choose(points, sample_weight, closest, points.gather(best[None]))
        return i + 1, closest, masses, chosen.write(i, best)

    *_, chosen = tf.while_loop(
        lambda i, *_: i < n_clusters,
        body,
        (tf.constant(1), closest, masses, chosen),
        parallel_iterations=1,
    )
    return chosen.stack()


random_rows = tf.function(_random_rows, [_COLUMN, _INT, _SEED])
greedy_k_means_plus_plus = tf.function(
    _greedy_k_means_plus_plus, [ROWS_SPEC, _COLUMN, _INT, _INT, _SEED]
)


def _everywhere(
    squared: float, points: Rows, sample_weight: tf.Tensor
) -> tuple[tf.TensorArray, tf.Tensor]:
    """The same squared distance for each row, in blocks; and the weight of each block."""
    blocks, block = _blocks(points, sample_weight)

    def body(
        i: tf.Tensor, closest: tf.TensorArray, masses: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        weight = sample_weight[i * block : (i + 1) * block]
        return (
            i + 1,
            closest.write(i, tf.fill(tf.shape(weight), squared)),
            masses.write(i, _sum(weight)),
        )

    closest = tf.TensorArray(tf.float32, blocks, element_shape=[None], infer_shape=False)
    _, closest, masses = tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (tf.constant(0), closest, tf.TensorArray(tf.float64, blocks, element_shape=[])),
    )
    return closest, masses.stack()


def _draw(
    closest: tf.TensorArray, masses: tf.Tensor, sample_weight: tf.Tensor, uniforms: tf.Tensor
) -> tf.Tensor:
    """Rows int32 [t] with a probability in proportion to weight times squared distance.

    First the block is drawn, then the row in it: no running sum over all rows is held.
    """
    block = tf.shape(closest.read(0))[0]
    until = tf.cumsum(masses)

    def one(uniform: tf.Tensor) -> tf.Tensor:
        mass = uniform * until[-1]
        # side="right": a block or a row without mass is never hit.
        number = tf.searchsorted(until, mass[None], side="right")[0]
        number = tf.minimum(number, tf.size(masses) - 1)
        weight = sample_weight[number * block : (number + 1) * block]
        inside = tf.cumsum(
            tf.cast(tf.math.multiply_no_nan(closest.read(number), weight), tf.float64)
        )
        rest = mass - (until[number] - masses[number])
        # Rounding may put the rest a hair outside its block.
        rest = tf.clip_by_value(rest, 0.0, inside[-1] * (1 - 2.0**-52))
        row = tf.searchsorted(inside, rest[None], side="right")[0]
        return number * block + tf.minimum(row, tf.size(inside) - 1)

    return tf.map_fn(one, uniforms, fn_output_signature=tf.int32)


def _potentials(
    points: Rows, sample_weight: tf.Tensor, closest: tf.TensorArray, candidates: tf.Tensor
) -> tf.Tensor:
    """The inertia float64 [t] that each of the candidates [t, d] would leave."""
    blocks, block = _blocks(points, sample_weight)

    def body(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weight = sample_weight[i * block : (i + 1) * block]
        squared = _squared_distances(points.block(i * block, (i + 1) * block), candidates)
        left = tf.minimum(squared, closest.read(i)[:, None])
        return i + 1, total + _sum(tf.math.multiply_no_nan(left, weight[:, None]))

    _, total = tf.while_loop(
        lambda i, _: i < blocks,
        body,
        (tf.constant(0), tf.zeros([tf.shape(candidates)[0]], tf.float64)),
        parallel_iterations=2,
    )
    return total


def _choose(
    points: Rows, sample_weight: tf.Tensor, closest: tf.TensorArray, place: tf.Tensor
) -> tuple[tf.TensorArray, tf.Tensor]:
    """The squared distances with ``place`` [1, d] chosen too; and the mass of each block."""
    blocks, block = _blocks(points, sample_weight)

    def body(
        i: tf.Tensor, closest: tf.TensorArray, masses: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        weight = sample_weight[i * block : (i + 1) * block]
        squared = _squared_distances(points.block(i * block, (i + 1) * block), place)[:, 0]
        nearer = tf.minimum(squared, closest.read(i))
        return (
            i + 1,
            closest.write(i, nearer),
            masses.write(i, _sum(tf.math.multiply_no_nan(nearer, weight))),
        )

    _, closest, masses = tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (tf.constant(0), closest, tf.TensorArray(tf.float64, blocks, element_shape=[])),
        parallel_iterations=2,
    )
    return closest, masses.stack()


def _squared_distances(rows: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Squared distances float32 [m, t] of rows [m, d] to places [t, d].

    Taken in float64, where the expanded form's rounding is below the gap between two distinct
    float32 rows; what is below the rounding is 0, so that a duplicate of a chosen row is never
    drawn.
    """
    wide_rows, wide_places = tf.cast(rows, tf.float64), tf.cast(places, tf.float64)
    norms = (
        tf.reduce_sum(tf.square(wide_rows), 1)[:, None]
        + tf.reduce_sum(tf.square(wide_places), 1)[None, :]
    )
    squared = norms - 2.0 * tf.matmul(wide_rows, wide_places, transpose_b=True)
    rounding = norms * (4.0 * 2.0**-52)
    return tf.cast(tf.where(squared > rounding, squared, 0.0), tf.float32)


def _sum(values: tf.Tensor) -> tf.Tensor:
    """The sum over dimension 0, in float64."""
    return tf.reduce_sum(tf.cast(values, tf.float64), 0)


def _blocks(points: Rows, sample_weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How many blocks there are, and how many rows each has; float64 is twice as wide."""
    block = rows_per_block(2 * tf.size(points.shift))
    return (tf.size(sample_weight) + block - 1) // block, block
