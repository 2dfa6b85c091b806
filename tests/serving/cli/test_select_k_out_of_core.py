"""``select-k`` over more rows than memory: a sample of them, and one reading of all."""

import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import kmeans_module
from kmeans_module import MeasuredK, RowSource
from serving.cli import main
from serving.cli.column_options import ColumnOptions
from serving.cli.training_input import DistanceName, RowOptions
from serving.report import curves
from tests.kmeans_module.problems import blobs
from tests.serving.tables.row_files import write_csv

pytestmark = pytest.mark.slow

_FEW: Final = ["--to", "3", "--n-init", "1", "--resamples", "2", "--seed", "3"]
_SAMPLED: Final = [*_FEW, "--sample-rows", "400"]


@pytest.fixture(autouse=True)
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "tfkmeans"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clouds of rows, some of them of zeros or without a number, and a category."""
    rng, points = np.random.default_rng(0), blobs(2000, 3, 3)
    points[rng.random(2000) < 0.05] = 0
    rows = [[repr(float(cell)) for cell in row] for row in points]
    for row in rows[::20]:
        row[1] = ""
    colours = np.array(["red", "blue", ""])[rng.integers(0, 3, 2000)]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_csv(path, "xyzc", [[*row, colour] for row, colour in zip(rows, colours, strict=True)])
    return str(path)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clouds") / "rows.npy"
    np.save(path, blobs(2000, 2, 3))
    return str(path)


def select(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[dict[str, Any], str]:
    assert main(["select-k", *command, "--json"]) == 0, capsys.readouterr().err
    out = capsys.readouterr()
    return json.loads(out.out), out.err


CHOICES: Final[dict[str, tuple[list[str], RowOptions, ColumnOptions]]] = {
    "standardized": (
        ["--columns", "z,x", "--standardize"],
        RowOptions(columns="z,x", standardize=True),
        ColumnOptions(),
    ),
    "cosine": (
        ["--columns", "x,y,z", "--distance", "cosine"],
        RowOptions(columns="x,y,z", distance=DistanceName.COSINE),
        ColumnOptions(),
    ),
    "columns as features": (
        [
            *("--columns", "x,y,c", "--categories", "c", "--impute", "mean"),
            *("--feature-weight", "x=2"),
        ],
        RowOptions(columns="x,y,c"),
        ColumnOptions(categories="c", impute="mean", feature_weight=["x=2"]),
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_stream_of_files_is_measured_as_a_source_of_the_same_rows_from_python(
    choice: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, row_options, column_options = CHOICES[choice]
    streamed, notes = select(capsys, file, *_SAMPLED, *options, "--out-of-core")
    _, rows = row_options.read([Path(file)], [], column_options=column_options)
    found = kmeans_module.select_k(
        RowSource.from_array(rows.fit_points),
        *(2, 3),
        n_init=1,
        resamples=2,
        seed=3,
        sample_rows=400,
        standardize=row_options.standardize,
        distance=row_options.distance.value,
        feature_weight=rows.feature_weight,
    )
    assert streamed["measured"] == [curves.as_row(each) for each in found.measured]
    assert (streamed["suggestion"], streamed["reason"]) == (found.suggestion, found.reason)
    assert (streamed["sample_rows"], streamed["rows_used"]) == (400, rows.n_rows)
    assert streamed["rows_left_out"] == rows.rows_left_out
    assert streamed["columns"] == list(rows.columns)
    assert "--out-of-core is given: the rows are read from a cache, a sample of them" in notes
    assert set(rows.notes()) <= {*notes.splitlines()}


def test_rows_that_do_not_fit_are_streamed_and_it_is_said_what_is_of_the_sample(
    clouds: str, tmp_path: Path, user_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["select-k", clouds, *_SAMPLED, "--memory", "600MB"]
    out = tmp_path / "curves.json"
    assert main([*command, "--out", str(out)]) == 0
    said, notes = capsys.readouterr()
    assert re.match(
        r"2,000 rows and TensorFlow need about 700 MB of memory, "
        r"and the limit is 600 MB \(--memory\): the rows "
        rf"are read from a cache, .*\nwriting a cache of the rows, about 40 kB, to {user_cache}/",
        notes,
    )
    assert not list((user_cache / "rows").iterdir())
    of_sample = (
        "silhouette, noise, stability and recovery are those of a sample of 400 of 2,000 rows, "
        "about whose centroids the other measures are of all rows"
    )
    assert said.splitlines()[-1] == of_sample
    assert curves.describe_sample(curves.read(out)) == of_sample
    assert main([*command, "--csv"]) == 0
    table, notes = capsys.readouterr()
    assert of_sample in notes
    assert len(table.splitlines()) == 3


def test_rows_that_fit_are_all_clustered_and_options_of_a_stream_are_not_passed_over_in_silence(
    clouds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    found, notes = select(capsys, clouds, *_SAMPLED, "--memory", "2GB", "--cache", str(cache))
    assert found["sample_rows"] is None
    assert "the rows fit in memory, and no cache is used" in notes
    assert "--sample-rows 400: the rows fit in memory, and all are clustered" in notes
    assert not cache.exists()


def test_of_few_rows_all_are_the_sample_and_the_suggestion_is_that_of_memory(
    clouds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_memory, _ = select(capsys, clouds, *_FEW)
    streamed, _ = select(capsys, clouds, *_FEW, "--out-of-core")
    assert streamed["sample_rows"] == streamed["rows_used"] == 2000
    assert streamed["reason"] == in_memory["reason"]
    for one, other in zip(streamed["measured"], in_memory["measured"], strict=True):
        for name in ("silhouette", "noise_silhouette", "stability", "recovery"):
            assert one[name] == other[name], name
        assert one["inertia"] == pytest.approx(other["inertia"], rel=1e-5)
    assert curves.describe_sample(streamed) is None


@pytest.mark.parametrize("last", [2, 3])
def test_a_stopped_stream_goes_on_to_the_same_result_also_from_its_last_reading(
    last: int,
    clouds: str,
    tmp_path: Path,
    user_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [clouds, *_SAMPLED, "--out-of-core", "--cache", str(tmp_path / "cache")]
    whole, _ = select(capsys, *command)
    swept = kmeans_module.select_k

    def stopped(*given: Any, on_measured: Any, **settings: Any) -> Any:
        def stop(each: MeasuredK) -> None:
            on_measured(each)
            if each.k == last:
                raise KeyboardInterrupt

        return swept(*given, on_measured=stop, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(kmeans_module, "select_k", stopped)
        assert main(["select-k", *command, "--json"]) == 130
    assert f"stopped after k = {last}; the same command with --resume" in capsys.readouterr().err
    # What is measured of a sample of another size is another result.
    other, notes = select(capsys, *command, "--sample-rows", "300", "--resume")
    assert other["sample_rows"] == 300
    assert "--resume: there is no interrupted run" in notes
    resumed, notes = select(capsys, *command, "--resume")
    assert f"--resume: resuming after k = {last}" in notes
    assert "rows are in the cache" in notes
    assert resumed["measured"] == whole["measured"]
    assert not list((user_cache / "select-k").glob("*.json"))


MISTAKES: Final[dict[str, list[str]]] = {
    "--sample-rows 2: is less than --to 3; give at least 3": ["--sample-rows", "2"],
    "No such option: --weight-column": ["--weight-column", "w"],
    "cannot hold a cache of the rows": ["--out-of-core", "--cache", __file__],
    "--to 3: only 1 of the sample's rows are distinct": [
        *("--out-of-core", "--sample-rows", "9", "--columns", "feature_1"),
    ],
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = blobs(60, 2, 3)
    rows[:, 1] = 1
    np.save(tmp_path / "rows.npy", rows)
    assert main(["select-k", str(tmp_path / "rows.npy"), *_FEW, *MISTAKES[words]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [each for each in err.splitlines() if each.startswith("error")]
    assert words in line
