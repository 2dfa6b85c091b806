"""``tfkmeans select-k``, as a user runs it."""

import csv
import io
import json
from pathlib import Path

import pytest

import kmeans_module
from kmeans_module import MeasuredK
from serving.cli import main
from serving.cli.selection_checkpoint import SelectionCheckpoint

from .conftest import Trained

PENGUINS = Path(__file__).resolve().parents[3] / "examples" / "penguins.csv"
MEASUREMENTS = "bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tfkmeans" / "select-k"


def test_on_penguins_it_prints_a_table_and_says_what_it_sees(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curves.json"
    command = ["select-k", str(PENGUINS), "--columns", MEASUREMENTS, "--standardize"]
    assert main([*command, "--from", "2", "--to", "5", "--out", str(out)]) == 0
    said, noted = capsys.readouterr()
    lines = said.splitlines()
    assert lines[0].split() == [
        *("k", "inertia", "silhouette", "of", "noise", "stability", "recovery"),
        *("simplified", "davies-bouldin", "calinski-harabasz"),
    ]
    assert [line.split()[0] for line in lines[1:5]] == ["2", "3", "4", "5"]
    written = json.loads(out.read_text())
    assert written["suggestion"] in (2, 3)
    marked = [line for line in lines if line.endswith("<- suggested")]
    assert [int(line.split()[0]) for line in marked] == [written["suggestion"]]
    assert lines[-1] == written["reason"]
    assert written["rows_left_out"] == 2
    assert f"wrote {out}" in noted
    assert not list(cache.glob("*"))


def test_csv_and_json_hold_the_same_measures_and_no_suggestion_is_null(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    rows = tmp_path / "noise.npy"
    np.save(rows, np.random.default_rng(0).uniform(size=(120, 2)))
    command = ["select-k", str(rows), "--to", "3", "--resamples", "2"]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["suggestion"] is None
    assert told["reason"].startswith("no k stands out")
    assert main([*command, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{name: float(cell) for name, cell in row.items()} for row in table] == told["measured"]


def test_a_stopped_selection_goes_on_with_what_it_had(
    trained: Trained,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["select-k", str(trained.csv), "--to", "4", "--resamples", "2", "--json"]
    assert main(command) == 0
    whole = json.loads(capsys.readouterr().out)

    select = kmeans_module.select_k

    def stopped(*given: object, on_measured: object, **settings: object) -> object:
        def stop_at_three(each: MeasuredK) -> None:
            on_measured(each)  # type: ignore[operator]
            if each.k == 3:
                raise KeyboardInterrupt

        return select(*given, on_measured=stop_at_three, **settings)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(kmeans_module, "select_k", stopped)
        assert main(command) == 130
    said, noted = capsys.readouterr()
    assert said == ""
    assert "stopped after k = 3; the same command with --resume continues" in noted
    assert len(list(cache.glob("*.json"))) == 1

    seen: list[int] = []

    def watched(*given: object, measured: object, **settings: object) -> object:
        seen.extend(each.k for each in measured)  # type: ignore[attr-defined]
        return select(*given, measured=measured, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(kmeans_module, "select_k", watched)
    assert main([*command, "--resume"]) == 0
    said, noted = capsys.readouterr()
    assert seen == [2, 3]
    assert "--resume: resuming after k = 3" in noted
    resumed = json.loads(said)
    assert resumed["measured"] == whole["measured"]
    assert not list(cache.glob("*.json"))


def test_a_damaged_cache_is_said_and_begun_anew(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = SelectionCheckpoint(cache / "any.json")
    cache.mkdir(parents=True)
    checkpoint.path.write_text("[{]")
    assert checkpoint.read() == ()
    assert "unreadable" in capsys.readouterr().err
