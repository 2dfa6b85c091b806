"""Fold long option names in the help, which typer would cut off."""

from rich.text import Text
from typer import rich_utils
from typer.rich_utils import NegativeOptionHighlighter, OptionHighlighter


class _FoldedOption(OptionHighlighter):
    def __call__(self, text: str | Text) -> Text:
        return _fold(super().__call__(text))


class _FoldedNegativeOption(NegativeOptionHighlighter):
    def __call__(self, text: str | Text) -> Text:
        return _fold(super().__call__(text))


def _fold(name: Text) -> Text:
    name.overflow = "fold"
    return name


def fold_long_names() -> None:
    """Make typer fold names from now on; it has no setting for this."""
    rich_utils.highlighter = _FoldedOption()
    rich_utils.negative_highlighter = _FoldedNegativeOption()
