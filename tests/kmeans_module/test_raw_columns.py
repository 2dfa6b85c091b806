"""A table gives the columns of a model by name, whatever library made it."""

import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn
from kmeans_module.errors import InvalidColumns
from kmeans_module.raw_columns import is_table, named_columns, read_columns

COLUMNS: list[Column] = [
    NumberColumn("annual income"),
    CategoryColumn("class", ("a",)),
    VectorColumn("1st", 2),
]
INCOME: list[Any] = [1.5, None, 3.0]
CLASS = ["a", None, "b"]
VECTORS = [[1.0, 2.0], None, [3.0, 4.0]]
MAPPING = {"1st": VECTORS, "other": [0, 0, 0], "class": CLASS, "annual income": INCOME}

TABLES = {
    "mapping": MAPPING,
    "pandas": pd.DataFrame(MAPPING),
    "pandas-objects": pd.DataFrame(MAPPING, dtype=object),
    "pandas-nullable": pd.DataFrame(MAPPING).astype(
        {"annual income": "Float64", "class": "string"}
    ),
    "pandas-categorical": pd.DataFrame(MAPPING).astype({"class": "category"}),
    "pandas-arrow": pd.DataFrame(
        {
            "annual income": pd.Series(INCOME, dtype="float[pyarrow]"),
            "class": pd.Series(CLASS, dtype="string[pyarrow]"),
            "1st": pd.Series(VECTORS, dtype=pd.ArrowDtype(pa.list_(pa.float32()))),
        }
    ),
    "polars": pl.DataFrame(MAPPING),
    "polars-categorical": pl.DataFrame(MAPPING).with_columns(pl.col("class").cast(pl.Categorical)),
    "arrow": pa.table(MAPPING),
    "arrow-batch": pa.record_batch(MAPPING),
    "arrow-chunks": pa.concat_tables([pa.table(MAPPING)[:1], pa.table(MAPPING)[1:]]),
    "arrow-decimal": pa.table(
        MAPPING | {"annual income": pa.array([Decimal("1.5"), None, Decimal(3)])}
    ),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_columns_of_a_table_are_read_by_name(table: Any) -> None:
    assert is_table(table)
    income, plans, vectors = read_columns(COLUMNS, table)
    np.testing.assert_array_equal(income, np.array([1.5, np.nan, 3], "f4"))
    assert plans.tolist() == ["a", "", "b"]
    np.testing.assert_array_equal(vectors, np.array([[1, 2], [np.nan, np.nan], [3, 4]], "f4"))
    assert income.dtype == vectors.dtype == np.float32


def test_labels_that_are_no_texts_are_names_too() -> None:
    frame = pd.DataFrame([[1.0, "a"]])
    assert list(named_columns(frame)) == ["0", "1"]
    number, text = read_columns([NumberColumn("0"), CategoryColumn("1", ())], frame)
    assert (number.tolist(), text.tolist()) == ([1.0], ["a"])
    assert list(named_columns({0: [1]})) == ["0"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"annual_income": [1.0], "class": ["a"]}, "'annual income', which the model takes; did"),
        (pl.LazyFrame(MAPPING), "the table has type LazyFrame; give a data frame, an Arrow"),
        (pd.Series(CLASS, name="class"), "the table has type Series; give a data frame"),
        ([{"class": "a"}], "the table has type list; give a data frame"),
        (pd.DataFrame([["a", "b"]], columns=["class", "class"]), "two columns are named 'class'"),
        ({1: ["a"], "1": ["b"]}, "two columns are named '1'; rename one"),
        (MAPPING | {"annual income": ["1", "2", "3"]}, "'annual income' has the text '1' in row 0"),
        (
            MAPPING | {"annual income": [1.0]},
            "column 'class' has 3 rows, and 'annual income' has 1",
        ),
        (MAPPING | {"1st": [[1.0]] * 3}, "column '1st' has shape (3, 1), and the model takes vec"),
        (MAPPING | {"annual income": VECTORS}, "has shape (3, 2), and the model takes numbers"),
        (MAPPING | {"class": VECTORS}, "column 'class' holds [1.0, 2.0], which is not a category"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_the_name_of_the_column(
    table: Any, message: str
) -> None:
    with pytest.raises(InvalidColumns, match=re.escape(message)):
        read_columns(COLUMNS, table)
