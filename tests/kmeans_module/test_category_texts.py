"""A value of a category is the same text whatever holds it, or is refused by name."""

import datetime
import enum
import re
import uuid
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kmeans_module.category_texts import read_texts
from kmeans_module.errors import InvalidColumns

TEXTS = ["a", None, "größe", "", "NA", "01.0"]
WHOLE = [1, None, 30]


class Plan(enum.Enum):
    FREE = "free"


class TextPlan(str, enum.Enum):  # noqa: UP042 - what older code has
    FREE = "free"


def chunked(kind: Any, *chunks: list[Any]) -> Any:
    return pa.chunked_array([pa.array(each, kind) for each in chunks], kind)


@pytest.mark.parametrize(
    "values",
    [
        TEXTS,
        np.array(TEXTS, object),
        np.array(TEXTS, np.dtypes.StringDType(na_object=None)),
        np.ma.array(
            ["a", "hidden", "größe", "", "NA", "01.0"],
            mask=[False, True, False, False, False, False],
        ),
        pd.Series(TEXTS),
        pd.Series(TEXTS, dtype=object),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pl.Series(TEXTS, dtype=pl.Enum(["", "01.0", "NA", "a", "größe"])),
        chunked(pa.large_string(), TEXTS[:2], TEXTS[2:]),
        chunked(pa.string_view(), TEXTS),
        # Each chunk has a dictionary of its own.
        chunked(pa.dictionary(pa.int8(), pa.string()), TEXTS[:2], TEXTS[2:3], TEXTS[3:]),
        [None if text is None else text.encode() for text in TEXTS],
    ],
    ids=lambda values: f"{type(values).__module__}-{getattr(values, 'dtype', '')}",
)
def test_texts_are_taken_as_they_are_and_none_is_the_empty_one(values: Any) -> None:
    assert read_texts("c", values).tolist() == ["a", "", "größe", "", "NA", "01.0"]


@pytest.mark.parametrize(
    "values",
    [
        WHOLE,
        [1.0, np.nan, 30.0],
        [np.int8(1), pd.NA, np.float32(30)],
        [Decimal("1.00"), Decimal("NaN"), Decimal("3E+1")],
        np.array([1.0, np.nan, 30.0], "f4"),
        np.ma.array([1, 2, 30], mask=[False, True, False]),
        pd.Series(WHOLE, dtype="Int64"),
        pd.Series(WHOLE, dtype="int64[pyarrow]"),
        pd.Series(WHOLE),
        pd.Series(WHOLE, dtype="category"),
        pl.Series(WHOLE),
        pl.Series(WHOLE, dtype=pl.Float32),
        chunked(pa.int8(), WHOLE[:1], WHOLE[1:]),
        chunked(pa.float64(), WHOLE),
        chunked(pa.decimal128(9, 3), WHOLE),
        chunked(pa.dictionary(pa.int8(), pa.float32()), WHOLE),
    ],
    ids=lambda values: f"{type(values).__module__}-{getattr(values, 'dtype', '')}",
)
def test_whole_numbers_are_spelled_alike_whatever_type_they_have(values: Any) -> None:
    assert read_texts("c", values).tolist() == ["1", "", "30"]


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        ([True, None, False], ["true", "", "false"]),
        (pd.Series([True, None, False], dtype="boolean"), ["true", "", "false"]),
        (np.array([True, False]), ["true", "false"]),
        (pa.array([True, None]), ["true", ""]),
        ([1, True, 1.0, "1.0", "True"], ["1", "true", "1", "1", "true"]),
        (np.array([0.1], "f4"), ["0.1"]),
        (np.array([0.1]), ["0.1"]),
        (pa.array([0.1], pa.float32()), ["0.1"]),
        ([Decimal("1.50")], ["1.5"]),
        (np.array([-0.0, np.inf]), ["0", "inf"]),
        ([datetime.date(2026, 11, 28), None], ["2026-11-28", ""]),
        (np.array(["2026-11-28", "NaT"], "M8[D]"), ["2026-11-28", ""]),
        (pa.array([datetime.date(2026, 11, 28)]), ["2026-11-28"]),
        (pl.Series([datetime.date(2026, 11, 28)]), ["2026-11-28"]),
        ([TextPlan.FREE], ["free"]),
        ([Plan.FREE], ["Plan.FREE"]),
        ([uuid.UUID(int=1)], ["00000000-0000-0000-0000-000000000001"]),
        ([Fraction(1, 3)], ["1/3"]),
        (pa.nulls(2), ["", ""]),
        ([], []),
        (pa.chunked_array([], pa.string()), []),
    ],
)
def test_other_values_have_one_spelling(values: Any, spelled: list[str]) -> None:
    assert read_texts("c", values).tolist() == spelled


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", ["b"]], "column 'c' holds ['b'], which is not a category; give one value per row"),
        (
            [("a", "b")],
            "column 'c' holds ('a', 'b'), which is not a category; give one value per row",
        ),
        ([frozenset("a")], "column 'c' holds frozenset({'a'}), which is not a category; give one"),
        (
            pd.cut(pd.Series([0.5]), [0, 1]),
            "column 'c' holds Interval(0, 1, closed='right'), which is not a category; give its",
        ),
        ([1j], "column 'c' holds 1j, which is not a category; give its text"),
        ([{"a": 1}], "column 'c' holds {'a': 1}, which is not a category"),
        ([Decimal("sNaN")], "column 'c' holds Decimal('sNaN'), which is not a category"),
        (np.ones((2, 1)), "column 'c' has shape (2, 1); give one value per row"),
        (pa.array([["a"]]), "column 'c' has type list<item: string>; give one value per row"),
        (pa.array([{"a": 1}]), "column 'c' has type struct; give one value per row"),
        (pl.Series(["a"], dtype=pl.Object), "column 'c' has type fixed_size_binary[8]; give text"),
        ("abc", "column 'c' has type str; give one value per row"),
        ((each for each in "ab"), "column 'c' has type generator; give one value per row"),
        ([b"\xff"], "column 'c' holds b'\\xff', which is not UTF-8; give text"),
        (["\ud800"], "column 'c' holds '\\ud800', which is not UTF-8; give text"),
        (
            pd.Series(pd.to_datetime(["2026-11-28"])).astype("M8[ns]"),
            "column 'c' holds np.datetime64('2026-11-28T00:00:00.000000000'), but timestamps "
            "have no single spelling; convert them to text",
        ),
        (pa.array([datetime.timedelta(1)]), "column 'c' holds datetime.timedelta(days=1), but"),
    ],
)
def test_what_has_no_one_spelling_is_refused_by_name(values: Any, message: str) -> None:
    with pytest.raises(InvalidColumns, match=re.escape(message)):
        read_texts("c", values)
