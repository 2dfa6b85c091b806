"""Numbers and times as people write them."""

import math


def format_number(value: float | None, digits: int = 4) -> str:
    """Format a number with at least these significant digits: 148,203, 0.01234; "-" for None.

    From a trillion on, and below a ten-thousandth, with an exponent.
    """
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if not 1e-4 <= size < 1e12:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def format_mean(mean: float, *, is_share: bool) -> str:
    """Format the mean of a feature; a share of rows in percent."""
    return f"{mean:.1%}" if is_share else format_number(mean)


def format_time(created: str) -> str:
    """The time of a card, UTC in ISO 8601, to the minute: 2026-11-28 14:05 UTC."""
    return f"{created[:16].replace('T', ' ')} UTC"
