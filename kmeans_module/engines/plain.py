"""Lloyd steps by stock TensorFlow: the engine ``plain``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..array_types import Float32
from ..assignment import closeness
from ..blocks import Contribution, block_parts, loop_blocks, rows_per_block
from ..cluster_sums import (
    sums_by_cluster,
    sums_shapes,
)
from ..graphs import FLOATS, INT, TABLE, graph, synchronized_cache, trace
from ..rows import ROWS_SPEC, RowTensors, as_numpy
from ..weighted_rows import WeightedRows
from .engine import StepSums
from .near_ties import decide_all
from .score_rounding import score_errors
from .sharded import Shard


class PlainShard(Shard):
    """Every distance and every sum in every step."""

    def _assign(self, centroids: Float32) -> StepSums:
        index, *limbs = _step_graph(self.scale.limbs)(
            self._points.tensors,
            self._weight,
            self._norms,
            self._scale_tensor,
            tf.constant(centroids),
            tf.constant(self._start),
        )
        undecided, decided, sums = self._decide(index, limbs, centroids)
        assignments = np.array(as_numpy(index))
        assignments[undecided] = decided
        has_changed = not np.array_equal(assignments, self._assignments)
        self._assignments = assignments
        return StepSums(sums, has_changed)


@synchronized_cache
def _step_graph(limbs: int) -> Callable[..., Any]:
    """The graph of a step.

    Returns:
        A function from points; weight and norms float32 [n]; the scale; centroids float32 [k, d];
        its first row, int32 []. It gives the nearest centroid int32 [n], -1 where it is undecided,
        and what `sums_by_cluster` gives of the others.
    """

    def step(
        points: RowTensors,
        weight: tf.Tensor,
        norms: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
        start: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        n, k, d = tf.size(weight), tf.shape(centroids)[0], tf.shape(centroids)[1]
        block = rows_per_block(tf.maximum(k, d))
        blocks = (n + block - 1) // block

        def assign_block(i: tf.Tensor) -> Contribution:
            first, last = i * block, tf.minimum((i + 1) * block, n)
            rows = points.block(start + first, start + last)
            index = _nearest(rows, norms[first:last], centroids)
            sums = sums_by_cluster(rows, weight[first:last], scale, limbs, [index], k)
            return [index], sums

        zeros = [tf.zeros(shape, tf.int64) for shape in sums_shapes(d, k, limbs)]
        parts, sums = loop_blocks(
            assign_block, blocks, block_parts(blocks, [tf.int32]), zeros, parallel_iterations=2
        )
        return parts[0].concat(), *sums

    signature = [ROWS_SPEC, FLOATS, FLOATS, tf.TensorSpec([None], tf.float64), TABLE, INT]
    return trace(step, signature)


def nearest_rows(rows: WeightedRows, centroids: Float32) -> NDArray[np.int32]:
    """The nearest of the centroids [k, d] for each row: int32 [n]."""
    index = _search(rows.points.tensors, rows.norms, tf.constant(centroids))
    return decide_all(rows.points, index, centroids)


@graph(ROWS_SPEC, FLOATS, TABLE)
def _search(points: RowTensors, norms: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """`_nearest` of all rows."""
    n = tf.size(norms)
    block = rows_per_block(tf.reduce_max(tf.shape(centroids)))
    blocks = (n + block - 1) // block

    def search_block(i: tf.Tensor) -> Contribution:
        first, last = i * block, tf.minimum((i + 1) * block, n)
        return [_nearest(points.block(first, last), norms[first:last], centroids)], []

    parts, _ = loop_blocks(
        search_block, blocks, block_parts(blocks, [tf.int32]), [], parallel_iterations=2
    )
    return parts[0].concat()


def _nearest(rows: tf.Tensor, norms: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """The nearest centroid of each row, -1 where rounding could show: int32 [m]."""
    near = closeness(rows, centroids)
    errors, spreads = score_errors(norms, centroids, tf.shape(centroids)[1])
    least = tf.reduce_max(near - 0.5 * spreads, 1) - errors
    may_be = near + 0.5 * spreads >= least[:, None]
    is_single = tf.math.count_nonzero(may_be, 1, dtype=tf.int32) == 1
    return tf.where(is_single, tf.argmax(may_be, 1, tf.int32), -1)
