"""Suggestions for unknown names."""

from collections.abc import Iterable
from difflib import get_close_matches


def find_near_name(name: str, there: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: a suggestion, if there is one."""
    near = get_close_matches(name, list(there), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
