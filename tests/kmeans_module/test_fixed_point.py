"""Sums as integers: no overflow, no empty cluster by rounding, and the same bits in any order."""

from fractions import Fraction
from math import fsum
from random import Random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kmeans_module.cluster_sums import sum_rows, sum_scale
from kmeans_module.fixed_point import fixed_point, limb_tensors, sum_column

RELAXED = settings(deadline=None, max_examples=200, derandomize=True)


@pytest.mark.parametrize("count", [1, 2, 1000, 1024, 1025, 10**6, 10**9, 2**31])
@pytest.mark.parametrize("largest", [1.0, 0.75, np.nextafter(2.0, 0), 1e-20, 3e38, 1e60])
def test_no_sum_of_so_many_of_the_largest_overflows(count: int, largest: float) -> None:
    scale = fixed_point(largest, count, limbs=3)
    # The largest, and what leaves most for the limbs after the first.
    halves = float(scale.worth) * (0.5 - 2.0**-40) * (1 + 1 / scale.finer)
    for value in (largest, -largest, halves, largest - halves):
        limbs = scale.integers(np.array(value))
        assert all(abs(int(limb)) <= 2**51 for limb in limbs)
        assert all(2 * count * abs(int(limb)) < 2**63 for limb in limbs)


@RELAXED
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50), st.integers(1, 4))
def test_a_number_loses_at_most_half_of_the_worth_in_the_last_limb(
    values: list[float], limbs: int
) -> None:
    scale = fixed_point(1e3, len(values), limbs=limbs)
    worth = Fraction(float(scale.worth)) / Fraction(scale.finer) ** (limbs - 1)
    for value in values:
        found = sum(
            int(limb) * Fraction(float(scale.worth)) / Fraction(scale.finer) ** number
            for number, limb in enumerate(scale.integers(np.array(value)))
        )
        assert abs(found - Fraction(value)) <= worth / 2


@RELAXED
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=60), st.randoms())
def test_a_sum_is_the_same_in_any_order_and_in_any_parts(
    values: list[float], random: Random
) -> None:
    scale = fixed_point(1e3, len(values), limbs=2)
    whole = sum_column(np.array(values), scale)
    random.shuffle(values)
    cut = len(values) // 2
    parts = sum_column(np.array(values[:cut]), scale) + sum_column(np.array(values[cut:]), scale)
    np.testing.assert_array_equal(parts.limbs, whole.limbs)
    assert whole.value == pytest.approx(fsum(values), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("limbs", [1, 2, 4])
@pytest.mark.parametrize("is_compiled", [False, True])
def test_graphs_write_numbers_as_numpy_does(limbs: int, is_compiled: bool) -> None:
    rng = np.random.default_rng(limbs)
    points = (rng.standard_normal((500, 3)) * 10.0 ** rng.uniform(-9, 3, (500, 1))).astype("f4")
    weight = rng.uniform(0, 5, (500, 1))
    scale = fixed_point(np.abs(points * weight).max(axis=0), 500, limbs=limbs)
    graph = tf.function(
        lambda x, w: limb_tensors(
            x, w, tf.constant(1 / scale.worth), tf.constant(scale.finer, tf.float64), limbs
        ),
        jit_compile=is_compiled,
    )
    found = [limb.numpy() for limb in graph(tf.constant(points), tf.constant(weight))]
    np.testing.assert_array_equal(found, scale.integers(points * weight))


@pytest.mark.parametrize("n", [10, 10**6, 10**9])
@pytest.mark.parametrize("light", [1.0, 0.1, 1e-9, 1e-30])
@pytest.mark.parametrize("heavy", [1.0, 1e30])
def test_no_weight_is_rounded_to_nothing(n: int, light: float, heavy: float) -> None:
    scale = sum_scale(np.ones(2), np.full(2, 0.1), (light, heavy), n)
    sums = sum_rows(np.ones((1, 2), "f4"), np.array([light], "f4"), [np.array([0])], 1, scale)
    assert sums.weight.value[0, 0] == pytest.approx(light, rel=1e-7)
    mean = sums.points.value / sums.weight.value
    np.testing.assert_allclose(mean, 1, rtol=2**-24)


def test_one_limb_is_enough_for_equal_weights_and_more_are_taken_for_a_row_far_out() -> None:
    normal = sum_scale(np.full(2, 6.0), np.full(2, 0.0125), (1.0, 1.0), 10**6)
    far_out = sum_scale(np.full(2, 1e12), np.full(2, 0.0125), (1.0, 1.0), 10**6)
    assert normal.limbs == 1
    assert far_out.limbs == 2
