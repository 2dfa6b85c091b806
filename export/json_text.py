"""JSON that comes from a file, which anybody may have written. Imports no TensorFlow."""

import json
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value that a text holds; ``parse_constant`` makes one of NaN and infinities.

    Raises ValueError for what is no JSON, and for what is nested deeper than can be read.
    """
    try:
        return json.loads(text, parse_int=_parse_int, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parse_int(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # Python's words are of its own settings
        raise ValueError(f"it holds a number of {len(digits):,} digits") from None
