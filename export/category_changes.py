"""The category values that only one of two versions has."""

from collections.abc import Iterator, Sequence
from typing import Final

from kmeans_module.columns import CategoryColumn

from .model_card import ModelCard

#: The most values and columns in a line, and the most characters of a value.
_MOST_SHOWN: Final = 5
_LONGEST_VALUE: Final = 40


def describe_category_changes(before: ModelCard, after: ModelCard) -> str:
    """Describe the lost and the new values of each category that both versions take.

    Returns:
      Text such as "plan lost 'free' and has the new 'basic'"; empty if the values are the same.
    """
    changes = list(_changes(before, after))
    more = len(changes) - _MOST_SHOWN
    rest = f"; and {more:,} more columns" if more > 0 else ""
    return "; ".join(changes[:_MOST_SHOWN]) + rest


def _changes(before: ModelCard, after: ModelCard) -> Iterator[str]:
    known = {each.name: each for each in before.columns if isinstance(each, CategoryColumn)}
    for column in after.columns:
        if not isinstance(column, CategoryColumn) or column.name not in known:
            continue
        there, here = set(known[column.name].values), set(column.values)
        lost = [value for value in known[column.name].values if value not in here]
        new = [value for value in column.values if value not in there]
        said = [
            *([f"lost {_shorten(lost)}"] if lost else []),
            *([f"has the new {_shorten(new)}"] if new else []),
        ]
        if said:
            name = column.name if column.name.isprintable() else repr(column.name)
            none = " (no common value)" if lost and new and not there & here else ""
            yield f"{name} {' and '.join(said)}{none}"


def _shorten(values: Sequence[str]) -> str:
    """Return the first values, and the number of others."""
    shown = [
        repr(value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}...")
        for value in values[:_MOST_SHOWN]
    ]
    more = len(values) - _MOST_SHOWN
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
