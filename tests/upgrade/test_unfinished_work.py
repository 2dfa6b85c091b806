"""Work that 0.1.0 began and did not end goes on where it was killed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.cli import main

from .conftest import BEGUN, PUBLISHED, clusters_and_distances


def test_a_batch_job_goes_on_with_the_parts_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_json: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    out, rows = Path("scored"), Path("rows.csv")
    shutil.copytree(BEGUN / "batch_score", out)
    shutil.copy(PUBLISHED / "rows.csv", rows)
    (source,) = json.loads((out / "manifest" / "job.json").read_text())["inputs"]
    os.utime(rows, ns=(source["mtime_ns"], source["mtime_ns"]))
    done = {path: path.stat().st_mtime_ns for path in sorted((out / "scored").glob("part-*"))}
    assert len(done) == 3

    command = ["batch-score", rows, "--model", PUBLISHED / "standardized", "--format", "csv"]
    command += ["--part-rows", 60, "--keep", "body_mass_g"]
    summary = run_json(*command, out)

    assert (summary["rows"], summary["scored"], summary["rejected"]) == (342, 342, 0)
    parts = sorted((out / "scored").iterdir())
    assert [path.name for path in parts] == [f"part-00000-{part:05d}.csv" for part in range(6)]
    assert {path: path.stat().st_mtime_ns for path in done} == done
    run_json(*command, "undisturbed")
    for part in parts:
        resumed = clusters_and_distances(part.read_text().splitlines())
        undisturbed = Path("undisturbed", "scored", part.name).read_text()
        clusters, distances = clusters_and_distances(undisturbed.splitlines())
        assert resumed[0] == clusters
        np.testing.assert_allclose(resumed[1], distances, rtol=1e-5)


def test_a_selection_of_k_goes_on_after_the_last_k_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (checkpoint,) = (BEGUN / "select_k").glob("[0-9a-f]*[0-9a-f].json")
    folder = tmp_path / "cache" / "tfkmeans" / "select-k"
    folder.mkdir(parents=True)
    shutil.copy(checkpoint, folder)
    expected = json.loads((BEGUN / "select_k" / "undisturbed.json").read_text())

    command = ["select-k", str(PUBLISHED / "rows.csv"), "--from", "2", "--to", "4", "--seed", "0"]
    command += ["--n-init", "2", "--resamples", "2", "--standardize", "--resume", "--json"]
    assert main(command) == 0

    said, told = capsys.readouterr()
    assert "--resume: resuming after k = 3" in told.splitlines()
    found = json.loads(said)
    # Measures that 0.1.0 did not take are None where they were not taken.
    taken = [
        {name: value for name, value in row.items() if name in expected["measured"][0]}
        for row in found["measured"]
    ]
    assert taken[:2] == expected["measured"][:2]
    assert [row["recovery"] is None for row in found["measured"]] == [True, True, False]
    # Halves of the rows have a start more than in 0.1.0: a row or two of them change clusters.
    stability = expected["measured"][2].pop("stability")
    assert taken[2].pop("stability") == pytest.approx(stability, rel=1e-3)
    assert taken[2] == pytest.approx(expected["measured"][2], rel=1e-4)
    assert found["suggestion"] == expected["suggestion"]
    assert not list(folder.iterdir())
