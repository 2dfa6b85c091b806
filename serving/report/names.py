"""Format names of features and columns for a page."""

from typing import Final

from export.feature_names import show_name

_LONGEST: Final = 100
_END_OF_LONG: Final = 35


def one_line(name: str) -> str:
    """A name in one line, with other invisible characters replaced."""
    words = " ".join(name.split())
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)


def short_name(name: str) -> str:
    """A name in one line; for a long name, both ends."""
    shown = show_name(one_line(name))
    if len(shown) <= _LONGEST:
        return shown
    return f"{shown[: _LONGEST - _END_OF_LONG - 3]}...{shown[-_END_OF_LONG:]}"
