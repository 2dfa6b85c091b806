"""Numbers and times as people write them."""

import math
from typing import Final

_RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

#: A share this close to 0 or 1 is 0 or 1, apart from rounding.
_ROUNDING: Final = 1e-12


def format_number(value: float | None, digits: int = 4) -> str:
    """Format a number with at least these significant digits: 148,203, 0.01234; "-" for None.

    From a trillion on, and below a ten-thousandth, by a power of ten, with raised digits.
    """
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    if math.isinf(value):
        return str(value)
    if not 1e-4 <= size < 1e12:
        front, _, power = f"{value:.{digits - 1}e}".partition("e")
        if "." in front:
            front = front.rstrip("0").rstrip(".")
        return f"{front} \N{MULTIPLICATION SIGN} 10{str(int(power)).translate(_RAISED)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def format_count(number: int, noun: str = "row") -> str:
    """Format a number of rows: 1 row, 2,000 rows."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_share(share: float, decimals: int = 1) -> str:
    """Format a share in percent: 35.9%; "<0.1%" if almost 0, ">99.9%" if almost 1; "-" for NaN.

    Only a share of 0 is 0.0%, and only a share of 1 is 100.0%.
    """
    if math.isnan(share):
        return "-"
    least = 10.0**-decimals
    percent = f"{share:.{decimals}%}"
    if float(percent[:-1]) == 0 and abs(share) > _ROUNDING:
        return f"<{least:.{decimals}f}%"
    if float(percent[:-1]) == 100 and abs(1 - share) > _ROUNDING:
        return f">{100 - least:.{decimals}f}%"
    return percent


def format_mean(mean: float, *, is_share: bool) -> str:
    """Format the mean of a feature; a share of rows in percent."""
    return format_share(mean) if is_share else format_number(mean)


def format_time(created: str) -> str:
    """The time of a card, UTC in ISO 8601, to the minute: 2026-11-28 14:05 UTC."""
    return f"{created[:16].replace('T', ' ')} UTC"
