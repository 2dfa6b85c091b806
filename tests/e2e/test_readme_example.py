"""The first example of README.md goes from a frame to a version that answers as the fit did."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import PublishedVersion, versions
from scripts.documented_commands import ROOT

pytestmark = pytest.mark.slow


def test_the_first_example_ends_in_a_version_that_answers_as_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = re.findall(r"```.*?\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {}
    exec(example, names)
    assert versions("models/first") == (1,)
    version: PublishedVersion = names["version"]
    assert version.card.feature_names == tuple(names["frame"].columns)
    assignments = version.assign(names["frame"]).cluster_index
    np.testing.assert_array_equal(assignments, names["model"].labels_)
    assert "ModelCard(model='first'" in capsys.readouterr().out
