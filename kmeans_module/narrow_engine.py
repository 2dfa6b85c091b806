"""Lloyd steps by the compiled kernel for narrow rows and few clusters: the engine ``narrow``."""

from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .full_blocks import block_rows, filled, over_full_blocks
from .lloyd import (
    Step,
    inertia_of_sums,
    looked_at,
    squared_distances,
    squared_norms,
    weighted_sum,
)
from .model_space import ROWS_SPEC, Float32, Rows
from .nearest_of_few import nearest_of_few


class NarrowEngine:
    """Every distance and every sum in every step; see `nearest_of_few`.

    Args:
        points: [n, d].
        sample_weight: float32 [n].
        n_clusters: k; k d is small.
    """

    def __init__(self, points: Rows, sample_weight: tf.Tensor, n_clusters: int) -> None:
        self._points, self._weight = points, sample_weight
        self._pass = _pass(int(points.shift.shape[0]), n_clusters)
        norms = squared_norms(points, sample_weight.shape[0])
        self._square = weighted_sum(norms, sample_weight)
        self._index = tf.fill(sample_weight.shape, -1)
        self._centroids: tf.Tensor

    @property
    def assignments(self) -> NDArray[np.int32]:
        """Of the last step, int32 [n]."""
        return looked_at(self._index)

    def step(self, centroids: Float32) -> Step:
        """One pass over the points; see `lloyd.Engine`."""
        self._centroids = tf.constant(centroids)
        self._index, sums, counts, changed = self._pass(
            self._points, self._weight, self._index, self._centroids
        )
        sums, counts = sums.numpy(), counts.numpy()
        inertia = inertia_of_sums(
            centroids, sums, counts, self._square, self.squared_distances, self._weight
        )
        return Step(sums, counts, inertia, bool(changed))

    def squared_distances(self) -> Float32:
        """To the centroids of the last step, float32 [n]."""
        return squared_distances(self._points, self._index, self._centroids)


@cache
def _pass(d: int, k: int) -> Any:
    m = block_rows(32)
    kernel = nearest_of_few(m, d, k)

    def one_pass(
        points: Rows, weight: tf.Tensor, before: tf.Tensor, centroids: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        n = tf.size(weight)
        space = [tf.ensure_shape(each, [d]) for each in (points.shift, points.scale)]
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
            rows = points.raw_block(i * m, tf.minimum((i + 1) * m, n))
            index, *sums = kernel(
                filled(tf.ensure_shape(rows, [None, d]), m),
                filled(weight[i * m : (i + 1) * m], m),
                *space,
                centroids,
            )
            return [index], sums

        (index,), totals = over_full_blocks(block, n, m, [tf.int32], [[k, d], [k]])
        return (index, *totals, tf.reduce_any(index != before))

    column = tf.TensorSpec([None], tf.float32)
    return tf.function(
        one_pass,
        [
            ROWS_SPEC,
            column,
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, None], tf.float32),
        ],
        autograph=False,
    )
