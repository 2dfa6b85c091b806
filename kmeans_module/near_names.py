"""The name that may be meant by one that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches


def find_near_name(name: str, there: Iterable[str]) -> str:
    """What joins a message of a name that is not there: the one that may be meant, if any."""
    near = get_close_matches(name, list(there), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
