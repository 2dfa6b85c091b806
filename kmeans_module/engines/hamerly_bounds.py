"""Compiled kernel: which rows may have changed cluster, by bounds on their distances.

Hamerly 2010, "Making k-means even faster": each row keeps ``upper``, at least its distance to its
own centroid, and ``lower``, at most its distance to any other. When the centroids move, the one
grows by its centroid's move and the other shrinks by the largest move of the others; and no other
centroid is nearer than the distance between the two centroids less ``upper``. While
``upper < lower`` the row needs no distance.

Rounding: the bounds are those of the true distances, since they are widened by the errors of the
scores that they come from (`score_rounding`), and by 2^-20 with every update, more than that may
lose. So where ``upper < lower`` the two distances differ by 2^-20 of them at least, and float64,
which decides (`near_ties`), has their order right: a squared distance from ``x - c`` has a relative
error of at most ``(d + 3) 2^-53``.
"""

from collections.abc import Callable
from typing import Any, Final

from ..graphs import TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf

_WIDER: Final = 1 + 2.0**-20
_NARROWER: Final = 1 - 2.0**-20


def bounds_of_scores(
    norm: tf.Tensor, error: tf.Tensor, least: tf.Tensor, second: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The bounds that two scores give, float32 [m] each.

    Args:
        norm: float32 [m], the points' norms, in the model's space.
        error: float32 [m], the errors of the rows by `score_errors`.
        least: float32 [m], the least score, with half of its centroid's error.
        second: float32 [m], the least of the others, less half of its centroid's error; infinity
            where k = 1.
    """
    lower = tf.sqrt(tf.maximum(tf.square(norm) + 2.0 * second - error, 0.0)) * _NARROWER
    return upper_of_score(norm, error, least), lower


def upper_of_score(norm: tf.Tensor, error: tf.Tensor, score: tf.Tensor) -> tf.Tensor:
    """At least the distance of a score float32 [m], with half of its centroid's error."""
    return tf.sqrt(tf.maximum(tf.square(norm) + 2.0 * score + error, 0.0)) * _WIDER


@synchronized_cache
def tighten(m: int, d: int, k: int) -> Callable[..., Any]:
    """The kernel that carries m rows' bounds over a move of the centroids.

    Returns:
        A function from upper and lower float32 [m]; cluster int32 [m]; centroids float32 [k, d],
        after the move; and of `centroid_moves`: own, others and apart float32 [k]. It gives upper
        and lower float32 [m] after the move, and bool [m]: whether the row must be searched anew.
        O(m) time and memory.
    """

    def kernel(
        upper: tf.Tensor,
        lower: tf.Tensor,
        cluster: tf.Tensor,
        centroids: tf.Tensor,
        own: tf.Tensor,
        others: tf.Tensor,
        apart: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        upper = (upper + tf.gather(own, cluster)) * _WIDER
        lower = (lower - tf.gather(others, cluster)) * _NARROWER
        lower = tf.maximum(lower, (tf.gather(apart, cluster) - upper) * _NARROWER)
        clear = lower > upper
        return upper, lower, tf.logical_not(clear)

    vector, numbers = tf.TensorSpec([m], tf.float32), tf.TensorSpec([k], tf.float32)
    cluster, centroids = tf.TensorSpec([m], tf.int32), tf.TensorSpec([k, d], tf.float32)
    signature = [vector, vector, cluster, centroids, numbers, numbers, numbers]
    return trace(kernel, signature, is_compiled=True)


def _centroid_moves(before: tf.Tensor, after: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The moves of the centroids, and the distances between them.

    Args:
        before, after: float32 [k, d].

    Returns:
        float32 [k] each. own: at least each centroid's move; others: at least the largest move of
        the others; apart: at most the distance to the nearest other, 0 where k = 1.
        In float64, O(k^2 d) time and O(k^2) memory.
    """
    k = tf.shape(after)[0]
    wide = tf.cast(after, tf.float64)
    own = tf.sqrt(tf.reduce_sum(tf.square(wide - tf.cast(before, tf.float64)), 1))
    number = tf.range(k)
    largest = tf.argmax(own, output_type=tf.int32)
    but_largest = tf.reduce_max(tf.where(number == largest, tf.zeros_like(own), own))
    others = tf.where(number == largest, but_largest, own[largest])

    square = tf.reduce_sum(tf.square(wide), 1)
    norms = square[:, None] + square[None, :]
    between = norms - 2.0 * tf.matmul(wide, wide, transpose_b=True)
    # Of float64's rounding: more than the bound above, with u = 2^-53.
    rounding = (3 * tf.cast(tf.shape(after)[1], tf.float64) + 16) * 2.0**-52 * norms
    same = tf.eye(k, dtype=tf.bool)
    infinity = tf.constant(float("inf"), tf.float64)
    least = tf.reduce_min(tf.where(same, infinity, between - rounding), 1)
    apart = tf.where(tf.math.is_finite(least), tf.sqrt(tf.maximum(least, 0.0)), 0.0)
    return (
        tf.cast(own * _WIDER, tf.float32),
        tf.cast(others * _WIDER, tf.float32),
        tf.cast(apart * _NARROWER, tf.float32),
    )


@synchronized_cache
def centroid_moves() -> Callable[..., Any]:
    """The graph of `_centroid_moves`."""
    return trace(_centroid_moves, [TABLE, TABLE])
