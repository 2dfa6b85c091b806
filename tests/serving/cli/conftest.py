"""One model, trained by the command itself, for all tests of the command."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .command import run

CENTERS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 30.0]])


@dataclass(frozen=True)
class Trained:
    """A model of two columns and three clusters, and what the command said."""

    base: Path
    csv: Path
    process: subprocess.CompletedProcess[str]

    @property
    def said(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.process.stdout)
        return value


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Sixty rows around three centers, of which rows 2 and 5 have a missing value."""
    folder = tmp_path_factory.mktemp("trained")
    noise = np.random.default_rng(7).normal(scale=0.5, size=(60, 2))
    points = CENTERS[np.arange(60) % 3] + noise
    lines = [f"id{row},{x!r},{y!r}" for row, (x, y) in enumerate(points.tolist())]
    lines[1] = "id1,,3"
    lines[4] = "id4,2,NA"
    csv = folder / "rows.csv"
    csv.write_text("\n".join(["name,height,weight", *lines]) + "\n")
    base = folder / "models" / "people"
    process = run("train", csv, "--model", base, "--clusters", 3, "--seed", 5, "--json")
    assert process.returncode == 0, process.stderr
    return Trained(base, csv, process)


@pytest.fixture(scope="session")
def assigned(trained: Trained) -> str:
    """What ``assign`` prints for the rows that the model was trained on."""
    process = run("assign", trained.csv, "--model", trained.base)
    assert process.returncode == 0, process.stderr
    assert process.stderr.splitlines() == [
        "ignored 1 column: name",
        f"answered by version 1 of {trained.base}",
        "2 rows not scored (missing, infinite or out of range)",
    ]
    return process.stdout
