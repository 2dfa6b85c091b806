"""Lloyd steps by the compiled kernel for narrow rows and few clusters: the engine ``narrow``."""

from typing import Any

import tensorflow as tf

from ..aligned_window import window
from ..blocks import Contribution, kernel_rows, over_padded_blocks, pad_rows
from ..cluster_sums import partial_sums_size
from ..graphs import synchronized_cache, trace
from ..rows import ROWS_SPEC, Rows
from .sharded import LaneStep
from .unrolled_kernel import nearest_by_unrolling


class NarrowLane:
    """Every distance and every sum of a range of rows in every step; see `unrolled_kernel`.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: k; k d is small.
        start, stop: its rows, ``start`` a multiple of 16.
    """

    def __init__(
        self, points: Rows, sample_weight: tf.Tensor, n_clusters: int, start: int, stop: int
    ) -> None:
        self._points, self._weight = points, sample_weight[start:stop]
        self._start = tf.constant(start)
        self._pass = _pass(int(points.shift.shape[0]), n_clusters)
        self.index = tf.fill([stop - start], -1)

    def step(self, centroids: tf.Tensor) -> LaneStep:
        """One pass over its rows; see `lanes.Lane`."""
        self.index, sums, counts, square, changed = self._pass(
            self._points, self._weight, self.index, centroids, self._start
        )
        return LaneStep(sums.numpy(), counts.numpy(), float(square.numpy().sum()), bool(changed))


@synchronized_cache
def _pass(d: int, k: int) -> Any:
    m = kernel_rows(d)
    kernel = nearest_by_unrolling(m, d, k)

    def one_pass(
        points: Rows, weight: tf.Tensor, before: tf.Tensor, centroids: tf.Tensor, start: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        n = tf.size(weight)
        space = [tf.ensure_shape(each, [d]) for each in (points.shift, points.scale)]
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            first, last = i * m, tf.minimum((i + 1) * m, n)
            index, *sums = kernel(
                window(points, start + first, start + last, m, d),
                pad_rows(weight[first:last], m),
                *space,
                centroids,
            )
            return [index], sums

        (index,), totals = over_padded_blocks(
            block, n, m, [tf.int32], [[k, d], [k], [partial_sums_size(m, d)]]
        )
        return (index, *totals, tf.reduce_any(index != before))

    column = tf.TensorSpec([None], tf.float32)
    return trace(
        one_pass,
        [
            ROWS_SPEC,
            column,
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
            tf.TensorSpec([], tf.int32),
        ],
    )
