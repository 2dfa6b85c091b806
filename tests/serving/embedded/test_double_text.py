"""Doubles are written with RapidJSON's digits, as TF Serving quotes them in messages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.embedded.double_text import double_text


@pytest.mark.parametrize(
    "text",
    [  # As a real TF Serving quoted them, longer than need be or not.
        "0.30000001192092898",
        "1e-7",
        "0.000001",
        "261698477588451660.0",
        "18446744073709553000.0",
        "-91336766794222.49",
        "2.2524510149094818e21",
        "5.4502165580635738e119",
        "4.6705199081689018e302",
        "-8.0592848146016219e-19",
        "123456.5",
        "-1.0",
        "-0.0",
    ],
)
def test_a_double_has_the_digits_that_a_real_server_wrote(text: str) -> None:
    assert double_text(float(text)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.ulp(0), "5e-324"),
        (2.0**-1022, "2.2250738585072014e-308"),
        (math.nextafter(math.inf, 0), "1.7976931348623157e308"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (2.0**60, "1152921504606847000.0"),
    ],
)
def test_the_ends_of_the_range_and_powers_of_two_are_written(value: float, text: str) -> None:
    assert double_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_is_that_double_again_in_17_digits_at_most(value: float) -> None:
    text = double_text(value)
    assert float(text) == value
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    assert len(digits) <= 17
