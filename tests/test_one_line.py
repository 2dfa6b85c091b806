"""Results show themselves in one line, and as a table in a notebook."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import Comparison, publish_fit
from kmeans_module import KMeans, fit, select_k
from kmeans_module.one_line import html_table
from serving import Assignment, Prediction

POINTS = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    result = fit(POINTS, 3)
    place: Path = tmp_path_factory.mktemp("one_line") / "people"
    published = publish_fit(result, POINTS, place, feature_names=["a", "b"])
    index = np.zeros(10**6, np.int32)
    return {
        "fit": result,
        "card": published.card,
        "comparison": Comparison(1, 300, 1.5, 1.25, -0.1, 0.9, 0.05),
        "selection": select_k(POINTS, 2, 3),
        "assignment": Assignment(index, index.astype(np.float32), 7),
        "prediction": Prediction({"cluster_index": index}, None),
    }


NAMES = ("fit", "card", "comparison", "selection", "assignment", "prediction")


@pytest.mark.parametrize("name", NAMES)
def test_a_repr_is_one_line(results: dict[str, Any], name: str) -> None:
    line = repr(results[name])
    assert "\n" not in line
    assert len(line) < 300


def test_a_line_says_what_there_is(results: dict[str, Any]) -> None:
    result = results["fit"]
    assert repr(result).startswith("FitResult(n_clusters=3, n_features=2, n_rows=300, inertia=")
    assert repr(results["assignment"]) == (
        "Assignment(cluster_index=int32[1000000], distance=float32[1000000], version=7)"
    )
    assert repr(results["prediction"]) == (
        "Prediction(outputs={'cluster_index': int32[1000000]}, version=None)"
    )
    assert "model='people', n_clusters=3" in repr(results["card"])


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_a_table(results: dict[str, Any], name: str) -> None:
    shown = results[name]._repr_html_()
    assert shown.startswith("<table><caption>")
    assert shown.count("<tr>") >= 2


def test_the_table_of_a_selection_has_a_line_for_each_k(results: dict[str, Any]) -> None:
    shown = results["selection"]._repr_html_()
    assert "<th>silhouette</th>" in shown
    assert shown.count("<tr>") == 3


def test_text_in_a_table_is_no_markup() -> None:
    assert "<td>&lt;b&gt;</td>" in html_table("<a>", (), [("<b>", 1)])
    assert "<caption>&lt;a&gt;</caption>" in html_table("<a>", (), [])
    assert "<td>standardize</td><td>False</td>" in KMeans(3)._repr_html_()
