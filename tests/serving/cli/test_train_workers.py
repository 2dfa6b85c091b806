"""``train --workers``: the bytes of one process, written by the first; and what ends it."""

import json
import signal
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import load, versions
from kmeans_module import Reducer, WorkerLost
from kmeans_module.fit_checkpoint import FitCheckpoint
from kmeans_module.workers import ALONE
from serving.cli import main
from serving.cli.exit_codes import LOST, exit_code
from serving.tables.csv_beginnings import PIECE_BYTES
from tests.kmeans_module.worker_processes import config
from tests.serving.tables.row_files import write_csv

from .worker_commands import Command, Commands, Ended, run_command

pytestmark = pytest.mark.slow

_FIT: Final = ["--clusters", "3", "--seed", "3", "--n-init", "2", "--tol", "0", "--json"]
_WORKERS: Final = ["--workers", "tf-config", "--start-timeout", "100"]
_N: Final = 14_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of five row groups, and the rows behind it in three CSV files."""
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4, 3))[rng.integers(0, 4, _N)] * 2 + rng.normal(size=(_N, 3))
    points[rng.random(_N) < 0.05] = 0
    points[rng.random(_N) < 0.05, 1] = np.nan
    weight = rng.integers(0, 4, _N).astype(float)
    weight[[7, _N - 9]] = np.nan
    columns = dict(zip("xyzw", [*points.T, weight], strict=True))
    table = pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()})
    pq.write_table(table[:9000], folder / "1.parquet", row_group_size=2000)
    for number, start, stop in ((2, 9000, 9500), (3, 9500, 12_500), (4, 12_500, _N)):
        cells = np.column_stack([points, weight])[start:stop].tolist()
        rows = [["" if np.isnan(cell) else repr(cell) for cell in row] for row in cells]
        write_csv(folder / f"{number}.csv", "xyzw", rows)
    return folder


@pytest.fixture(scope="module")
def mixed(folder: Path) -> Path:
    """Categories of texts and of numbers, of which the first rows have few values, in a Parquet
    file of several row groups and a CSV file that is cut amid texts of two lines."""
    rng = np.random.default_rng(1)
    numbers = rng.normal(size=(_N, 2)).astype("f4").astype("f8") + rng.integers(0, 3, (_N, 1)) * 4
    numbers[rng.random((_N, 2)) < 0.1] = np.nan
    texts = np.array(["north", "south, by sea", 'the "west"', "two\nlines", "", "east"], object)
    plans = np.array(["1.5", "2", "NA", ""], object)
    text, plan = texts[rng.integers(0, 4, _N)], plans[rng.integers(0, 4, _N)]
    text[_N // 3 :: 7], text[-9:], plan[:4000] = "", "east", "2"
    first = pa.table(
        {
            "x": pa.array(numbers[:6000, 0], from_pandas=True),
            "y": pa.array(numbers[:6000, 1], from_pandas=True),
            "text": pa.array(text[:6000]),
            "plan": pa.array(
                [float(each) if each not in ("NA", "") else None for each in plan[:6000]]
            ),
        }
    )
    pq.write_table(first, folder / "6.parquet", row_group_size=2000)
    rows = [
        ["" if np.isnan(x) else repr(x), "" if np.isnan(y) else repr(y), name, spelled]
        for (x, y), name, spelled in zip(
            numbers[6000:].tolist(), text[6000:], plan[6000:], strict=True
        )
    ]
    for row in rows[::3]:
        row[3] = {"1.5": "1.50"}.get(row[3], row[3])
    write_csv(folder / "7.csv", ["x", "y", "text", "plan"], rows * 4)
    assert (folder / "7.csv").stat().st_size > 3 * PIECE_BYTES
    return folder


PARQUET, CSV = "1.parquet", ["2.csv", "3.csv", "4.csv"]

CASES: Final = {
    "CSV": [*CSV, "--weight-column", "w", "--standardize"],
    "one CSV, which one worker reads": ["3.csv", "--feature-weight", "x=2", "--weight-column", "w"],
    "categories and medians": [
        *("6.parquet", "7.csv", "--categories", "text,plan", "--impute", "median"),
        *("--unknown", "category"),
    ],
    "one CSV, which is cut": ["7.csv", "--by-name", "--columns", "x,y", "--distance", "cosine"],
    "means": ["7.csv", "--categories", "plan", "--impute", "mean", "--columns", "y"],
}
#: Those that one worker reads, though there are two.
WHOLE: Final = ("one CSV, which one worker reads",)


def _said(ended: Ended) -> dict[str, object]:
    return {key: value for key, value in json.loads(ended.out).items() if key not in _OF_A_RUN}


_OF_A_RUN: Final = {"seconds", "model", "version", "path", "server", "report", "tensorboard"}


def _alone(folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> Ended:
    """What one process finds on a stream."""
    monkeypatch.chdir(folder)
    ended = run_command(Command([*arguments, *_FIT, "--out-of-core", "--candidate", "c"], folder))
    assert ended.code == 0, ended.err
    return ended


def _lines(ended: Ended) -> list[str]:
    """What is said of the rows."""
    return [line for line in ended.err.splitlines() if "cache" not in line]


@pytest.mark.parametrize("case", CASES)
def test_workers_end_in_the_bytes_of_one_process_and_the_first_says_so(
    case: str, folder: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _alone(folder, monkeypatch, CASES[case])
    command = Command([*CASES[case], *_FIT, *_WORKERS, "--candidate", "c"], folder)
    with Commands() as workers:
        first, second = workers.run(command, command)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.digests == expected.digests
    assert len(expected.digests) == 1
    assert _said(first) == _said(expected)
    idle = [
        line for line in _lines(first) if line.startswith("warning: 1 of 2 workers read no row")
    ]
    assert len(idle) == (case in WHOLE)
    assert [line for line in _lines(first) if line not in idle] == _lines(expected)
    assert (second.out, second.digests, _lines(second)) == ("", [], [])


def test_the_first_of_two_workers_publishes_and_the_other_writes_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [PARQUET, *CSV, "--exclude", "w"]
    expected = _alone(folder, monkeypatch, arguments)

    def command(place: Path) -> Command:
        views = ["--report", str(place / "page.html"), "--tensorboard", str(place / "log")]
        target = ["--model", str(place / "model"), "--promote", *views]
        return Command([*arguments, *_FIT, *_WORKERS, *target], folder, is_written=True)

    # Where the other is told to write, nothing could be written.
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with Commands() as workers:
        first, second = workers.run(command(tmp_path), command(in_the_way))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert _said(first) == _said(expected)
    assert (second.out, in_the_way.read_bytes()) == ("", b"")
    said, version = json.loads(first.out), load(tmp_path / "model")
    assert (said["version"], version.version) == (1, 1)
    assert version.card.data.rows_used == said["rows_used"]
    assert version.card.data.rows_left_out == said["rows_left_out"] > 0
    assert (tmp_path / "page.html").stat().st_size > 0
    assert any((tmp_path / "log").iterdir())


def test_a_killed_worker_ends_the_other_with_143_and_the_job_goes_on_from_the_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [PARQUET, *CSV, "--columns", "x,y,z", "--distance", "cosine"]
    expected = _alone(folder, monkeypatch, arguments)
    assert len(expected.iterations) > 2
    kept = ["--checkpoint", str(tmp_path / "kept"), "--cache", str(tmp_path / "cache")]
    given = [*arguments, *_FIT, *_WORKERS, "--candidate", "c", *kept]
    with Commands() as workers:
        first = workers.start(0, Command(given, folder))
        workers.start(1, Command(given, folder, fails=(signal.SIGKILL, "reduce")))
        ended = first.hear()
        assert ended.code == 143
        lost = f"error: lost worker 1 ({workers.addresses[1]}): the fit ends on all; start all"
        assert ended.err.splitlines()[-1].startswith(lost)
    with Commands() as workers:
        first_again, second_again = workers.run(*[Command(given, folder)] * 2)
    assert (first_again.code, second_again.code) == (0, 0), first_again.err + second_again.err
    assert first_again.digests == expected.digests
    assert _said(first_again) == _said(expected)
    assert _lines(first_again) == _lines(expected)
    assert first_again.iterations[0] == 2
    for each in (first_again, second_again):
        assert "rows are in the cache" in each.err
    assert not list((tmp_path / "kept").iterdir())


def test_workers_that_were_given_other_options_or_see_other_files_are_told_apart(
    folder: Path, tmp_path: Path
) -> None:
    given = ["2.csv", *_FIT, *_WORKERS, "--candidate", "c"]
    (tmp_path / "2.csv").write_bytes((folder / "2.csv").read_bytes() + b"1,2,3,4\n")
    for other, said in (
        (Command([*given, "--standardize"], folder), "--standardize is True there and False on"),
        (Command(given, tmp_path), "file 1 is 2.csv ("),
    ):
        with Commands() as workers:
            ended = workers.run(Command(given, folder), other)
        for each in ended:
            assert each.code == 2
            (line,) = [line for line in each.err.splitlines() if line.startswith("error: ")]
            assert f"worker 1 ({workers.addresses[1]}) has other settings: {said}" in line


def test_an_error_of_a_worker_names_the_row_of_the_file_and_ends_the_other_with_it(
    tmp_path: Path,
) -> None:
    numbers = np.arange(300.0)
    numbers[250] = np.inf
    pq.write_table(pa.table({"x": numbers}), tmp_path / "rows.parquet", row_group_size=100)
    command = Command(
        ["rows.parquet", *_FIT, *_WORKERS, "--columns", "x", "--candidate", "c"], tmp_path
    )
    with Commands() as workers:
        first, second = workers.run(command, command)
    assert (first.code, second.code) == (2, 2)
    assert "rows.parquet: row 251 (counted from 1), column 'x': inf" in second.err
    assert f"worker 1 ({workers.addresses[1]}) ended by BadCell: rows.parquet: row 251" in first.err


def test_a_worker_that_never_comes_is_named_and_is_no_lost_worker(folder: Path) -> None:
    given = ["2.csv", *_FIT, "--workers", "tf-config", "--start-timeout", "0", "--candidate", "c"]
    with Commands() as workers:
        ended = workers.start(0, Command(given, folder)).hear()
        assert ended.code == 2
        absent = f"error: worker 1 ({workers.addresses[1]}) did not connect within 0 s"
        assert ended.err.splitlines()[-1].startswith(absent)


def test_a_mistake_that_the_first_worker_alone_sees_is_told_to_the_other(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    given = [str(folder / "2.csv"), *_FIT, *_WORKERS, "--candidate", "full"]
    with Commands() as workers:
        first, second = workers.run(*[Command(given, tmp_path)] * 2)
    said = "--candidate full: already exists; give a new folder"
    assert (first.code, first.err.splitlines()[-1]) == (2, f"error: {said}")
    told = f"error: worker 0 ({workers.addresses[0]}) ended by UserMistake: {said}"
    assert (second.code, second.err.splitlines()[-1]) == (2, told)


def test_a_refusal_ends_the_job_and_its_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    kept = ["--checkpoint", str(tmp_path / "kept"), "--model", str(tmp_path / "model")]
    first = ["2.csv", "--columns", "x,y", *_FIT, *kept]
    assert run_command(Command(first, folder, is_written=True)).code == 0
    assert not list((tmp_path / "kept").iterdir())
    other = [*first, *_WORKERS, "--max-share-change", "0", "--standardize"]
    with Commands() as workers:
        refused, done = workers.run(*[Command(other, folder, is_written=True)] * 2)
    assert (refused.code, done.code) == (3, 0), refused.err + done.err
    assert versions(tmp_path / "model") == (1,)
    assert not list((tmp_path / "kept").iterdir())


def test_a_version_is_not_promoted_once_a_worker_is_lost(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", config(["127.0.0.1:1"], 0))
    monkeypatch.chdir(tmp_path)

    def lose_one_at_the_second_version(_: Reducer) -> None:
        if (tmp_path / "model" / "2").exists():
            raise WorkerLost("lost worker 1")

    monkeypatch.setattr(type(ALONE), "check", lose_one_at_the_second_version)
    for version in (1, 2):
        page = ["--promote", "--report", f"{version}.html", "--model", "model"]
        given = [str(folder / "2.csv"), "--columns", "x,y", *_FIT, *_WORKERS, *page]
        ended = run_command(Command(given, tmp_path, is_written=True))
        assert ended.code == (0 if version == 1 else LOST), ended.err
    assert load(tmp_path / "model").version == 1
    assert [path.name for path in tmp_path.glob("*.html")] == ["1.html"]


def test_a_job_that_goes_on_behind_the_fit_says_what_it_says_of_the_rows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", config(["127.0.0.1:1"], 0))
    monkeypatch.chdir(folder)
    kept = ["--checkpoint", str(tmp_path / "kept"), "--candidate", str(tmp_path / "c")]
    given = ["2.csv", *_FIT, *_WORKERS, *kept]
    monkeypatch.setattr(FitCheckpoint, "remove", lambda _: None)
    begun, gone_on = [
        run_command(Command(given, folder, is_written=True)) for _ in ("begin", "go on")
    ]
    assert (begun.code, gone_on.code) == (0, 0), begun.err + gone_on.err
    assert gone_on.iterations == []
    assert "already written before a worker was lost" in gone_on.err
    assert {"features:", "left"} <= {line.split()[0] for line in begun.err.splitlines()}, begun.err
    for line in begun.err.splitlines():
        assert line in gone_on.err or "cache" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-"], "-: standard input exists on one worker only"),
        (["--seeding", "all"], "--seeding all: --workers is given"),
    ],
)
def test_what_several_workers_cannot_do_is_refused_by_name(
    options: list[str],
    said: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TF_CONFIG", config(["127.0.0.1:1"], 0))
    given = [str(folder / "2.csv"), "--clusters", "2", "--candidate", str(folder / "c")]
    assert main(["train", *given, *_WORKERS, *options]) == 2
    assert f"error: {said}" in capsys.readouterr().err


def test_one_worker_alone_is_a_stream(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["2.csv", "--columns", "x,y"]
    expected = _alone(folder, monkeypatch, arguments)
    monkeypatch.setenv("TF_CONFIG", config(["127.0.0.1:1"], 0))
    alone = run_command(Command([*arguments, *_FIT, *_WORKERS, "--candidate", "c"], folder))
    assert (alone.code, alone.digests) == (0, expected.digests), alone.err
    assert _said(alone) == _said(expected)


def test_workers_are_named_by_the_variable_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    given = ["train", str(folder / "2.csv"), "--clusters", "2", "--candidate", str(folder / "c")]
    assert main([*given, *_WORKERS]) == 2
    assert "error: TF_CONFIG is not set; give" in capsys.readouterr().err
    assert main([*given, "--start-timeout", "5"]) == 2
    assert "error: --start-timeout 5: requires --workers; add it" in capsys.readouterr().err


def test_a_lost_worker_has_an_exit_code_of_its_own() -> None:
    assert exit_code(WorkerLost("lost worker 1")) == LOST == 143
