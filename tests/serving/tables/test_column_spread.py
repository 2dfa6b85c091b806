"""Which column decides the clusters, and when it is said."""

import numpy as np
import pytest

from serving.tables.column_spread import spread_note

RNG = np.random.default_rng(5)


def test_columns_of_one_scale_are_no_matter() -> None:
    points = RNG.normal(size=(400, 3)) * [1, 5, 9]
    assert spread_note(points, ["a", "b", "c"], None, is_cosine=False) is None
    assert spread_note(points[:, :1], ["a"], None, is_cosine=False) is None


def test_the_column_that_decides_is_named_with_its_share_of_the_variance() -> None:
    income, age, constant = np.array([[2000.0, 20, 7], [4000.0, 60, 7]]).repeat(50, axis=0).T
    points = np.column_stack([age, income, constant])
    assert spread_note(points, ["age", "income", "constant"], None, is_cosine=False) == (
        "warning: the spreads of the columns differ by 50 times: 'income' decides the clusters, "
        "with more than 99.9% of the variance, and 'age' has less than 0.1%; --standardize gives "
        "each column the same"
    )


def test_where_no_column_has_half_of_the_variance_none_decides() -> None:
    points = RNG.normal(size=(1000, 4)) * [100, 100, 100, 1]
    said = spread_note(points, ["a", "b", "c", "d"], None, is_cosine=False)
    assert said is not None
    assert "is the widest" in said
    assert "'d' has less than 0.1%" in said


def test_a_column_of_vectors_counts_as_one() -> None:
    # Of 64 numbers of spread 1, together 8: age has 4 times that, or, in tens, 38 times.
    embedding = RNG.normal(size=(2000, 64))
    names = [*(f"e[{index}]" for index in range(64)), "age"]
    for scale, is_said in ((30.0, False), (300.0, True)):
        points = np.hstack([embedding, RNG.normal(size=(2000, 1)) * scale])
        said = spread_note(points, names, None, is_cosine=False)
        assert (said is not None) == is_said
        assert said is None or "'age' decides" in said
    assert spread_note(embedding, names[:64], None, is_cosine=False) is None


def test_for_cosine_distance_it_is_the_spread_of_the_rows_at_length_1() -> None:
    # Far from the origin in one column alone, rows differ in direction by the other columns.
    points = np.column_stack([RNG.normal(1e4, 500, 1000), RNG.normal(size=(1000, 1)) * 40])
    euclidean, cosine = (
        spread_note(points, ["far", "near"], None, is_cosine=is_cosine)
        for is_cosine in (False, True)
    )
    assert euclidean is not None
    assert "'far' decides" in euclidean
    assert cosine is not None
    assert "'near' decides the clusters" in cosine
    assert "of the variance of the rows at length 1" in cosine


def test_rows_count_as_much_as_they_weigh() -> None:
    points = np.array([[0.0, 0.0], [1.0, 1.0], [500.0, 0.5]])
    assert spread_note(points, ["a", "b"], np.array([1.0, 1.0, 0.0]), is_cosine=False) is None
    assert spread_note(points, ["a", "b"], np.array([1.0, 1.0, 0.1]), is_cosine=False) is not None


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_float_has_a_spread(scale: float) -> None:
    points = RNG.normal(size=(100, 2)) * [1, 100] * scale
    said = spread_note(points, ["a", "b"], None, is_cosine=False)
    assert said is not None
    assert "'b' decides" in said


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    points = RNG.normal(size=(1000, 2)) * [1, 100]
    whole = spread_note(points, ["a", "b"], None, is_cosine=True)
    monkeypatch.setattr("serving.tables.column_spread._BLOCK_NUMBERS", 14)
    assert spread_note(points, ["a", "b"], None, is_cosine=True) == whole


def test_standardised_a_vector_has_as_much_as_it_has_numbers_and_it_is_said() -> None:
    points = np.hstack([RNG.normal(size=(200, 20)), RNG.normal(size=(200, 1)) * 500])
    names = [*(f"e[{index}]" for index in range(20)), "age"]
    said = spread_note(points, names, None, is_cosine=False)
    assert said is not None
    assert said.endswith("--standardize gives each number ('e' has 20 of 21) the same")
    for is_cosine in (False, True):
        assert spread_note(points, names, None, is_cosine=is_cosine, is_standardized=True) == (
            "warning: --standardize gives each number the same, so that 'e' decides the clusters, "
            "with 20 of 21 numbers; choose other columns with --columns, or leave it out with "
            "--exclude"
        )
    points[:, 4:20] = 7  # of a constant, nothing is left
    assert spread_note(points, names, None, is_cosine=False, is_standardized=True) is None
    apart = [f"x{index}" for index in range(21)]
    assert spread_note(points, apart, None, is_cosine=False, is_standardized=True) is None
