"""Columns become points: in the graph as in NumPy, whatever they hold and whatever is missing."""

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from kmeans_module.column_training import encode_arrays, fit_columns, fit_encoder
from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn
from kmeans_module.encoder import Encoder, LinearMap, Norm, UnitRows
from kmeans_module.errors import InvalidColumns, InvalidParameter, NonFinitePoint

TEXTS = st.sampled_from(["", "a", "b", "größe", "NA", "1", "1.0"])
NUMBERS = st.sampled_from([np.nan, -1.5, 0.0, 3.0, 1e30])


def reference(column: Column, values: Any) -> NDArray[np.float32]:
    """The features of a column, value by value."""
    match column:
        case NumberColumn(fill=fill):
            filled = [fill if fill is not None and np.isnan(each) else each for each in values]
            return np.array(filled, "f4")[:, None]
        case CategoryColumn(values=known, has_unknown=has_unknown):
            rows = []
            for value in values:
                row = [float(value == each) for each in known]
                rows.append([*row, float(not any(row))] if has_unknown else row)
            return np.array(rows, "f4").reshape(len(values), -1)
        case VectorColumn():
            return np.asarray(values, "f4")


@st.composite
def columns_and_rows(draw: st.DrawFn) -> tuple[list[Column], list[Any]]:
    n = draw(st.integers(1, 6))
    columns: list[Column] = []
    rows: list[Any] = []
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["number", "category", "vector"]))
        if kind == "number":
            columns.append(NumberColumn(f"n{index}", draw(st.sampled_from([None, 2.5]))))
            rows.append(np.array(draw(st.lists(NUMBERS, min_size=n, max_size=n)), "f4"))
        elif kind == "category":
            known = draw(st.lists(TEXTS.filter(bool), min_size=1, max_size=4, unique=True))
            columns.append(CategoryColumn(f"c{index}", tuple(known), draw(st.booleans())))
            rows.append(np.array(draw(st.lists(TEXTS, min_size=n, max_size=n)), object))
        else:
            width = draw(st.integers(1, 3))
            columns.append(VectorColumn(f"v{index}", width))
            numbers = draw(st.lists(NUMBERS, min_size=n * width, max_size=n * width))
            rows.append(np.array(numbers, "f4").reshape(n, width))
    return columns, rows


@settings(max_examples=40, deadline=None)
@given(columns_and_rows())
def test_the_graph_encodes_as_each_value_alone_would_be(
    problem: tuple[list[Column], list[Any]],
) -> None:
    columns, rows = problem
    encoder = Encoder(columns)
    found = encode_arrays(encoder, rows)
    expected = np.concatenate([reference(*each) for each in zip(columns, rows, strict=True)], 1)
    np.testing.assert_array_equal(found, expected)
    assert len(encoder.feature_names) == found.shape[1]


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_maps_follow_the_columns_as_scikit_learn_computes_them(norm: Norm) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 4)).astype("f4")
    vectors[7] = 0
    matrix, offset = rng.normal(size=(4, 2)), rng.normal(size=2)
    encoder = Encoder([VectorColumn("v", 4)], [UnitRows(norm), LinearMap(matrix, offset)])
    expected = normalize(vectors.astype("f8"), norm) @ matrix + offset
    np.testing.assert_allclose(encode_arrays(encoder, [vectors]), expected, rtol=1e-6, atol=1e-6)
    assert encoder.feature_names == ("0", "1")


def test_a_fit_of_columns_answers_for_its_own_rows_by_their_names() -> None:
    rng = np.random.default_rng(1)
    n = 300
    plan = rng.choice(["free", "paid", ""], n).astype(object)
    income = np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n))
    table: dict[str, Any] = {
        "annual income": income,
        "plan": [text or None for text in plan],
        "region": rng.choice([1.0, 2.0, np.nan], n),
        "embedding": list(rng.normal(size=(n, 3))),
        "member": rng.random(n) < 0.5,
    }
    result = fit_columns(table, 4, categories=["plan", "region"], impute="median", seed=3)
    encoder = result.module.encoder
    assert encoder is not None
    assert encoder.feature_names == (
        "annual income",
        *("plan=free", "plan=paid", "region=1", "region=2"),
        *("embedding[0]", "embedding[1]", "embedding[2]", "member"),
    )
    region = [("" if np.isnan(each) else f"{each:.0f}") for each in table["region"]]
    tensors = [
        tf.constant(income, tf.float32),
        tf.constant(plan),
        tf.constant(region),
        tf.constant(np.stack(table["embedding"]), tf.float32),
        tf.constant(table["member"], tf.float32),
    ]
    for name, function in result.module.column_signatures().items():
        answers = function(*tensors)
        points = encode_arrays(encoder, [each.numpy() for each in tensors])
        expected = getattr(result.module, name.removesuffix("_columns"))(tf.constant(points))
        for output, values in expected.items():
            np.testing.assert_array_equal(answers[output].numpy(), values.numpy())
    (column,) = [each for each in encoder.columns if each.name == "annual income"]
    assert isinstance(column, NumberColumn)
    assert column.fill == pytest.approx(np.nanmedian(income))


