"""Compiled kernel: which rows may have changed cluster, by bounds on their distances.

Hamerly 2010, "Making k-means even faster": each row keeps ``upper``, at least its distance to its
own centroid, and ``lower``, at most its distance to any other. When the centroids move, the one
grows by its centroid's move and the other shrinks by the largest move of the others; and no other
centroid is nearer than the distance between the two centroids less ``upper``. While
``upper < lower`` the row needs no distance.

Rounding: the kernel that searches compares scores that it rounded. With unit roundoff u = 2^-24 a
dot product of n numbers has an error of at most ``gamma(n) = n u / (1 - n u)`` times the product of
the norms, in whatever order it is summed (Higham 2002, Accuracy and Stability of Numerical
Algorithms, section 3.1). The score ``|c|^2 / 2 - x.c`` is one of d + 1 numbers, one of which is a
rounded norm itself, so that twice it has an error of at most ``2 gamma(d + 2) (|x| |c| + |c|^2)``;
the points' norms are summed in float64, and they and the additions that follow cost
``4 u (|x| + |c|)^2``. A row is left out only if ``lower^2 - upper^2`` exceeds twice the sum of
these: then the search would find the same centroid. What the bounds themselves lose
when they are updated is covered by widening them by 2^-20 each time.
"""

from collections.abc import Callable
from typing import Any, Final

import tensorflow as tf

from ..graphs import TABLE, synchronized_cache, trace

_WIDER: Final = 1 + 2.0**-20
_NARROWER: Final = 1 - 2.0**-20


def bounds_of_scores(
    norm: tf.Tensor, error: tf.Tensor, least: tf.Tensor, second: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The bounds that two scores give, float32 [m] each.

    Args:
        norm: float32 [m], the points' norms, in the model's space.
        error: float32 [m], `rounding_error` of them.
        least: float32 [m], the least ``|c|^2 / 2 - x.c`` of each row.
        second: float32 [m], the next; infinity where k = 1.
    """
    square = tf.square(norm)
    upper = tf.sqrt(tf.maximum(square + 2.0 * least, 0.0) + error) * _WIDER
    lower = tf.sqrt(tf.maximum(square + 2.0 * second - error, 0.0)) * _NARROWER
    return upper, lower


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
        # |x| <= |x - c| + |c|
        longest = largest_norm(centroids)
        error = rounding_error(upper + longest, longest, d)
        gap = (lower - upper) * (lower + upper) * _NARROWER
        clear = (lower > upper) & (gap > 2.0 * error)
        return upper, lower, tf.logical_not(clear)

    vector, numbers = tf.TensorSpec([m], tf.float32), tf.TensorSpec([k], tf.float32)
    cluster, centroids = tf.TensorSpec([m], tf.int32), tf.TensorSpec([k, d], tf.float32)
    signature = [vector, vector, cluster, centroids, numbers, numbers, numbers]
    return trace(kernel, signature, is_compiled=True)


def _centroid_moves(before: tf.Tensor, after: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How far the centroids moved, and how far apart they are now.

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


def largest_norm(centroids: tf.Tensor) -> tf.Tensor:
    """The largest norm of the centroids, float32 []; overflow makes it infinity, and no bound."""
    return tf.sqrt(tf.reduce_max(tf.reduce_sum(tf.square(centroids), 1))) * _WIDER


def rounding_error(length: tf.Tensor, longest: tf.Tensor, d: int | tf.Tensor) -> tf.Tensor:
    """At most the error of squared distances that are computed in the expanded form: float32 [m].

    Two scores, each half of a squared distance, that differ by more than it are in the order of the
    distances.

    Args:
        length: float32 [m], the norms of the rows.
        longest: float32 [], `largest_norm` of the centroids.
        d: how many columns they have.
    """
    n = tf.cast(d + 2, tf.float32)
    gamma = n * 2.0**-24 / (1 - n * 2.0**-24)
    error = 2 * gamma * (length * longest + tf.square(longest))
    return (error + 4 * 2.0**-24 * tf.square(length + longest)) * _WIDER
