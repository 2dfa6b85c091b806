"""Format names of features and columns for a page."""

from typing import Final

from export.feature_names import show_name

_LONGEST: Final = 100
_END_OF_LONG: Final = 35


def short_name(name: str) -> str:
    """A name with invisible characters escaped; for a long name, both ends."""
    shown = show_name(name)
    if len(shown) <= _LONGEST:
        return shown
    return f"{shown[: _LONGEST - _END_OF_LONG - 3]}...{shown[-_END_OF_LONG:]}"
