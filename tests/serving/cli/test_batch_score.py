"""``tfkmeans batch-score`` as a user meets it: flags, exit codes, progress, being stopped."""

import io
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.cli import main, scoring_progress
from serving.cli.scoring_progress import ScoringProgress

from .command import COMMAND, environment
from .conftest import Trained

pytestmark = pytest.mark.slow


def score(*words: object) -> int:
    return main(["batch-score", *map(str, words)])


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = [trained.csv, output, "--model", trained.base, "--keep", "name", "--dry-run"]
    assert score(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"would write {output}/scored\n")
    assert "people, version 1" in said
    assert "about 60" in said
    assert "name string, cluster_index int32, distance float" in said
    assert score(*words, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["columns"] == ["name", "cluster_index", "distance"]
    assert (plan["features"], plan["parts_done"]) == (["height", "weight"], 0)
    assert not output.exists()
    # Of a job that was begun, it says how far it is, and of another that it is another.
    assert score(*words[:-1]) == 0
    capsys.readouterr()
    assert score(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["parts_done"] == 1
    assert score(*words, "--score") == 2
    assert "--score: not given before, given now" in capsys.readouterr().err


def test_rejected_rows_are_counted_and_an_error_only_when_that_was_asked(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [trained.csv, tmp_path / "out", "--model", trained.base]
    assert score(*words) == 0
    assert f"2 (reasons: {tmp_path}/out/rejected)" in capsys.readouterr().out
    assert score(*words, "--strict") == 3
    assert score(*words, "--strict", "--on-bad-row", "fail", "--overwrite") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {trained.csv}: row 2 (line 3), column 'height': is missing")
    good = tmp_path / "good.csv"
    good.write_text("height,weight\n1,2\n")
    assert score(good, tmp_path / "strict", "--model", trained.base, "--strict") == 0


def test_files_folders_globs_and_a_limit(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.csv").write_text("height,weight\n1,2\n3,4\n")
    np.save(tmp_path / "in" / "c.npy", np.ones((3, 2)))
    found = []
    for number, (words, limit) in enumerate(
        [("in", 99), ("in/*.csv", 99), ("in/a.csv in/c.npy", 99), ("in", 5)]
    ):
        inputs = [tmp_path / word for word in words.split()]
        output = tmp_path / f"out{number}"
        code = score(*inputs, output, "--model", trained.base, "--limit", limit, "--json")
        assert code == 0
        found.append(json.loads(capsys.readouterr().out)["rows"])
    assert found == [7, 4, 5, 5]


@pytest.mark.parametrize("given", ["in", "in/**/*.parquet"])
def test_an_output_in_the_input_folder_is_not_read_by_the_next_run(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    output = tmp_path / "in" / "out"
    output.parent.mkdir()
    rows = pa.table({"height": [1.0, 3.0], "weight": [2.0, None]})
    pq.write_table(rows, tmp_path / "in" / "rows.parquet")
    # What is kept would make the output's files good inputs.
    words = [tmp_path / given, output, "--model", trained.base, "--keep", "height,weight", "--json"]
    assert score(*words) == 0
    first = json.loads(capsys.readouterr().out)
    assert score(*words) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert first["rows"] == 2
    assert score(output / "scored", *words[1:]) == 2
    assert "give another folder" in capsys.readouterr().err


def test_csv_on_standard_input_is_scored_and_gone_on_with(
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = trained.csv.read_bytes()

    def piped(given: bytes) -> int:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        return score("-", tmp_path / "out", "--model", trained.base, "--json")

    assert piped(text) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["rejected"]) == (60, 2)
    rejected = pq.read_table(tmp_path / "out" / "rejected")
    assert set(rejected["file"].to_pylist()) == {"standard input"}
    # The same text is the same job, though it lies elsewhere now; another one is not.
    assert piped(text) == 0
    assert json.loads(capsys.readouterr().out) == summary
    assert piped(text.replace(b"id0", b"id9")) == 2
    assert "standard input has changed" in capsys.readouterr().err


def test_ctrl_c_says_what_is_done_and_the_same_command_goes_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = np.random.default_rng(2).uniform(-5, 35, (1_000_000, 2)).astype(np.float32)
    np.save(tmp_path / "rows.npy", points)
    output = tmp_path / "out"
    words = [tmp_path / "rows.npy", output, "--model", trained.base, "--part-rows", 20_000]
    with subprocess.Popen(
        [*COMMAND, "batch-score", *map(str, words)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + 60
        while not list((output / "manifest").glob("part-*.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert said == ""
    *_, last_but_one, last = complaint.splitlines()
    done = len(list((output / "manifest").glob("part-*.json")))
    assert last_but_one.startswith(f"{done} part")
    assert last_but_one.endswith(f"done in {output}; the same command resumes")
    assert last == "interrupted"
    assert "Traceback" not in complaint
    assert not list((output / "scored").glob(".*"))
    assert score(*words, "--json") == 0
    captured = capsys.readouterr()
    assert f"resuming: {done} part" in captured.err
    assert json.loads(captured.out)["rows"] == len(points)
    assert pq.read_table(output / "scored").num_rows == len(points)


def test_of_a_damaged_file_it_is_said_that_a_mended_one_makes_another_job(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"height": [1.0, 3.0], "weight": [2.0, 4.0]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(20) + whole[24:])
    words = [path, tmp_path / "out", "--model", trained.base]
    assert score(*words) == 2
    *_, said, last = capsys.readouterr().err.splitlines()
    assert said == "a corrected file makes a new job, which needs --overwrite"
    assert last.startswith(f"error: {path}: cannot be read as Parquet: ")
    path.write_bytes(whole)
    assert score(*words) == 2
    assert "rows.parquet has changed" in capsys.readouterr().err
    assert score(*words, "--overwrite") == 0


class _Clock:
    """A clock that a test moves."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(scoring_progress, "time", made)
    return made


def test_without_a_terminal_there_is_a_line_of_json_now_and_then(
    clock: _Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    watch = ScoringProgress(lambda *words: told.append(words), 1_500_000)
    watch.add_earlier_rows(500_000)
    for _ in range(25):
        clock.now += 1
        watch.on_rows(10_000)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        {"event": "progress", "rows": 100_000, "rows_per_second": 10_000, "seconds_left": 90},
        {"event": "progress", "rows": 200_000, "rows_per_second": 10_000, "seconds_left": 80},
    ]
    assert told == []


@pytest.mark.parametrize(
    ("total", "words", "share"),
    [
        (3_000_000, "10,000 rows of about 3,000,000, 2,500 a second, 20 min left", 1 / 300),
        (12_500, "10,000 rows of about 12,500, 2,500 a second, 1 s left", 0.8),
        (None, "10,000 rows, 2,500 a second", None),
    ],
)
def test_on_a_terminal_the_bar_tells_rows_speed_and_time_left(
    clock: _Clock,
    monkeypatch: pytest.MonkeyPatch,
    total: int | None,
    words: str,
    share: float | None,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    told: list[tuple[str, float | None]] = []
    watch = ScoringProgress(lambda detail, share=None: told.append((detail, share)), total)
    clock.now += 4
    watch.on_rows(10_000)
    assert told == [(words, pytest.approx(share) if share is not None else None)]
