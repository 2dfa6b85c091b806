"""Extents and moments of the columns, beside NumPy's over all rows in float64."""

from typing import Literal

import numpy as np
import pytest

from kmeans_module.column_moments import column_extent, column_moments

from .problems import Float32, blobs


def assert_moments(points: Float32, weight: Float32) -> None:
    counted = points[weight > 0].astype(np.float64)
    extent = column_extent(points, weight)
    found = column_moments(points, weight, extent, np.median(counted, axis=0))
    spread = counted.std(axis=0)
    np.testing.assert_allclose(found.mean, counted.mean(axis=0), rtol=1e-13, atol=1e-11)
    np.testing.assert_allclose(found.variance, spread**2, rtol=1e-9)
    np.testing.assert_array_equal(extent.low, counted.min(axis=0))
    np.testing.assert_array_equal(extent.high, counted.max(axis=0))


@pytest.mark.parametrize("n", [1, 511, 513, 70_001])
@pytest.mark.parametrize("d", [1, 3, 40, 1500])
def test_every_row_counts_once_whatever_the_shape(n: int, d: int) -> None:
    points = np.random.default_rng(n + d).normal(3, 2, (min(n, 4_000_000 // d), d)).astype("f4")
    assert_moments(points, np.ones(len(points), "f4"))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_weight_zero_do_not_count(order: Literal["C", "F"]) -> None:
    points = blobs(9_000, 7)
    weight = (np.random.default_rng(0).random(9_000) < 0.6).astype("f4")
    points[weight == 0] = 1e30
    weight[:5000] = 0
    assert_moments(np.asarray(points, order=order), weight)


def test_far_from_the_origin_and_from_the_first_rows_no_digits_are_lost() -> None:
    points = blobs(300_000, 2) + np.float32(1e6)
    points[:70_000] -= np.float32(2e6)
    assert_moments(points, np.ones(len(points), "f4"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 69_999])
def test_what_is_not_finite_shows_in_the_extent(value: float, row: int) -> None:
    points = blobs(70_000, 3)
    points[row, 1] = value
    low, high = column_extent(points, np.ones(70_000, "f4"))
    np.testing.assert_array_equal(np.isfinite(low) & np.isfinite(high), [True, False, True])
