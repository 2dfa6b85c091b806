"""Lloyd steps for narrow rows and few clusters: the engine ``unrolled``.

Where k d is small a matrix product spends its time on packing. Here every centroid's score
``|c|^2 / 2 - x.c`` (Lloyd 1982) is written out, and the compiler makes one loop over the rows of
it, with nothing held but the best two so far. The sums are taken in the same block.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..aligned_window import Window, read_window, window_spec
from ..array_types import Float32
from ..blocks import Contribution, kernel_rows, loop_padded_blocks, pad_rows
from ..cluster_sums import ClusterSums, sums_shapes
from ..fixed_point import limb_tensors, without_subnormal_tensor
from ..graphs import FLOATS, INT, TABLE, synchronized_cache, trace
from ..quiet_tensorflow import tf
from ..rows import ROWS_SPEC, RowTensors, as_numpy
from ..weighted_rows import WeightedRows
from .engine import StepSums
from .score_rounding import SAMPLE_SPEC, is_apart, sample_norms
from .sharded import NO_CLUSTER, Shard


class UnrolledShard(Shard):
    """Every distance and every sum in every step. k d is small.

    A step takes a few ns a row, so that the assignments are not copied to put in those that
    `near_ties` decides: these are kept beside what the kernel found. Nor are they compared with
    those before while the sums differ.
    """

    def __init__(self, rows: WeightedRows, n_clusters: int, start: int, stop: int) -> None:
        super().__init__(rows, n_clusters, start, stop)
        self._sample = sample_norms(as_numpy(self._norms))
        self._index = tf.fill([stop - start], NO_CLUSTER)
        self._undecided: NDArray[np.int64] = np.zeros(0, np.int64)
        self._decided: NDArray[np.int32] = np.zeros(0, np.int32)
        self._sums: ClusterSums | None = None

    def kernels(self, centroids: Float32) -> Sequence[Callable[[], object]]:
        return (lambda: self._assign(centroids),)

    def _assign(self, centroids: Float32) -> StepSums:
        index, *limbs = _step_graph(*self._shape, self.scale.limbs)(
            self._points.tensors,
            self._weight,
            self._norms,
            self._sample,
            self._scale_tensor,
            tf.constant(centroids),
            tf.constant(self._start),
        )
        undecided, decided, sums = self._decide(index, limbs, centroids)
        # The same assignments have the same sums: only then is a look at all of them needed.
        is_same = self._sums is not None and sums.equals(self._sums)
        before = self._all_assignments() if is_same else None
        self._index, self._undecided, self._decided = index, undecided, decided
        self._sums = sums
        has_changed = before is None or not np.array_equal(before, self._all_assignments())
        return StepSums(sums, has_changed)

    def _all_assignments(self) -> NDArray[np.int32]:
        assignments = np.array(as_numpy(self._index))
        assignments[self._undecided] = self._decided
        return assignments

    def _settle(self) -> None:
        self._assignments = self._all_assignments()


@synchronized_cache
def _step_graph(d: int, k: int, limbs: int) -> Any:
    """The graph of a step.

    Returns:
        A function from points; weight and norms float32 [n]; `sample_norms` of them; the scale;
        centroids float32 [k, d]; its first row, int32 []. It gives the index int32 [n] of the
        nearest centroid, -1 where it is undecided; and of the decided rows the sums
        int64 [limbs, k, d] and [limbs, k, 1].
    """
    m = kernel_rows(d)
    kernel = assign_and_sum(m, d, k, limbs)

    def step(
        points: RowTensors,
        weight: tf.Tensor,
        norms: tf.Tensor,
        sample: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
        start: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        n = tf.size(weight)
        centroids = tf.ensure_shape(centroids, [k, d])

        def block(i: tf.Tensor) -> Contribution:
            first, last = i * m, tf.minimum((i + 1) * m, n)
            index, *sums = kernel(
                read_window(points, start + first, start + last, m, d),
                pad_rows(weight[first:last], m),
                pad_rows(norms[first:last], m),
                sample,
                scale,
                centroids,
            )
            return [index], sums

        shapes = sums_shapes(d, k, limbs)
        (index,), totals = loop_padded_blocks(block, n, m, [tf.int32], shapes)
        return index, *totals

    scale_spec = tf.TensorSpec([d + 2], tf.float64)
    signature = [ROWS_SPEC, FLOATS, FLOATS, SAMPLE_SPEC, scale_spec, TABLE, INT]
    return trace(step, signature)


@synchronized_cache
def assign_and_sum(m: int, d: int, k: int, limbs: int) -> Callable[..., Any]:
    """The compiled kernel for windows of m rows.

    Returns:
        A function from a window of m rows; weight float32 [m], 0 where there is no row; their
        norms float32 [m]; `sample_norms`; the scale; centroids float32 [k, d], in the model's
        space. It gives the index int32 [m] of the nearest centroid, -1 where it is undecided; and
        of the decided rows int64 [limbs, k, d], the sums of the weighted points of each cluster,
        and int64 [limbs, k, 1], its weight. O(m k d) time, O(m d) memory. Compiling takes time in
        proportion to k d too.
    """

    def kernel(
        window: Window,
        weight: tf.Tensor,
        norms: tf.Tensor,
        sample: tf.Tensor,
        scale: tf.Tensor,
        centroids: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        points = window.tile(tf.constant(0), m)
        index = _nearest(points, norms, sample, centroids)
        wide = tf.cast(weight, tf.float64)[:, None]
        # One table. Where the width is odd, each sum waits for the one before: it took 5 ns a row,
        # not 3.
        spare = 1 - d % 2
        columns = tf.concat([without_subnormal_tensor(points), tf.ones([m, 1 + spare])], 1)
        inverse, finer = tf.concat([scale[:-1], scale[-2:-1]][: 1 + spare], 0), scale[-1]
        table = tf.stack(
            [
                tf.math.unsorted_segment_sum(limb, index, k)
                for limb in limb_tensors(columns, wide, inverse, finer, limbs)
            ]
        )
        return index, table[:, :, :d], table[:, :, d : d + 1]

    signature = [
        window_spec(m, d),
        tf.TensorSpec([m], tf.float32),
        tf.TensorSpec([m], tf.float32),
        SAMPLE_SPEC,
        tf.TensorSpec([d + 2], tf.float64),
        tf.TensorSpec([k, d], tf.float32),
    ]
    return trace(kernel, signature, is_compiled=True)


def _nearest(
    points: tf.Tensor, norms: tf.Tensor, sample: tf.Tensor, centroids: tf.Tensor
) -> tf.Tensor:
    """The nearest centroid of each of the points, -1 where rounding could show: int32 [m]."""
    k, d = centroids.shape
    columns = [points[:, j] for j in range(d)]
    half_norm = 0.5 * tf.reduce_sum(tf.square(centroids), 1)
    infinity = tf.fill([points.shape[0]], float("inf"))
    best, second, index = infinity, infinity, tf.zeros([points.shape[0]], tf.int32)
    for number in range(k):
        score = half_norm[number]
        for j in range(d):
            score -= columns[j] * centroids[number, j]
        nearer = score < best
        second = tf.minimum(second, tf.maximum(score, best))
        best = tf.where(nearer, score, best)
        index = tf.where(nearer, number, index)
    return tf.where(is_apart(norms, sample, centroids, best, second), index, -1)
