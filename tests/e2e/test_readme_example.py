"""The example of README.md that goes from a fit to a version runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import PublishedVersion, versions
from scripts.documented_commands import ROOT

pytestmark = pytest.mark.slow


def test_the_example_from_a_fit_to_a_loaded_version_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "publish_fit" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names: dict[str, Any] = {}
    exec(example, names)
    assert versions("models/customers") == (1,)
    customers: PublishedVersion = names["customers"]
    assert customers.card.feature_names == tuple(names["frame"].columns)
    np.testing.assert_array_equal(
        customers.assign(names["frame"]).cluster_index, names["result"].assignments
    )
