"""The bounds of the rounding of the scores that kernels compare.

With unit roundoff u = 2^-24 a dot product of n numbers has an error of at most
``gamma(n) = n u / (1 - n u)`` times the product of the norms, in whatever order it is summed
(Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1). The score
``|c|^2 / 2 - x.c`` is one of d + 1 numbers, one of which is a rounded norm itself, so that
twice it, a squared distance less ``|x|^2``, has an error of at most
``2 gamma(d + 2) (|x| |c| + |c|^2)``. The rounded ``|x|^2`` and the additions that follow cost
``4 u (|x| + |c|)^2``; and what is below float32's normal numbers may be taken for 0, in each of the
d + 2 terms.

One bound of a row for all centroids would have to be that of the longest, and a single centroid far
out would leave every row undecided. So the bound is split into a part of the row and a part of the
centroid, by ``2 |x| |c| <= |x|^2 / r + r |c|^2``, which holds for any r and is close where r is the
usual ``|x|`` over the usual ``|c|``.
"""

from typing import Any, Final, NamedTuple

import numpy as np

from ..array_types import Float32
from ..quiet_tensorflow import tf
from ..rows import squared_lengths
from ..weighted_rows import SAMPLE_NORMS, some_norms

#: No rounding of these bounds themselves goes beyond it.
_WIDER: Final = 1 + 2.0**-16

#: So many times the median length is far out. An error of its own costs each score an addition,
#: which is much for narrow rows and little for wide ones, whose errors are larger.
_FAR: Final = 8.0
_FAR_OF_WIDE: Final = 1.5

#: Of so many norms a kernel takes the usual one. Those of its block would be a pass over them, and
#: the compiler shares it out among the threads, of which the other cores keep theirs busy.
SAMPLE_SPEC: Final = tf.TensorSpec([SAMPLE_NORMS], tf.float32)

_FARTHEST: Final = 1e19
_UNIT: Final = 2.0**-24
_SMALLEST: Final = 2.0**-126


def sample_norms(norms: Float32) -> tf.Tensor:
    """A sample of norms [`SAMPLE_NORMS`] of the norms of all rows, float32 [n], for the factors."""
    return tf.constant(np.resize(some_norms(norms), SAMPLE_NORMS))


def error_factors(
    norms: tf.Tensor, centroids: tf.Tensor, d: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The factors a and b of `score_errors`: ``a |x|^2`` for a row, ``b |c|^2`` for a centroid.

    Norms float32 [m] of some rows will do: the bounds hold for any factors of this form.
    """
    usual = tf.sqrt(tf.sort(tf.reduce_sum(tf.square(centroids), 1))[tf.shape(centroids)[0] // 2])
    # A few rows far out hardly move the mean of the roots; beyond this they have no weight.
    near = tf.where(norms < _FARTHEST, norms, 0.0)
    usual_row = tf.square(tf.reduce_mean(tf.sqrt(near)))
    ratio = tf.clip_by_value(tf.math.divide_no_nan(usual_row, usual), 2.0**-20, 2.0**20)
    return _factors(ratio, tf.cast(d + 2, tf.float32))


def _factors(ratio: Any, terms: Any) -> tuple[Any, Any]:
    """The factors for a ratio of the lengths of rows and centroids, and a number of summands."""
    gamma = terms * _UNIT / (1 - terms * _UNIT) * _WIDER
    return gamma / ratio + 9 * _UNIT, (ratio + 2) * gamma + 9 * _UNIT


def score_errors(
    norms: tf.Tensor,
    centroids: tf.Tensor,
    d: int | tf.Tensor,
    sample: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """At most the errors of squared distances that are computed in the expanded form.

    The squared distance of row x to centroid c has an error of at most the sum of their two. Of
    two scores, which are half of a squared distance each, the lower is therefore the nearer
    centroid's, if it and half of its centroid's error are below the other less half of that one's,
    by more than the row's error.

    Args:
        norms: float32 [m], of the rows; some are infinity where a row is beyond float32.
        centroids: float32 [k, d].
        d: how many columns there are.
        sample: `sample_norms`; the norms themselves when not given.

    Returns:
        float32 [m], of the rows, and float32 [k], of the centroids.
    """
    row, centroid = error_factors(norms if sample is None else sample, centroids, d)
    errors = row * tf.square(norms) + tf.cast(4 * (d + 2), tf.float32) * _SMALLEST
    return errors, centroid * _WIDER * tf.reduce_sum(tf.square(centroids), 1)


class ScoreBounds(NamedTuple):
    """The results of `score_errors`, without a graph.

    Attributes:
        factor, least: float32, the error of a row is the factor times its squared norm, and this.
        centroids: float32 [k], the errors of the centroids.
    """

    factor: np.float32
    least: np.float32
    centroids: Float32

    def rows(self, norms: Float32) -> Float32:
        """The errors of rows with these norms: float32 [m]."""
        errors: Float32 = self.factor * np.square(norms) + self.least
        return errors


def score_bounds(norms: Float32, centroids: Float32, *, more: int = 0) -> ScoreBounds:
    """`score_errors` of rows with norms [n] for centroids [k, d], of which it takes a sample.

    The bounds are those of so many ``more`` columns.
    """
    k, d = centroids.shape[0], centroids.shape[1] + more
    square = np.square(centroids).sum(axis=1)
    usual = np.sqrt(np.partition(square, k // 2)[k // 2])
    sample = some_norms(norms)
    near = np.where(sample < _FARTHEST, sample, np.float32(0))
    usual_row = np.square(np.sqrt(near).mean())
    ratio = np.clip(usual_row / usual if usual > 0 else 0, 2.0**-20, 2.0**20)
    row, centroid = _factors(float(ratio), d + 2)
    least = np.float32(4 * (d + 2) * _SMALLEST)
    return ScoreBounds(np.float32(row * _WIDER), least, np.float32(centroid * _WIDER**2) * square)


def is_apart(
    norms: tf.Tensor,
    sample: tf.Tensor,
    centroids: tf.Tensor,
    least: tf.Tensor,
    second: tf.Tensor,
) -> tf.Tensor:
    """Whether the two least scores of each row are farther apart than rounding: bool [m].

    As `score_errors` says it, with no more known of the centroids than their scores s:
    ``|c|^2 <= 2 |x|^2 + 2 |x - c|^2 = 4 |x|^2 + 4 s``, which grows with the score, so that the next
    one answers for all others. It is a wider bound, and costs nothing per centroid.

    Args:
        norms: float32 [m], of the rows.
        sample: `sample_norms`.
        centroids: float32 [k, d].
        least, second: float32 [m]; infinity where there is no second.
    """
    d = centroids.shape[1]
    row, centroid = error_factors(sample, centroids, d)
    errors = (row + 4 * centroid * _WIDER) * tf.square(norms)
    errors += tf.cast(4 * (d + 2), tf.float32) * _SMALLEST
    # Apart, so that an infinite one is compared as it is.
    narrow = 2 * centroid * _WIDER
    return (1 - narrow) * second - (1 + narrow) * least > errors


def has_far_centroid(centroids: Float32, *, is_wide: bool = False) -> bool:
    """Whether a centroid is so far from the others that each needs its own error bound."""
    lengths = squared_lengths(centroids.astype(np.float64))
    middle, far = len(lengths) // 2, _FAR_OF_WIDE if is_wide else _FAR
    return bool(lengths.max() > far**2 * np.partition(lengths, middle)[middle])
