"""Windows that kernels read rows through."""

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module.aligned_window import RowGather, read_window
from kmeans_module.model_space import enter

from .problems import misaligned


@pytest.mark.parametrize("d", [1, 3, 16, 40, 64])
@pytest.mark.parametrize("offset", [0, 4, 12, 15])
def test_rows_are_read_wherever_memory_begins(d: int, offset: int) -> None:
    points = misaligned(np.arange(50 * d, dtype=np.float32).reshape(50, d), offset)
    space = enter(points, np.ones(50, "f4"), standardize=True)
    rows, expected = space.rows, space.to_model(points)
    gathering = RowGather(rows, 4)
    for chosen in ([7, 3, 3, 41], [0, 49, 5]):
        read = gathering.window(np.array(chosen)).tile(tf.constant(0), len(chosen))
        np.testing.assert_array_equal(read, expected[chosen])
    for start, stop in ((0, 16), (16, 32), (5, 18), (40, 50)):
        between = read_window(rows.tensors, tf.constant(start), tf.constant(stop), 16, d)
        assert between.count == stop - start
        read = between.tile(tf.constant(0), stop - start)
        np.testing.assert_array_equal(read, expected[start:stop])
