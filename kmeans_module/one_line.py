"""Results with a repr of one line, and a table in a notebook."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from typing import Any, Final

import numpy as np

#: The longest text that is not shortened.
_LONGEST: Final = 60

#: For a mapping with more entries, only their number is shown.
_MOST_ENTRIES: Final = 8


class OneLine:
    """A dataclass whose repr is one line, even with large arrays.

    ``@dataclass(repr=False)`` leaves the repr to this class.
    """

    def _shown(self) -> Mapping[str, Any]:
        """The shown values by name: all fields, unless a subclass overrides it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shorten(value)}" for name, value in self._shown().items())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        """The same values as an HTML table for Jupyter."""
        rows = [(name, _shorten(value)) for name, value in self._shown().items()]
        return html_table(type(self).__name__, (), rows)


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table with a title; cells are text, and are escaped."""

    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    head = f"<thead>{line(header, 'th')}</thead>" if header else ""
    body = "".join(line(cells, "td") for cells in rows)
    return f"<table><caption>{escape(title)}</caption>{head}<tbody>{body}</tbody></table>"


def _shorten(value: Any) -> str:
    """Shorten a value: an array to its dtype and shape, a long list to its length."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, Mapping) and len(value) <= _MOST_ENTRIES:
        return "{" + ", ".join(f"{name!r}: {_shorten(each)}" for name, each in value.items()) + "}"
    text = repr(value)
    if len(text) <= _LONGEST and "\n" not in text:
        return text
    if isinstance(value, str):
        return f"{value[:_LONGEST]!r}..."
    kind = type(value).__name__
    return f"<{kind} of {len(value)}>" if isinstance(value, Sequence | Mapping) else f"<{kind}>"
