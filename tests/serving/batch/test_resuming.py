"""A job can be stopped anywhere, however hard, and goes on where it was; two never mix."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.batch import assignments, output_folder, score_files
from serving.batch.errors import DamagedJob, OtherJob, OutputInUse
from serving.batch.job import Format, OnBadRow, ScoredModel
from serving.batch.job_identity import describe_differences, identify_job
from serving.batch.job_plan import plan_job
from serving.batch.output_folder import OutputFolder, PartRecord
from serving.tables.input_files import open_table
from serving.tables.reading_options import ReadingOptions
from tests.serving.tables.row_files import write_csv

from .scorers import CARD, MODEL, NumpyScorer, job_of

#: How often a run is killed: at all of them with TFKMEANS_SOAK=1, else at a tenth drawn by seed.
KILLS: Final = 50

#: What differs between two runs of the same job.
TIMES: Final = ("began", "ended", "seconds", "part_seconds", "output")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Files of rows, some bad, whose number of rows is known (npy, Parquet) or not (CSV)."""
    folder = tmp_path / "in"
    folder.mkdir()
    points = np.random.default_rng(5).uniform(-3, 13, (900, 2))
    rows: list[list[object]] = [[f"id{i}", *point] for i, point in enumerate(points.tolist())]
    for bad, value in ((3, ""), (75, "oops"), (149, "inf")):
        rows[bad][1] = value
    write_csv(folder / "a.csv", ["id", "x", "y"], rows[:280])
    plain = write_csv(tmp_path / "b.csv", ["id", "x", "y"], rows[280:500]).read_bytes()
    (folder / "b.csv.gz").write_bytes(gzip.compress(plain))
    columns = list(zip(*rows[500:], strict=True))
    table = pa.table(dict(zip(["id", "x", "y"], columns, strict=True)))
    table = table.set_column(1, "x", pa.array([None, *columns[1][1:]], pa.float64()))
    pq.write_table(table, folder / "c.parquet", row_group_size=90)
    return folder


