"""A version trained now is published beside one of 0.1.0, compared with it, and goes live."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODELS, PUBLISHED, TRAIN_OPTIONS

pytestmark = pytest.mark.slow

ROWS = PUBLISHED / "rows.csv"


@pytest.mark.parametrize("name", MODELS)
def test_a_version_alike_passes_the_gate_is_compared_and_goes_live_and_back(
    models: Path, name: str, run_json: Callable[..., Any]
) -> None:
    base = models / name
    command = ["train", ROWS, "--clusters", 3, "--n-init", 3, *TRAIN_OPTIONS[name]]
    said = run_json(*command, "--model", base)
    assert said["version"] == 2
    assert said["comparison"]["live_version"] == 1
    assert said["comparison"]["rows_kept"] > 0.99

    compared = run_json("compare", base / "1", base / "2")
    assert compared["rows"] == 342
    assert compared["adjusted_rand_index"] > 0.98
    assert sorted(pair["before"] for pair in compared["match"]) == [0, 1, 2]

    labels = [row["labels"] for row in run_json("versions", base)["versions"]]
    assert labels == [["stable"], []]
    moves = run_json("promote", base, 2, "--poll-interval", 0)["moves"]
    assert moves == [{"label": "stable", "from": 1, "to": 2}]
    moves = run_json("rollback", base, "--poll-interval", 0)["moves"]
    assert moves == [{"label": "stable", "from": 2, "to": 1}]


@pytest.mark.parametrize("name", MODELS)
def test_inspect_shows_the_version_its_card_and_its_signatures(
    models: Path, name: str, run_json: Callable[..., Any]
) -> None:
    shown = run_json("inspect", models / name, 1)
    card = json.loads((models / name / "1/assets.extra/model_card.json").read_text())
    assert shown["version"] == 1
    assert card.items() >= {"package_version": "0.1.0", "model": name}.items()
    assert shown["card"].items() >= {key: card[key] for key in ("clusters", "inertia")}.items()
    assert shown["signatures"]["assign"] == {
        "inputs": {"points": {"dtype": "float32", "shape": [-1, 4]}},
        "outputs": {
            "cluster_index": {"dtype": "int32", "shape": [-1]},
            "distance": {"dtype": "float32", "shape": [-1]},
        },
    }


@pytest.mark.parametrize("name", MODELS)
def test_report_draws_a_page_of_the_version(
    models: Path, name: str, tmp_path: Path, run: Callable[..., str]
) -> None:
    page = tmp_path / "page.html"
    run("report", models / name, 1, "--out", page)
    text = page.read_text()
    assert f"{name}, version 1" in text
    # An imported model has no history and no distances to draw; each of two features has a chart.
    assert text.count("<svg") == (7 if name == "imported" else 9)
