"""The nearest centroid of each point, in blocks of bounded memory.

The search uses ``|x - c|^2 = |x|^2 - 2 x.c + |c|^2``, a matrix product, so no [n, k, d] array is
needed. Cancellation costs digits if the distance is small relative to the norms, so this form only
chooses the centroid: the distance is then computed from ``x - c`` of the chosen centroid.
"""

from collections.abc import Callable, Sequence
from functools import partial

from .blocks import Contribution, block_parts, loop_blocks, map_rows, rows_per_block
from .graphs import FLOATS, INTS
from .quiet_tensorflow import tf


def all_distances(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Return the Euclidean distance of each point to each centroid.

    Args:
        points: float32 [n, d], in the model's space.
        centroids: float32 [k, d], in the same space.

    Returns:
        float32 [n, k]. The expanded form is computed in float64: its error, 1e-16 of the squared
        norms, is below that of float32 for distances above 1e-4 of the norm.
    """
    wide_centroids = tf.cast(centroids, tf.float64)
    centroid_norm = tf.reduce_sum(tf.square(wide_centroids), 1)

    def block(rows: tf.Tensor) -> tuple[tf.Tensor]:
        wide = tf.cast(rows, tf.float64)
        norm = tf.reduce_sum(tf.square(wide), 1, keepdims=True)
        product = tf.matmul(wide, wide_centroids, transpose_b=True)
        squared = tf.maximum(norm - 2.0 * product + centroid_norm, 0.0)
        return (tf.cast(tf.sqrt(squared), tf.float32),)

    spec = tf.TensorSpec([None, centroids.shape[0]], tf.float32)
    (distances,) = map_rows(block, points, width=4 * tf.shape(centroids)[0], specs=[spec])
    return distances


def nearest_in_block(rows: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the nearest centroid of each row of a block; on ties the lowest index.

    Args:
        rows: float32 [m, d], in the model's space.
        centroids: float32 [k, d], in the same space.

    Returns:
        cluster_index int32 [m], and squared_distance float32 [m] to that centroid. O(m k d) time, a
        temporary of [m, k].
    """
    index = tf.argmax(closeness(rows, centroids), 1, tf.int32)
    return index, _squared_distance(rows, tf.gather(centroids, index))


def two_nearest_in_block(rows: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the squared distances to the nearest and to the second nearest centroid.

    Args:
        rows: float32 [m, d], in the model's space.
        centroids: float32 [k, d], k >= 2, in the same space.

    Returns:
        Two float32 [m]; the first is never larger than the second.
    """
    near = closeness(rows, centroids)
    first = tf.argmax(near, 1, tf.int32)
    is_first = tf.equal(tf.range(tf.shape(centroids)[0])[None, :], first[:, None])
    # top_k(2) gives the same result, but is several times slower.
    second = tf.argmax(tf.where(is_first, -float("inf"), near), 1, tf.int32)
    one = _squared_distance(rows, tf.gather(centroids, first))
    two = _squared_distance(rows, tf.gather(centroids, second))
    return tf.minimum(one, two), tf.maximum(one, two)


def nearest(points: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """`nearest_in_block` for any number of points [n, d], with O(block) memory."""
    block = partial(nearest_in_block, centroids=centroids)
    return map_rows(block, points, width=tf.shape(centroids)[0], specs=[INTS, FLOATS])


def two_nearest(points: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """`two_nearest_in_block` for any number of points [n, d], with O(block) memory."""
    block = partial(two_nearest_in_block, centroids=centroids)
    return map_rows(block, points, width=tf.shape(centroids)[0], specs=[FLOATS, FLOATS])


def assign_and_sum(
    block_of_points: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    sample_weight: tf.Tensor,
    centroids: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Assign each point, and sum the weighted points of each cluster, in one pass over blocks.

    Args:
        block_of_points: returns rows ``start`` to ``stop`` of the points, float32 [m, d], in the
            model's space.
        sample_weight: float32 [n].
        centroids: float32 [k, d], in the model's space.

    Returns:
        assignments int32 [n]; squared_distance float32 [n]; sums float64 [k, d]; counts
        float64 [k]; inertia float64 [].
    """
    k, d = tf.shape(centroids)[0], tf.shape(centroids)[1]
    block = rows_per_block(tf.maximum(k, d))
    blocks = tf.maximum((tf.size(sample_weight) + block - 1) // block, 1)

    def assign_block(i: tf.Tensor) -> Contribution:
        rows = block_of_points(i * block, (i + 1) * block)
        weight = sample_weight[i * block : (i + 1) * block]
        index, squared = nearest_in_block(rows, centroids)
        wide = tf.cast(weight, tf.float64)
        # In float64, because float32 would lose digits in a tight cluster of many points. A product
        # with the weight 0 is 0, even if the square of the row overflows.
        weighted = tf.math.multiply_no_nan(tf.cast(rows, tf.float64), wide[:, None])
        return (index, squared), (
            tf.math.unsorted_segment_sum(weighted, index, k),
            tf.math.unsorted_segment_sum(wide, index, k),
            tf.reduce_sum(tf.math.multiply_no_nan(tf.cast(squared, tf.float64), wide)),
        )

    shapes: tuple[Sequence[tf.Tensor], ...] = ([k, d], [k], [])
    (assignments, distances), (sums, counts, inertia) = loop_blocks(
        assign_block,
        blocks,
        block_parts(blocks, (tf.int32, tf.float32)),
        [tf.zeros(shape, tf.float64) for shape in shapes],
        parallel_iterations=2,
    )
    return assignments.concat(), distances.concat(), sums, counts, inertia


def closeness(rows: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """``x.c - |c|^2 / 2`` [m, k]: largest for the nearest centroid of each row."""
    half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
    # A bias is added inside the product; a subtraction is not.
    return tf.nn.bias_add(tf.matmul(rows, centroids, transpose_b=True), -half_norm)


def _squared_distance(rows: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.squared_difference(rows, chosen), 1)
