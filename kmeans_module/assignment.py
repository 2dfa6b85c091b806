"""The nearest centroid of each point, in blocks of bounded memory.

The search uses ``|x - c|^2 = |x|^2 - 2 x.c + |c|^2``, a matrix product, so that no [n, k, d] is
ever held. That form loses digits to cancellation where the distance is small beside the norms, so
it only chooses the centroid: the distance is then computed from ``x - c`` of the chosen one.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from .rows import BLOCK_BYTES

ReadBlock = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def all_distances(points: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The Euclidean distance of each point to each centroid.

    Args:
        points: float32 [n, d], in the model's space.
        centroids: float32 [k, d], in the same space.

    Returns:
        float32 [n, k]. The expanded form is taken in float64: its error, 1e-16 of the squared
        norms, is below float32's own for every distance above 1e-4 of the norm.
    """
    wide_centroids = tf.cast(centroids, tf.float64)
    centroid_norm = tf.reduce_sum(tf.square(wide_centroids), 1)

    def block(rows: tf.Tensor) -> tuple[tf.Tensor]:
        wide = tf.cast(rows, tf.float64)
        norm = tf.reduce_sum(tf.square(wide), 1, keepdims=True)
        product = tf.matmul(wide, wide_centroids, transpose_b=True)
        squared = tf.maximum(norm - 2.0 * product + centroid_norm, 0.0)
        return (tf.cast(tf.sqrt(squared), tf.float32),)

    (distances,) = in_blocks(
        block, points, width=4 * tf.shape(centroids)[0], dtypes=(tf.float32,), ranks=(2,)
    )
    return tf.ensure_shape(distances, [None, centroids.shape[0]])


