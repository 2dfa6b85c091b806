"""What is learned of columns is exact, and depends on no order."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kmeans_module.column_fitting import (
    exact_mean,
    find_fill,
    fit_category,
    sum_exactly,
    weigh_features,
)
from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn
from kmeans_module.errors import InvalidColumns, InvalidParameter

Float32 = np.ndarray[Any, np.dtype[np.float32]]
numbers = arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@given(numbers, st.randoms())
def test_the_mean_is_rounded_once_and_the_same_for_any_order_and_parts(
    values: Float32, random: Any
) -> None:
    exact = sum((Fraction(float(each)) for each in values), Fraction()) / len(values)
    assert exact_mean(sum_exactly(values), len(values)) == float(exact)
    shuffled = values.copy()
    random.shuffle(shuffled)
    cut = random.randint(0, len(values))
    assert sum_exactly(shuffled[:cut]) + sum_exactly(shuffled[cut:]) == sum_exactly(values)
    assert find_fill(shuffled, "mean") == find_fill(values, "mean")


def test_many_numbers_of_far_magnitudes_are_summed_without_loss() -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(size=300_000) * 10.0 ** rng.integers(-44, 38, 300_000)).astype("f4")
    whole = np.concatenate([values, np.full(2**20 + 3, 0.1, "f4"), -values])
    assert sum_exactly(whole) == sum_exactly(np.full(2**20 + 3, 0.1, "f4"))


@pytest.mark.parametrize(
    ("impute", "fill"), [("mean", 4.0), ("median", 2.0), (7, 7.0), (0.1, float(np.float32(0.1)))]
)
def test_what_fills_a_missing_number(impute: Any, fill: float) -> None:
    values = np.array([1, np.nan, 2, 9, np.nan], "f4")
    assert find_fill(values, impute) == fill
    assert find_fill(values[::-1].copy(), impute) == fill


def test_of_an_even_count_the_median_is_between() -> None:
    assert find_fill(np.array([1, 2, 4, 9], "f4"), "median") == 3


@pytest.mark.parametrize("impute", ["mode", True, 1e39, float("inf"), float("nan"), [1]])
def test_what_fills_nothing_is_refused(impute: Any) -> None:
    with pytest.raises(InvalidParameter, match="impute is"):
        find_fill(np.ones(2, "f4"), impute)


def test_a_category_has_its_values_in_order_and_too_many_are_refused() -> None:
    texts = ["b", "", "a", "b"]
    assert fit_category("plan", texts, has_unknown=True) == CategoryColumn("plan", ("a", "b"), True)
    assert len(fit_category("plan", map(str, range(1000)), has_unknown=False).values) == 1000
    with pytest.raises(InvalidColumns, match=r"'plan' has 1,001 values.*leave it out, or join"):
        fit_category("plan", map(str, range(1001)), has_unknown=False)
    with pytest.raises(InvalidColumns, match="'plan' holds no value"):
        fit_category("plan", ["", ""], has_unknown=False)


def test_a_weight_is_that_of_each_feature_of_its_column() -> None:
    category = CategoryColumn("p", ("a", "b"), True)
    columns: list[Column] = [NumberColumn("x"), category, VectorColumn("v", 2)]
    assert weigh_features(columns, {"p": 3, "v": 0.5}) == [1, 3, 3, 3, 0.5, 0.5]
    assert weigh_features(columns, {}) is None