def test_a_mean_does_not_depend_on_the_order_of_the_rows() -> None:
    values = np.random.default_rng(2).normal(1e6, 1, 1000)
    fills = set()
    for order in (values, values[::-1], np.sort(values)):
        encoder, _ = fit_encoder({"x": [*order, np.nan]}, impute="mean")
        (column,) = encoder.columns
        assert isinstance(column, NumberColumn)
        fills.add(column.fill)
    assert len(fills) == 1


def test_a_missing_number_without_imputing_is_refused_by_the_fit() -> None:
    with pytest.raises(NonFinitePoint):
        fit_columns({"x": [1.0, np.nan, 3.0]}, 2)


def test_an_unknown_category_has_a_feature_of_its_own_when_asked() -> None:
    table = {"x": [1.0, 2.0, 3.0], "plan": ["a", "", "b"]}
    encoder, arrays = fit_encoder(table, categories=["plan"], unknown="category")
    assert encoder.feature_names == ("x", "plan=a", "plan=b", "plan=(unknown)")
    points = encode_arrays(encoder, [np.zeros(3, "f4"), np.array(["b", "", "c"], object)])
    np.testing.assert_array_equal(points[:, 1:], [[0, 1, 0], [0, 0, 1], [0, 0, 1]])
    assert len(arrays) == 2


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        ([1, 2], ("1", "2")),
        ([1.0, np.nan, 2.5], ("1", "2.5")),
        ([True, False], ("false", "true")),
        (["NA", "Namibia", None], ("NA", "Namibia")),
        ([b"x", "y"], ("x", "y")),
    ],
)
def test_the_values_of_a_category_are_spelled_in_one_way(
    values: list[Any], spelled: tuple[str, ...]
) -> None:
    encoder, _ = fit_encoder({"c": values}, categories=["c"])
    (column,) = encoder.columns
    assert isinstance(column, CategoryColumn)
    assert column.values == spelled


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            {"x": [1.0], "c": ["a"]},
            {},
            "column 'c' has the text 'a' in row 0, which is not numeric; give numbers, leave",
        ),
        ({"x": [1.0, 2.0], "y": [1.0]}, {}, "column 'y' has 1 rows, and 'x' has 2; give as many"),
        (
            {"v": [[1.0], [1.0, 2.0]]},
            {},
            "column 'v' has 2 numbers in row 1, and 1 number in row 0; give rows of one length",
        ),
        ({"x": [None, None]}, {"impute": "mean"}, "column 'x' holds no value; leave it out"),
        ({}, {}, "there is no column; give at least one"),
        (
            {"c=a": [1.0], "c": ["a"]},
            {"categories": ["c"]},
            "two features are named 'c=a'; rename a column",
        ),
        (np.ones((3, 2)), {}, "the table has type ndarray; give a data frame"),
        (
            {"c": [str(each) for each in range(1001)]},
            {"categories": ["c"]},
            "column 'c' has 1,001 values, and a category may have 1,000",
        ),
    ],
)
def test_columns_that_are_none_are_refused_by_name(
    table: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidColumns, match=re.escape(message)):
        fit_encoder(table, **options)


def test_a_category_that_is_no_column_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="categories name 'plan', which is not a column"):
        fit_encoder({"x": [1.0]}, categories=["plan"])


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "ß" * 501])
def test_a_name_that_no_file_can_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidColumns, match="give a name of 1 to 1,000 bytes in UTF-8"):
        Encoder([NumberColumn(name)])


def test_a_missing_number_that_nothing_fills_is_named_by_its_column() -> None:
    table = {"age": [1.0, np.nan, 3.0, 4.0], "income": [1.0, 2.0, 3.0, 5.0]}
    with pytest.raises(NonFinitePoint, match=r"row 1, column 0 \('age'\); .*impute='mean' fills"):
        fit_columns(table, 2)
