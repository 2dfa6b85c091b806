"""Lloyd steps by the compiled kernel for narrow rows and few clusters: the engine ``unrolled``."""

from typing import Any

import tensorflow as tf

from ..aligned_window import read_window
from ..blocks import Contribution, kernel_rows, over_padded_blocks, pad_rows
from ..cluster_sums import partial_sums_size
from ..graphs import FLOATS, INT, INTS, TABLE, synchronized_cache, trace
from ..rows import ROWS_SPEC, RowTensors
from .engine import StepSums
from .sharded import Shard
from .unrolled_kernel import assign_and_sum_unrolled


class UnrolledShard(Shard):
    """Every distance and every sum in every step; see `unrolled_kernel`. k d is small."""

    def _assign(self, centroids: tf.Tensor) -> StepSums:
        start = tf.constant(self._start)
        self._assignments, sums, counts, squares, has_changed = _step_graph(*self._shape)(
            self._points.tensors, self._weight, self._assignments, centroids, start
        )
        squares = float(squares.numpy().sum())
        return StepSums(sums.numpy(), counts.numpy(), squares, bool(has_changed))


@synchronized_cache
def _step_graph(d: int, k: int) -> Any:
    m = kernel_rows(d)
    kernel = assign_and_sum_unrolled(m, d, k)

    def step(
        points: RowTensors,
        weight: tf.Tensor,
        before: tf.Tensor,
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
                centroids,
            )
            return [index], sums

        shapes = [[k, d], [k], [partial_sums_size(m, d)]]
        (index,), totals = over_padded_blocks(block, n, m, [tf.int32], shapes)
        return (index, *totals, tf.reduce_any(index != before))

    return trace(step, [ROWS_SPEC, FLOATS, INTS, TABLE, INT])
