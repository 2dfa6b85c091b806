"""Names of a model's features: those of columns of vectors, and short lists for messages.

A column ``embedding`` of w numbers, w > 1, has the features ``embedding[0]`` to ``embedding[w-1]``.
"""

import re
from collections.abc import Sequence
from typing import Final

#: The most columns that a line names in full.
_SHOWN: Final = 20

#: The columns that it names if there are more.
_SHOWN_OF_MORE: Final = 12

#: The longest name that is shown whole, with what is said of it, and what is shown of the end of
#: others.
_LONGEST: Final = 300
_END_OF_LONG: Final = 100

_FIRST_OF_VECTOR: Final = re.compile(r"(.+)\[0\]", re.DOTALL)


def vector_features(column: str, width: int) -> tuple[str, ...]:
    """Return the features of a column of ``width`` numbers; for width 1, its name."""
    if width == 1:
        return (column,)
    return tuple(f"{column}[{index}]" for index in range(width))


def group_vectors(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Return columns and widths for which ``vector_features`` gives these names in this order.

    Column names are unique: if a name is also that of a vector, it is not treated as a vector.
    """
    there = set(names)
    groups: list[tuple[str, int]] = []
    start = 0
    while start < len(names):
        column, width = names[start], 1
        vector = _FIRST_OF_VECTOR.fullmatch(column)
        if vector and vector[1] not in there:
            while start + width < len(names) and names[start + width] == f"{vector[1]}[{width}]":
                width += 1
            if width > 1:
                column = vector[1]
        groups.append((column, width))
        start += width
    return tuple(groups)


def show_name(name: str) -> str:
    """Return a name for messages: control characters are escaped, long names are shortened."""
    shown = name if name.isprintable() else repr(name)
    if len(shown) <= _LONGEST:
        return shown
    return f"{shown[: _LONGEST - _END_OF_LONG - 3]}...{shown[-_END_OF_LONG:]}"


def shorten_names(names: Sequence[str]) -> str:
    """Return a short list of names for a message, with vectors such as ``embedding[768]``.

    Each name is shown by `show_name`.
    """
    shown = [
        show_name(f"{column}[{width}]" if width > 1 else column)
        for column, width in group_vectors(names)
    ]
    if len(shown) <= _SHOWN:
        return ", ".join(shown)
    return f"{', '.join(shown[:_SHOWN_OF_MORE])} and {len(shown) - _SHOWN_OF_MORE:,} more"


def join_names(names: Sequence[str]) -> str:
    """Join names in a sentence: "a", "a and b", "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
