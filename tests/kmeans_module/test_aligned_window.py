"""Windows that kernels read rows through."""

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module.aligned_window import RowGather, has_inverse, read_window
from kmeans_module.model_space import enter
from kmeans_module.rows import place_rows

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
        product = between.tile_by_product(tf.constant(0), stop - start)
        np.testing.assert_array_equal(product, expected[start:stop])


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_a_product_in_float64_is_the_quotient_that_float32_has(size: float) -> None:
    drawn = np.random.default_rng(0)
    points = (size * drawn.normal(size=(20_000, 16))).astype(np.float32)
    scale = (size * 10.0 ** drawn.uniform(-3, 3, 16)).astype(np.float32)
    rows = place_rows(misaligned(points, 0), 0, scale)
    window = read_window(rows.tensors, tf.constant(0), tf.constant(16_384), 16_384, 16)
    found = window.tile_by_product(tf.constant(0), 16_384)
    np.testing.assert_array_equal(found, points[:16_384] / scale)


def test_only_a_scale_of_powers_of_two_is_multiplied_by() -> None:
    powers, wild = np.array([1, 0.25, 1024], "f4"), np.array([1, 3, 2], "f4")
    assert has_inverse(powers)
    for scale in (wild, np.array([2.0**-126], "f4"), np.array([2.0**127], "f4")):
        assert not has_inverse(scale)
    points = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    rows = place_rows(misaligned(points, 0), 0.5, powers)
    window = read_window(rows.tensors, tf.constant(0), tf.constant(16), 16, 3)
    one, other = (window.tile(tf.constant(0), 16, has_inverse=each) for each in (True, False))
    np.testing.assert_array_equal(one, other)
