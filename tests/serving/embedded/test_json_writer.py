"""Numbers and quoted values are written as TF Serving writes them."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded.json_parser import read_json
from serving.embedded.json_writer import (
    float_texts,
    leaf_texts,
    many_lines,
    quote_value,
    single_line,
    string_text,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.5, "0.5"),
        (1 / 3, "0.333333343"),
        (0.1, "0.1"),
        (9000000.0, "9e+06"),
        (999999.0, "999999.0"),
        (9999999.0, "9999999.0"),
        (16777216.0, "16777216.0"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555557.5, "555557.5"),
        (1e20, "1e+20"),
        (3.4e38, "3.4e+38"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (1e-45, "0.0"),
        (-1e-45, "-0.0"),
    ],
)
def test_float32(value: float, text: str) -> None:
    assert float_texts(np.array([value], np.float32)) == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [(1 / 3, "0.33333333333333331"), (0.1, "0.1"), (1e6, "1e+06"), (5e-324, "0.0")],
)
def test_float64(value: float, text: str) -> None:
    assert float_texts(np.array([value])) == [text]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_float32_texts_give_the_same_numbers_again(values: list[float]) -> None:
    array = np.array(values, np.float32)
    normal = np.where(np.abs(array) < np.finfo(np.float32).smallest_normal, 0, array)
    assert [np.float32(text) for text in float_texts(array)] == normal.tolist()


@given(st.text())
def test_strings_are_json(value: str) -> None:
    assert json.loads(string_text(value)) == value


def test_only_what_must_be_is_escaped() -> None:
    assert string_text('ä"\\/\n\x00\x7f') == '"ä\\"\\\\/\\n\\u0000\x7f"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}', '{\n    "a": 1\n}'),
        (b"{}", "{}"),
        (b"[1, [2.5, null], []]", "[1, [2.5, null], []]"),
        (b'[{"a": true}]', '[{\n        "a": true\n    }]'),
        (b'{"a": {"b": [false]}, "c": "d"}', None),
        (b"1.5", "1.5"),
        (b"1.23456789", "1.23456789"),
        (b"1e300", "1e300"),
        (b"[1e300, 1.23456789, 1e21, 1e20]", "[1e300, 1.23456789, 1e21, 100000000000000000000.0]"),
        (b"[1e-7, 0.000001, 123456.5e-12]", "[1e-7, 0.000001, 1.234565e-7]"),
        (b"[1, NaN, 2]", "[1, "),  # the writer has no word for it and stops
    ],
)
def test_quoted_values_are_pretty_with_arrays_in_one_line(text: bytes, said: str | None) -> None:
    nested = '{\n    "a": {\n        "b": [false]\n    },\n    "c": "d"\n}'
    assert quote_value(read_json(text)) == (nested if said is None else said)


def test_quoted_values_are_cut_near_256_bytes() -> None:
    said = quote_value(read_json(b"[" + b"12345678, " * 100_000 + b"1]"))
    assert 256 <= len(said) < 256 + 10
    assert said.startswith("[12345678, 12345678, ")


def test_a_string_in_a_quoted_value_is_never_cut() -> None:
    long = "x" * 5_000_000
    assert quote_value(["a", long, "b"]) == f'["a", "{long}"'


def test_quoting_a_deep_value_needs_no_stack() -> None:
    assert len(quote_value(read_json(b"[" * 100_000 + b"]" * 100_000))) == 256


@pytest.mark.parametrize(
    ("shape", "texts"),
    [
        ((3,), ["0", "1", "2"]),
        ((2, 2), ["[0, 1]", "[2, 3]"]),
        ((1, 2, 2), ["[[0, 1], [2, 3]]"]),
        ((0, 2), []),
        ((2, 0), ["[]", "[]"]),
        ((1, 2, 0, 3), ["[[], []]"]),
    ],
)
def test_rows_have_their_arrays_in_one_line(shape: tuple[int, ...], texts: list[str]) -> None:
    values = [str(number) for number in range(math.prod(shape))]
    assert single_line(values, shape) == texts


def test_columns_have_a_value_a_line() -> None:
    assert many_lines(iter(["1", "2"]), (2, 1), 1) == (
        "[\n        [\n            1\n        ],\n        [\n            2\n        ]\n    ]"
    )
    assert many_lines(iter(["1"]), (), 1) == "1"
    assert many_lines(iter([]), (0, 3), 1) == "[]"


@pytest.mark.parametrize("dtype", ["float16", "complex64", "complex128"])
def test_a_dtype_without_json_has_the_texts_of_no_values(dtype: str) -> None:
    assert leaf_texts(np.zeros((2, 0), dtype), as_bytes=False, level=1) == []
    assert leaf_texts(np.zeros(1, dtype), as_bytes=False, level=1) is None
