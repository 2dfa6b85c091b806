"""How the numbers of a report are written."""

import pytest

from serving.report.numbers import format_mean, format_number, format_share, format_time


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (148_200.0, 4, "148,200"),
        (148_203.4, 4, "148,203"),
        (-2_328_907.3, 4, "-2,328,907"),
        (999.96, 4, "1,000"),
        (0.1 + 0.2, 4, "0.3"),
        (0.01234567, 4, "0.01235"),
        (0.0001, 4, "0.0001"),
        (0.000012345, 4, "1.234 \N{MULTIPLICATION SIGN} 10⁻⁵"),
        (379.39214, 6, "379.392"),
        (3_656_076.2, 6, "3,656,076"),
        (2.5e12, 4, "2.5 \N{MULTIPLICATION SIGN} 10¹²"),
        (0.0, 4, "0"),
        (-0.0, 4, "0"),
        (None, 4, "-"),
        (float("nan"), 4, "-"),
        (float("inf"), 4, "inf"),
    ],
)
def test_a_number_is_written_as_people_write_it(
    value: float | None, digits: int, text: str
) -> None:
    assert format_number(value, digits) == text


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.3596, 1, "36.0%"),
        (0.0, 1, "0.0%"),
        (1.0, 0, "100%"),
        (1 - 1e-16, 1, "100.0%"),
        (0.0004, 1, "<0.1%"),
        (0.0006, 1, "0.1%"),
        (0.99951, 1, ">99.9%"),
        (0.004, 0, "<1%"),
        (0.996, 0, ">99%"),
        (float("nan"), 0, "-"),
    ],
)
def test_only_none_and_all_are_written_as_0_and_100_percent(
    share: float, decimals: int, text: str
) -> None:
    assert format_share(share, decimals) == text


def test_the_mean_of_a_share_is_written_in_percent() -> None:
    assert format_mean(0.1234, is_share=True) == "12.3%"
    assert format_mean(1234.5, is_share=False) == "1,234"


def test_a_time_is_written_to_the_minute_with_its_zone() -> None:
    assert format_time("2026-11-28T14:05:59+00:00") == "2026-11-28 14:05 UTC"
