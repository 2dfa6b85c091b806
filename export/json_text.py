"""Parse JSON from untrusted files. Does not import TensorFlow."""

import json
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse a JSON text; ``parse_constant`` converts NaN and infinities.

    Raises ValueError for invalid JSON, and for too deep nesting.
    """
    try:
        return json.loads(text, parse_int=_parse_int, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's message names its own settings
        raise ValueError(f"it holds a number of {len(digits):,} digits") from None
