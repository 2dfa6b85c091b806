"""``inspect`` of a version with more clusters than a screen has lines."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from export import ModelCard
from export.model_card import ClusterProfile
from serving.cli import main
from tests.published_models import publish_unvalidated


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model whose card speaks of 65,536 clusters."""
    publish_unvalidated(tmp_path, "people", ("height", "weight"), rows=30, versions=1)
    base = tmp_path / "models" / "people"
    clusters = tuple(ClusterProfile(index, 3, 3 / (3 * 2**16), {}) for index in range(2**16))
    card = ModelCard.read(base / "1")
    replace(card, n_clusters=2**16, clusters=clusters).write(base / "1")
    return base


def test_of_many_clusters_a_hundred_are_shown_and_the_rest_counted(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(base)]) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) < 150
    assert "  and 65,436 more; see --json\n" in said


def test_json_has_the_sizes_of_all(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(base), "--json"]) == 0
    said = capsys.readouterr().out
    assert len(said) < 1_000_000
    assert json.loads(said)["card"]["cluster_sizes"] == [3] * 2**16


def test_the_signatures_that_a_wide_model_does_not_have_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"embedding[{index}]" for index in range(257)]
    publish_unvalidated(tmp_path, "texts", names, rows=30, versions=1)
    assert main(["inspect", str(tmp_path / "models" / "texts")]) == 0
    said = capsys.readouterr().out
    assert "    left out: classify and regress, for more than 256 columns\n" in said
    assert main(["inspect", str(tmp_path / "models" / "texts"), "--json"]) == 0
    card = json.loads(capsys.readouterr().out)["card"]
    assert card["signatures_left_out"] == ["classify", "regress"]
