"""A candidate that is too far from a live version of 0.1.0 is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import MODELS, PUBLISHED, TRAIN_OPTIONS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MODELS)
def test_two_clusters_where_three_are_live_are_refused_with_the_figures(
    models: Path, name: str, run_json: Callable[..., Any]
) -> None:
    base = models / name
    rows = ["train", PUBLISHED / "rows.csv", "--clusters", 2, "--n-init", 1]
    said = run_json(*rows, *TRAIN_OPTIONS[name], "--model", base, code=3)
    assert said["version"] is None
    assert "--max-inertia-rise" in said["refused"]
    assert said["comparison"]["live_version"] == 1
    assert said["comparison"]["inertia_rise"] > 0.4
    assert sorted(path.name for path in base.iterdir() if path.is_dir()) == ["1"]
