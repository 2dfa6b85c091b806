"""The bar shows the iterations of a fit."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from kmeans_module import fit
from serving import ProgressBar


def shown(width: int = 100) -> tuple[Console, StringIO]:
    text = StringIO()
    return Console(file=text, width=width, force_terminal=True), text


def test_a_fit_shows_its_starts_and_ends_at_the_whole() -> None:
    console, text = shown()
    points = np.random.default_rng(0).normal(size=(200, 2))
    with ProgressBar(console) as bar:
        fit(points, 3, n_init=2, on_iteration=bar)
    assert "start 2 of 2, iteration" in text.getvalue()
    assert "100%" in text.getvalue()


def test_a_fit_that_fails_leaves_the_bar_where_it_was() -> None:
    console, text = shown()
    with pytest.raises(ValueError, match="n_clusters is 0"), ProgressBar(console) as bar:
        fit(np.zeros((3, 2)), 0, on_iteration=bar)
    assert "100%" not in text.getvalue()