def nearest_in_block(rows: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The nearest centroid of each row of a block; of equally near ones the lowest index.

    Args:
        rows: float32 [m, d], in the model's space.
        centroids: float32 [k, d], in the same space.

    Returns:
        cluster_index int32 [m], and squared_distance float32 [m] to that centroid.
        O(m k d) time, a temporary of [m, k].
    """
    index = tf.argmax(_closeness(rows, centroids), 1, tf.int32)
    return index, _squared_distance(rows, tf.gather(centroids, index))


def two_nearest_in_block(rows: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The squared distances to the nearest and to the second nearest centroid.

    Args:
        rows: float32 [m, d], in the model's space.
        centroids: float32 [k, d], k >= 2, in the same space.

    Returns:
        Two float32 [m]; the first is never the larger.
    """
    closeness = _closeness(rows, centroids)
    first = tf.argmax(closeness, 1, tf.int32)
    is_first = tf.equal(tf.range(tf.shape(centroids)[0])[None, :], first[:, None])
    # top_k(2) does the same, several times slower.
    second = tf.argmax(tf.where(is_first, -float("inf"), closeness), 1, tf.int32)
    one = _squared_distance(rows, tf.gather(centroids, first))
    two = _squared_distance(rows, tf.gather(centroids, second))
    return tf.minimum(one, two), tf.maximum(one, two)


def nearest(points: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """`nearest_in_block` of points [n, d] of any number, in memory of O(block)."""
    return in_blocks(
        lambda rows: nearest_in_block(rows, centroids),
        points,
        width=tf.shape(centroids)[0],
        dtypes=(tf.int32, tf.float32),
        ranks=(1, 1),
    )


def two_nearest(points: tf.Tensor, centroids: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """`two_nearest_in_block` of points [n, d] of any number, in memory of O(block)."""
    return in_blocks(
        lambda rows: two_nearest_in_block(rows, centroids),
        points,
        width=tf.shape(centroids)[0],
        dtypes=(tf.float32, tf.float32),
        ranks=(1, 1),
    )


def assign_and_sum(
    block_of_points: ReadBlock, sample_weight: tf.Tensor, centroids: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Assign each point, and sum the weighted points of each cluster, in one pass over blocks.

    Args:
        block_of_points: gives rows ``start`` to ``stop`` of the points, float32 [m, d], in the
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

    def body(
        i: tf.Tensor,
        assignments: tf.TensorArray,
        distances: tf.TensorArray,
        sums: tf.Tensor,
        counts: tf.Tensor,
        inertia: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        rows = block_of_points(i * block, (i + 1) * block)
        weight = sample_weight[i * block : (i + 1) * block]
        index, squared = nearest_in_block(rows, centroids)
        wide = tf.cast(weight, tf.float64)
        # In float64: float32 would lose the digits of a tight cluster of many points. A product
        # with the weight 0 is 0, also where the row is so far away that its square overflows.
        weighted = tf.math.multiply_no_nan(tf.cast(rows, tf.float64), wide[:, None])
        return (
            i + 1,
            assignments.write(i, index),
            distances.write(i, squared),
            sums + tf.math.unsorted_segment_sum(weighted, index, k),
            counts + tf.math.unsorted_segment_sum(wide, index, k),
            inertia + tf.reduce_sum(tf.math.multiply_no_nan(tf.cast(squared, tf.float64), wide)),
        )

    _, assignments, distances, sums, counts, inertia = tf.while_loop(
        lambda i, *_: i < blocks,
        body,
        (
            tf.constant(0),
            tf.TensorArray(tf.int32, blocks, infer_shape=False),
            tf.TensorArray(tf.float32, blocks, infer_shape=False),
            tf.zeros([k, d], tf.float64),
            tf.zeros([k], tf.float64),
            tf.constant(0.0, tf.float64),
        ),
        parallel_iterations=2,
    )
    return assignments.concat(), distances.concat(), sums, counts, inertia


def in_blocks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    points: tf.Tensor,
    *,
    width: tf.Tensor,
    dtypes: Sequence[tf.DType],
    ranks: Sequence[int],
) -> tuple[tf.Tensor, ...]:
    """Map a function over blocks of rows, and join what it gives along dimension 0.

    Args:
        function: from rows [m, d] to one tensor [m, ...] for each of ``dtypes``.
        points: float32 [n, d].
        width: numbers a row that the function's largest temporary holds.
        dtypes: dtypes of the function's results.
        ranks: ranks of the function's results.

    Returns:
        One tensor [n, ...] for each of ``dtypes``.
    """
    n = tf.shape(points)[0]
    block = rows_per_block(tf.maximum(width, tf.shape(points)[1]))
    blocks = (n + block - 1) // block
    half = (blocks + 1) // 2

    def chain(first: tf.Tensor, last: tf.Tensor) -> list[tf.Tensor]:
        def body(i: tf.Tensor, *parts: tf.TensorArray) -> tuple[tf.Tensor, ...]:
            results = function(points[i * block : (i + 1) * block])
            written = [
                part.write(i - first, result) for part, result in zip(parts, results, strict=True)
            ]
            return (i + 1, *written)

        parts = [tf.TensorArray(dtype, last - first, infer_shape=False) for dtype in dtypes]
        _, *parts = tf.while_loop(
            lambda i, *_: i < last, body, (first, *parts), parallel_iterations=1
        )
        return [part.concat() for part in parts]

    def two_chains() -> list[tf.Tensor]:
        # Within one loop the blocks seldom run beside each other; two loops do.
        pairs = zip(chain(tf.constant(0), half), chain(half, blocks), strict=True)
        return [tf.concat(pair, 0) for pair in pairs]

    results = tf.cond(blocks > 1, two_chains, lambda: list(function(points)))
    # A joined array does not know its rank; the last dimensions are the callers' to state.
    return tuple(
        tf.ensure_shape(result, [None] * rank) for result, rank in zip(results, ranks, strict=True)
    )


def rows_per_block(width: tf.Tensor) -> tf.Tensor:
    """How many rows of ``width`` float32 numbers a block may have, int32 scalar."""
    return tf.maximum(BLOCK_BYTES // (4 * tf.maximum(width, 1)), 1)


def _closeness(rows: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """``x.c - |c|^2 / 2`` [m, k]: largest for the nearest centroid of each row."""
    half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
    # As a bias it is added inside the product, which a subtraction is not.
    return tf.nn.bias_add(tf.matmul(rows, centroids, transpose_b=True), -half_norm)


def _squared_distance(rows: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.squared_difference(rows, chosen), 1)
