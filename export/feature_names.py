"""Names of a model's features: those of a column of vectors, and how many are shown short.

A column ``embedding`` of w numbers, w > 1, is the features ``embedding[0]`` to ``embedding[w-1]``.
"""

import re
from collections.abc import Sequence
from typing import Final

#: Columns that a line names at most.
_SHOWN: Final = 20

#: Those that it names where there are more.
_SHOWN_OF_MORE: Final = 12

#: The longest name that is shown whole, with what is said of it, and what is shown of the end of
#: others.
_LONGEST: Final = 300
_END_OF_LONG: Final = 100

_FIRST_OF_VECTOR: Final = re.compile(r"(.+)\[0\]", re.DOTALL)


def vector_features(column: str, width: int) -> tuple[str, ...]:
    """The features of a column of ``width`` numbers; of one number, it is the column's own name."""
    if width == 1:
        return (column,)
    return tuple(f"{column}[{index}]" for index in range(width))


def group_vectors(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Columns and their widths, for which ``vector_features`` gives these names in this order.

    No two columns have one name: where a name is also that of a vector, there is no vector.
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
    """A name for people: what a terminal would obey is escaped, and of a long one both ends."""
    shown = name if name.isprintable() else repr(name)
    if len(shown) <= _LONGEST:
        return shown
    return f"{shown[: _LONGEST - _END_OF_LONG - 3]}...{shown[-_END_OF_LONG:]}"


def shorten_names(names: Sequence[str]) -> str:
    """Names for a line that is read: vectors as in ``embedding[768]``, and not too many.

    Each is shown as `show_name` does.
    """
    shown = [
        show_name(f"{column}[{width}]" if width > 1 else column)
        for column, width in group_vectors(names)
    ]
    if len(shown) <= _SHOWN:
        return ", ".join(shown)
    return f"{', '.join(shown[:_SHOWN_OF_MORE])} and {len(shown) - _SHOWN_OF_MORE:,} more"


def join_names(names: Sequence[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
