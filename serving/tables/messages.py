"""Words that messages about files of rows have in common."""

import numpy as np


def format_count(number: int, noun: str) -> str:
    """As in "1 row" and "1,200 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def describe_not_finite(value: float) -> str:
    """Why a number of a row is none that a model takes: it is missing, infinite or too large."""
    if np.isnan(value):
        return "is missing"
    return "is infinite" if np.isinf(value) else f"{value:g} is more than float32 can hold"


def format_bytes(count: int) -> str:
    """As in "640 MB" and "6.4 GB"."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            digits = 1 if count < 10 * size else 0
            return f"{count / size:,.{digits}f} {unit}"
    return f"{count / 1000:.0f} kB"