def contents(output: Path) -> dict[str, bytes]:
    """Every file of the rows, and the names of all others."""
    return {
        str(path.relative_to(output)): path.read_bytes() if path.suffix == ".csv" else b""
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def summary_of(output: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return {name: value for name, value in summary.items() if name not in TIMES}


def _killed(inputs: Path, work: Path, points: list[int]) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.serving.batch.killed_runs", inputs, work, *map(str, points)],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def _kill_points(steps: int) -> list[int]:
    """At most 50 of the steps, spread over all, the last one among them."""
    every = sorted({1 + round(i * (steps - 1) / (KILLS - 1)) for i in range(KILLS)})
    if os.environ.get("TFKMEANS_SOAK") == "1":
        return every
    return sorted({*random.Random(5).sample(every[:-1], KILLS // 10 - 1), every[-1]})


@pytest.mark.slow
def test_a_run_killed_anywhere_is_finished_by_the_next_as_if_nothing_had_been(
    inputs: Path, tmp_path: Path
) -> None:
    (undisturbed,) = _killed(inputs, tmp_path, [])
    assert undisturbed["status"] == 0
    assert undisturbed["rows"] == undisturbed["asked"] == 900
    assert undisturbed["steps"] > 100
    whole = contents(tmp_path / "undisturbed")
    points = _kill_points(undisturbed["steps"])
    runs = _killed(inputs, tmp_path, points)
    for point, run in zip(points, runs, strict=True):
        assert (run["killed_by"], run["resumed"]) == (signal.SIGKILL, 0), point
        assert run["made_again"] == [], point
        # What was done is not asked again.
        done = sum(_rows(tmp_path / "undisturbed", name) for name in run["done"])
        assert (run["asked"], run["rows"]) == (900 - done, 900), point
        assert contents(tmp_path / f"at{point}") == whole, point
        assert summary_of(tmp_path / f"at{point}") == summary_of(tmp_path / "undisturbed"), point
    assert len({len(run["done"]) for run in runs}) > 1


def _rows(output: Path, part: str) -> int:
    record = json.loads((output / "manifest" / f"{part}.json").read_text())
    rows: int = record["tally"]["rows"]
    return rows


def test_a_job_that_is_done_is_not_done_again(inputs: Path, tmp_path: Path) -> None:
    job, tables = job_of([inputs], tmp_path / "out")
    first = score_files(job, tables, NumpyScorer())
    scorer = NumpyScorer()
    assert score_files(job, tables, scorer) == first
    assert scorer.sizes == []
    assert score_files(job, tables, scorer, overwrite=True)["rows"] == 900
    assert sum(scorer.sizes) == 900


def test_a_part_whose_file_was_cut_or_removed_is_made_again(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs], output, part_rows=100, form=Format.CSV)
    score_files(job, tables, NumpyScorer())
    whole = contents(output)
    (output / "scored" / "part-00002-00001.csv").unlink()
    (output / "scored" / "part-00002-00003.csv").write_text("cut")
    scorer = NumpyScorer()
    score_files(job, tables, scorer)
    assert sum(scorer.sizes) == 200
    assert contents(output) == whole


def test_a_part_whose_rejected_rows_were_cut_or_removed_is_made_again(
    inputs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs], output, part_rows=100, form=Format.CSV)
    first = score_files(job, tables, NumpyScorer())
    whole = contents(output)
    (output / "rejected" / "part-00002-00000.csv").unlink()
    (output / "rejected" / "part-00000-00001.csv").write_text("cut")
    scorer = NumpyScorer()
    again = score_files(job, tables, scorer)
    # Of the CSV file, what comes after is scored over too: nobody knows where that begins.
    assert sum(scorer.sizes) == 100 + 180
    assert contents(output) == whole
    assert again["rejected"] == first["rejected"] == 4


@pytest.mark.parametrize("folder", ["scored", "rejected"])
@pytest.mark.parametrize("damage", ["one byte", "another part's", "another part's with its time"])
def test_a_part_whose_file_has_other_bytes_of_the_same_size_is_made_again(
    inputs: Path, tmp_path: Path, folder: str, damage: str
) -> None:
    # The same row again and again, so that two parts have files of one size.
    rows = [["a" * 3, "", i] if i % 2 else ["b", i % 7, 5] for i in range(30)]
    path = write_csv(inputs / "a.csv", ["id", "x", "y"], rows)
    output = tmp_path / "out"
    job, tables = job_of([path], output, part_rows=10, form=Format.CSV)
    first = score_files(job, tables, NumpyScorer())
    whole = contents(output)
    one, other = (output / folder / f"part-00000-0000{part}.csv" for part in (1, 2))
    if damage == "one byte":
        one.write_bytes(one.read_bytes()[:-2] + b"?\n")
    else:
        shutil.copyfile(other, one)
        os.truncate(one, len(whole[str(one.relative_to(output))]))
        if damage.endswith("time"):
            shutil.copystat(other, one)
    assert len(one.read_bytes()) == len(whole[str(one.relative_to(output))])
    assert one.read_bytes() != whole[str(one.relative_to(output))]
    scorer = NumpyScorer()
    again = score_files(job, tables, scorer)
    # Of the CSV file, what comes after is scored over too.
    assert sum(scorer.sizes) == 20
    assert contents(output) == whole
    assert again["cluster_counts"] == first["cluster_counts"]


def test_the_record_of_another_part_is_no_record_of_this_one(inputs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs / "c.parquet"], output, part_rows=100, form=Format.CSV)
    first = score_files(job, tables, NumpyScorer())
    shutil.copy2(
        output / "manifest" / "part-00000-00002.json", output / "manifest" / "part-00000-00001.json"
    )
    scorer = NumpyScorer()
    again = score_files(job, tables, scorer)
    assert sum(scorer.sizes) == 100
    assert again["cluster_counts"] == first["cluster_counts"]


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2], ids=["new times", "same times"])
def test_a_folder_that_was_copied_is_not_scored_again_and_read_only_where_its_times_are_new(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: Callable[..., Any]
) -> None:
    job, tables = job_of([inputs], tmp_path / "out", part_rows=100)
    first = score_files(job, tables, NumpyScorer())
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=copy)
    if copy is shutil.copy2:
        monkeypatch.setattr(output_folder, "_sha256", None)
    scorer = NumpyScorer()
    again = score_files(replace(job, output=tmp_path / "copy"), tables, scorer)
    assert scorer.sizes == []
    assert again["cluster_counts"] == first["cluster_counts"]


