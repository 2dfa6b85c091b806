"""Common words of messages about files of rows."""

import numpy as np


def format_count(number: int, noun: str) -> str:
    """Format a count, such as "1 row" and "1,200 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe_not_finite(value: float) -> str:
    """Describe an invalid number: missing, infinite or too large."""
    if np.isnan(value):
        return "is missing"
    return "is infinite" if np.isinf(value) else f"{value:g} is more than float32 can hold"


def format_bytes(count: int) -> str:
    """Format bytes, such as "640 MB" and "6.4 GB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            digits = 1 if count < 10 * size else 0
            return f"{count / size:,.{digits}f} {unit}"
    return f"{count / 1000:.0f} kB"
