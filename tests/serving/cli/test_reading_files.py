"""Every command that reads rows is told in the same words how their files are written."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.cli import main

from .conftest import Trained

pytestmark = pytest.mark.slow

OPTIONS = ["--delimiter", ";", "--decimal", ",", "--skip-rows", "1", "--na-values", "none,-999"]


@pytest.fixture(scope="module")
def german(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of ``trained`` as a spreadsheet writes them in German, below a title."""
    path = tmp_path_factory.mktemp("german") / "rows.csv"
    header, *rows = csv.reader(trained.csv.read_text().splitlines())
    missing = iter(["none", "-999,00"])
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        file.write("Meine Zeilen; 60\r\n")
        writer = csv.writer(file, delimiter=";", lineterminator=";\r\n")
        writer.writerow([f" {name} " for name in header])
        for row in rows:
            cells = [next(missing) if cell in ("", "NA") else cell for cell in row]
            writer.writerow(cell.replace(".", ",") for cell in cells)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = main(list(map(str, words)))
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out


def test_train_select_k_assign_monitor_compare_and_a_holdout_read_a_file_as_it_is_written(
    trained: Trained, german: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["--clusters", 3, "--seed", 5, "--json"]
    said = run(capsys, "train", german, "--model", tmp_path / "m", *fit, *OPTIONS)
    same = ("rows_used", "rows_left_out", "columns", "inertia", "sizes")
    trained_as = {key: trained.said[key] for key in same if key in trained.said}
    assert {key: json.loads(said)[key] for key in trained_as} == trained_as
    assert trained_as["columns"] == ["height", "weight"]

    plain = run(capsys, "assign", trained.csv, "--model", trained.base)
    assert run(capsys, "assign", german, "--model", trained.base, *OPTIONS) == plain
    plain = run(capsys, "compare", trained.base, trained.base, "--rows", trained.csv)
    found = run(capsys, "compare", trained.base, trained.base, "--rows", german, *OPTIONS)
    assert found == plain
    again = ["--model", tmp_path / "m", "--holdout", german, "--force"]
    run(capsys, "train", german, *again, *fit, *OPTIONS)
    sweep = ["--from", 2, "--to", 3, "--n-init", 1, "--resamples", 2, "--json"]
    both = [
        json.loads(run(capsys, "select-k", *words, *sweep))
        for words in ([trained.csv], [german, *OPTIONS])
    ]
    assert both[0]["measured"][0]["inertia"] == both[1]["measured"][0]["inertia"]


def test_a_job_reads_its_files_as_it_was_begun(
    trained: Trained, german: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def score(*words: object) -> int:
        model = ["--model", trained.base, "--keep", "name", "--part-rows", "20"]
        return main(list(map(str, ["batch-score", *words, *model])))

    assert score(trained.csv, tmp_path / "plain") == 0
    assert score(german, tmp_path / "german", *OPTIONS) == 0
    capsys.readouterr()
    tables: list[Any] = [pq.read_table(tmp_path / each / "scored") for each in ("plain", "german")]
    assert tables[0].equals(tables[1])
    assert tables[0]["name"][0].as_py() == "id0"

    assert score(german, tmp_path / "german", *OPTIONS[:-2], "--na-values", "none") == 2
    assert "--na-values: none,-999 before, none now" in capsys.readouterr().err
    assert score(german, tmp_path / "german", *OPTIONS) == 0
    # A job of the release before has no such flags in its manifest, and goes on.
    manifest = json.loads((tmp_path / "plain/manifest/job.json").read_text())
    assert manifest["flags"]["--delimiter"] is None


def test_standard_input_is_read_so_too(
    trained: Trained,
    german: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = run(capsys, "assign", trained.csv, "--model", trained.base)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(german.read_bytes())))
    assert run(capsys, "assign", "-", "--model", trained.base, *OPTIONS) == plain


def test_the_folders_of_a_hive_are_columns_of_a_job(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"height": [0.0, 10.0], "weight": [0.0, 0.0]}
    for day in ("2026-01-01", "2026-01-02"):
        folder = tmp_path / "in" / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table(rows), folder / "part-0.parquet")
    job = ["batch-score", tmp_path / "in", tmp_path / "out", "--model", trained.base]
    run(capsys, *job, "--keep", "day")
    scored = [pq.read_table(each) for each in sorted((tmp_path / "out/scored").iterdir())]
    days = [day for table in scored for day in table["day"].to_pylist()]
    assert days == ["2026-01-01"] * 2 + ["2026-01-02"] * 2