#: What becomes of a file that its disk or somebody has damaged.
DAMAGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "cut": lambda text: text[: len(text) // 2],
    "zeros": lambda text: bytes(len(text)),
    "no text": lambda _: b"\xff\xfe\x80",
    "no object": lambda _: b"[1]",
    "an empty object": lambda _: b"{}",
    "other digits": lambda text: text.replace(b"1", b"7"),
    "another kind": lambda text: text.replace(b": {", b': "{', 1).replace(b"}", b'}"', 1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_part_whose_record_is_damaged_is_scored_again(
    inputs: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs], output, part_rows=100, form=Format.CSV)
    first = score_files(job, tables, NumpyScorer())
    whole = contents(output)
    record = output / "manifest" / "part-00002-00001.json"
    record.write_bytes(damage(record.read_bytes()))
    scorer = NumpyScorer()
    again = score_files(job, tables, scorer)
    assert sum(scorer.sizes) == 100
    assert contents(output) == whole
    assert again["cluster_counts"] == first["cluster_counts"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_note_of_the_job_is_refused_until_it_is_begun_anew(
    inputs: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs], output)
    score_files(job, tables, NumpyScorer())
    whole = contents(output)
    note = output / "manifest" / "job.json"
    note.write_bytes(damage(note.read_bytes()))
    with pytest.raises(DamagedJob) as caught:
        score_files(job, tables, NumpyScorer())
    assert str(caught.value).startswith(f"{note}: is damaged")
    assert "--overwrite" in str(caught.value)
    assert contents(output) == whole
    assert score_files(job, tables, NumpyScorer(), overwrite=True)["rows"] == 900


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_summary_is_made_anew_and_no_row_is_scored_again(
    inputs: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    output = tmp_path / "out"
    job, tables = job_of([inputs], output)
    score_files(job, tables, NumpyScorer())
    first = summary_of(output)
    path = output / "summary.json"
    path.write_bytes(damage(path.read_bytes()))
    scorer = NumpyScorer()
    score_files(job, tables, scorer)
    assert scorer.sizes == []
    assert summary_of(output) == first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": ScoredModel("customers", 3, "cd" * 32)}, ["version 2 of customers (abab", "3"]),
        ({"keep": ["id"]}, ["--keep: not given before, id now"]),
        ({"score": True}, ["--score: not given before, given now"]),
        ({"form": Format.CSV}, ["--format: parquet before, csv now"]),
        ({"limit": 7}, ["--limit: not given before, 7 now"]),
        ({"part_rows": 7}, ["--part-rows: 1048576 before, 7 now"]),
        ({"file": "touched"}, ["a.csv has changed (size was"]),
        ({"file": "more"}, ["started with 3 input files, and now there are 4"]),
        ({"file": "renamed"}, ["input 1 was", "a.csv, and is"]),
        ({"file": "same size"}, ["(its time was 2026-01-31T12:00:00.000000005 UTC, is 2026", "06"]),
        (
            {"file": "same size, later"},
            ["(its time was 2026-01-31T12:00:00 UTC, is 2026-01-31T12:01:00 UTC)"],
        ),
        ({"file": "same size and time"}, ["a.csv has changed (sha256_of_ends was"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_another_model_other_inputs_or_other_flags_are_refused_with_what_differs(
    inputs: Path, tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    output = tmp_path / "out"
    os.utime(inputs / "a.csv", ns=(0, 1_769_860_800_000_000_005))
    score_files(*job_of([inputs], output), NumpyScorer())
    whole = contents(output)
    _change(inputs / "a.csv", change.pop("file", ""))
    paths = sorted(inputs.iterdir())
    tables = [open_table(path) for path in paths]
    job = plan_job(tables, output, change.pop("model", MODEL), CARD, **change)
    with pytest.raises(OtherJob) as caught:
        score_files(job, tables, NumpyScorer())
    assert str(caught.value).startswith(f"{output}: contains another job: ")
    for word in [*words, "--overwrite"]:
        assert word in str(caught.value)
    assert contents(output) == whole


def test_a_job_that_has_rejected_rows_is_another_than_one_that_fails_at_them(
    inputs: Path, tmp_path: Path
) -> None:
    job, tables = job_of([inputs], tmp_path / "out")
    score_files(job, tables, NumpyScorer())
    whole = contents(tmp_path / "out")
    strict = replace(job, on_bad_row=OnBadRow.FAIL)
    with pytest.raises(OtherJob) as caught:
        score_files(strict, tables, NumpyScorer())
    assert "--on-bad-row was reject, with 4 rejected, and is fail; " in str(caught.value)
    assert contents(tmp_path / "out") == whole
    # Where none was rejected, each may go on with what the other has begun.
    good = write_csv(tmp_path / "good.csv", ["x", "y"], [[1, 2]])
    job, tables = job_of([good], tmp_path / "good")
    for on_bad_row in (OnBadRow.REJECT, OnBadRow.FAIL, OnBadRow.REJECT):
        summary = score_files(replace(job, on_bad_row=on_bad_row), tables, NumpyScorer())
        assert summary["rows"] == 1


def _change(path: Path, how: str) -> None:
    time = path.stat().st_mtime_ns
    if how == "touched":
        path.write_bytes(path.read_bytes() + b"id,1,2\n")
    elif how == "more":
        (path.parent / "d.csv").write_text("x,y\n1,2\n")
    elif how == "renamed":
        path.rename(path.parent / "z.csv")
    elif how.startswith("same size"):
        path.write_bytes(path.read_bytes().replace(b"id0,", b"id9,"))
        later = {"same size": 1, "same size, later": 60 * 10**9}.get(how, 0)
        os.utime(path, ns=(time, time + later))


@pytest.fixture
def held(tmp_path: Path, inputs: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds an output folder until it dies."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from serving.batch.output_folder import OutputFolder\n"
        "from tests.serving.batch.scorers import job_of\n"
        "job, _ = job_of([Path(sys.argv[1])], Path(sys.argv[2]))\n"
        "with OutputFolder(job).lock():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, inputs, tmp_path / "out"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_in_use_is_refused_and_free_again_when_its_run_is_dead(
    inputs: Path, tmp_path: Path, held: "subprocess.Popen[str]"
) -> None:
    job, tables = job_of([inputs], tmp_path / "out")
    with pytest.raises(OutputInUse, match="another run is writing to it"):
        score_files(job, tables, NumpyScorer())
    held.kill()
    held.wait()
    assert score_files(job, tables, NumpyScorer())["rows"] == 900


def test_what_is_done_already_is_told_once_nobody_else_can_write_there(
    inputs: Path, tmp_path: Path
) -> None:
    job, tables = job_of([inputs], tmp_path / "out", part_rows=100)
    told: list[list[str]] = []

    def on_begun(done: Sequence[PartRecord]) -> None:
        told.append([record.name for record in done])
        with pytest.raises(OutputInUse), OutputFolder(job).lock():
            pass

    score_files(job, tables, NumpyScorer(), on_begun=on_begun)
    score_files(job, tables, NumpyScorer(), on_begun=on_begun)
    assert [len(names) for names in told] == [0, 3 + 3 + 4]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_drops_the_part_and_keeps_those_that_are_done(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    monkeypatch.setattr(assignments, "_BATCH_ROWS", 50)
    output = tmp_path / "out"
    job, tables = job_of([inputs], output, part_rows=100)
    left = 330

    def on_rows(count: int) -> None:
        nonlocal left
        left -= count
        if left <= 0:
            raise stop

    with pytest.raises(stop):
        score_files(job, tables, NumpyScorer(), on_rows=on_rows)
    done = [record.name for record in OutputFolder(job).records()]
    assert done == ["part-00000-00000", "part-00000-00001", "part-00000-00002"]
    assert not [path for path in output.rglob("*") if "partial" in path.name]
    scorer = NumpyScorer()
    assert score_files(job, tables, scorer)["rows"] == 900
    assert sum(scorer.sizes) == 900 - 280


def test_a_job_of_a_release_without_the_options_of_reading_goes_on_where_none_is_given(
    tmp_path: Path,
) -> None:
    path = write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2]])
    job, _ = job_of([path], tmp_path / "out")
    now = identify_job(job)
    older = now | {"flags": {k: v for k, v in now["flags"].items() if k not in job.reading.flags()}}
    assert len(older["flags"]) < len(now["flags"])
    assert list(describe_differences(older, now)) == []
    commented = identify_job(replace(job, reading=ReadingOptions(comment="#", has_header=False)))
    assert list(describe_differences(older, commented)) == [
        "--no-header: not given before, given now",
        "--comment: not given before, # now",
    ]
