"""The least of each row's scores, and whether another is so near that rounding could matter.

What a compiled kernel does with scores once it has them, see `matmul` and `wide_rows`; and what
NumPy does.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..array_types import Float32
from ..quiet_tensorflow import tf
from ..rows import as_numpy
from .hamerly_bounds import bounds_of_scores

#: The results of a row: its index and the bounds.
DTYPES: Final = (tf.int32, tf.float32, tf.float32)

#: Up to this number of centroids the loop over scores is unrolled; compilation takes 0.2 s more.
_WRITTEN_OUT: Final = 64

#: The bits up to which a sum of integers is exact.
_EXACT: Final = {tf.float32: 24, tf.float64: 53}


def nearest_by_scores(
    k: int, *, with_bounds: bool, has_far: bool
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], list[tf.Tensor]]:
    """Make the part of `search_by_matmul` after the scores, for a tile of rows.

    Returns:
        A function for the inside of a kernel, from scores float32 [k, m], with half of each
        centroid's error where it is ``has_far``; the errors of the rows float32 [m]; their norms
        float32 [m]; the errors of the centroids float32 [k, 1].
    """
    # With bounds there are three results, and the compiler would run the loop for each.
    is_written_out = k <= _WRITTEN_OUT and not has_far and not with_bounds

    def nearest(
        scores: tf.Tensor, error: tf.Tensor, norms: tf.Tensor, spreads: tf.Tensor
    ) -> list[tf.Tensor]:
        if is_written_out:
            return [_clear_least(scores, error)]
        least = tf.reduce_min(scores, 0)
        lowest = scores - spreads if has_far else scores
        index = single_within(lowest, least + error)
        if not with_bounds:
            return [index]
        others = tf.where(tf.range(k)[:, None] == index, float("inf"), lowest)
        second = tf.reduce_min(others, 0)
        upper, lower = bounds_of_scores(norms, error, least, second)
        # An undecided row may be in a cluster of another score.
        return [index, tf.where(index < 0, float("inf"), upper), lower]

    return nearest


def _clear_least(scores: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
    """Index of the minimum score of each column of [k, m], int32 [m].

    It is -1 where another score is within the error float32 [m] of the minimum. One loop over the
    columns holds only the two lowest scores so far.
    """
    least, *others = tf.unstack(scores)
    index, second = tf.zeros_like(least, tf.int32), tf.fill(least.shape, float("inf"))
    for number, score in enumerate(others, 1):
        index = tf.where(score < least, number, index)
        second = tf.minimum(second, tf.maximum(score, least))
        least = tf.minimum(score, least)
    return tf.where(second > least + error, index, -1)


def single_within(scores: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """Index of the only score at most that in each column of [k, m], or -1: int32 [m].

    Where exactly one is, the sum of ``base + number`` over those that are is below twice the base,
    and gives its number. The compiler has a quick sum of float32 alone, which is exact here.
    """
    k = scores.shape[0]
    base = 1 << (k - 1).bit_length()
    # All k of them sum to less than 2 k base.
    dtype = next(t for t, bits in _EXACT.items() if 2 * k * base <= 2**bits)
    number = tf.cast(base + tf.range(k), dtype)[:, None]
    total = tf.reduce_sum(tf.where(scores <= most, number, 0), 0)
    # None is, where a row's square overflows: it is of weight 0.
    is_single = (total >= base) & (total < 2 * base)
    return tf.where(is_single, tf.cast(total, tf.int32) - base, -1)


class ScoreChoice:
    """`nearest_by_scores` by NumPy, in memory that it uses again.

    Args:
        k: how many centroids there are.
        size: rows at most.

    Attributes:
        scores: float32 [k, size], room for the scores, which a choice may overwrite.
        may_be: bool [k, size], which of them may be the least.
    """

    def __init__(self, k: int, size: int) -> None:
        self.scores = np.empty((k, size), np.float32)
        self.may_be = np.empty((k, size), np.bool_)
        # Integers of one byte, which hold a k below 256, take half of the time of float32.
        self._number = np.arange(k, dtype=np.min_scalar_type(k))

    def choose(
        self, scores: Float32, spreads: Float32 | None, errors: Float32
    ) -> NDArray[np.int32]:
        """The place of the only score that may be the least, or -1: int32 [m].

        Args:
            scores: float32 [k, m], with half of each centroid's error if these are given.
            spreads: float32 [k], errors of the centroids; None where those of the rows do for all.
            errors: float32 [m], of the rows.
        """
        m = scores.shape[1]
        may_be = self.may_be[:, :m]
        most = scores.min(axis=0)
        most += errors
        if spreads is not None:
            scores = np.subtract(scores, spreads[:, None], out=self.scores[:, :m])
        np.less_equal(scores, most, out=may_be)
        ones = may_be.view(np.uint8)
        # The sum of the numbers of those that may be is the number of the one, where it is alone;
        # other sums may not fit, and are not used.
        total = np.einsum("kr,k->r", ones, self._number)
        # None may be, where a row's square overflows.
        is_single = ones.sum(axis=0, dtype=self._number.dtype) == 1
        return np.where(is_single, total.astype(np.int32), np.int32(-1))

    def choose_with_bounds(
        self, scores: Float32, spreads: Float32 | None, errors: Float32, norms: Float32
    ) -> tuple[NDArray[np.int32], Float32, Float32]:
        """`choose`, and `bounds_of_scores` of rows with these norms, float32 [m].

        ``scores`` are the first m columns of the attribute `scores`, and are overwritten.
        """
        least = scores.min(axis=0)
        index = self.choose(scores, spreads, errors)
        lowest = self.scores[:, : len(norms)]
        decided = np.flatnonzero(index >= 0)
        lowest[index[decided], decided] = np.inf
        upper, lower = bounds_of_scores(norms, errors, least, lowest.min(axis=0))
        # An undecided row may be in a cluster of another score.
        return index, np.where(index < 0, np.float32("inf"), as_numpy(upper)), as_numpy(lower)
