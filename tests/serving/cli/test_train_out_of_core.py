"""``train`` over more rows than memory: the same bytes as in memory, and where it goes on."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import ModelCard, load
from kmeans_module import FitResult
from kmeans_module.fit_checkpoint import FitCheckpoint
from serving.cli import main
from serving.cli.input_tables import open_tables
from serving.cli.memory import memory_left
from serving.cli.streaming_options import StreamingOptions
from serving.cli.training_input import RowOptions
from tests.kmeans_module.fit_bits import digest_without_rows
from tests.serving.tables.row_files import write_csv

from .command import environment

pytestmark = pytest.mark.slow

#: More points at which the command dies.
SOAK: Final = os.environ.get("TFKMEANS_SOAK") == "1"
#: All kill points take half an hour: each part of them is a test of its own.
_PARTS: Final = 10

#: Their sample has 12,000 rows, which are not all.
_CLUSTERS: Final = ["--clusters", "3", "--seed", "3", "--n-init", "2"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files of rows of two kinds, with what is missing and with rows of zeros."""
    folder = tmp_path_factory.mktemp("rows")
    rng, n, m = np.random.default_rng(0), 20_000, 19_500
    centers = rng.normal(size=(4, 3)) * 2
    points = centers[rng.integers(0, 4, n)] + rng.normal(size=(n, 3))
    points = points.astype(np.float32)
    points[rng.random(n) < 0.05] = 0
    points[rng.random(n) < 0.05, 1] = np.nan
    weight = rng.integers(0, 4, n).astype(float)
    weight[7] = np.nan
    columns = dict(zip("xyz", points.T, strict=True)) | {"w": weight, "id": rng.random(n)}
    table = pa.table({name: column[:m] for name, column in columns.items()})
    colours = np.array(["red", "blue", "", "NA", "7"])[rng.integers(0, 5, n)]
    table = table.append_column("c", pa.array(colours[:m]))
    vectors = [None, *rng.normal(size=(m - 1, 2)).tolist()]
    pq.write_table(
        table.append_column("v", pa.array(vectors, pa.list_(pa.float32()))), folder / "1.parquet"
    )
    rest = np.column_stack([column[m:] for column in columns.values()])
    cells = [["" if np.isnan(cell) else repr(float(cell)) for cell in row] for row in rest]
    rows = [[*each, colour] for each, colour in zip(cells, colours[m:], strict=True)]
    write_csv(folder / "2.csv", [*columns, "c"], rows)
    return [str(folder / "1.parquet"), str(folder / "2.csv")]


class Trained(NamedTuple):
    said: dict[str, Any]
    notes: str
    result: FitResult
    card: ModelCard


_written: Final[list[tuple[FitResult, ModelCard]]] = []


@pytest.fixture
def unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate is only taken down: to write it takes as long as all else."""

    def take(_: Path, result: FitResult, card: ModelCard, *_rest: Any, **_options: Any) -> None:
        _written.append((result, card))

    monkeypatch.setattr("export.write_candidate", take)


def train(
    capsys: pytest.CaptureFixture[str], files: list[str], candidate: Path, *options: str
) -> Trained:
    command = ["train", *files, *_CLUSTERS, "--candidate", str(candidate), "--json"]
    assert main([*command, *options]) == 0, capsys.readouterr().err
    out = capsys.readouterr()
    return Trained(json.loads(out.out), out.err, *_written.pop())


OPTIONS: Final[dict[str, list[str]]] = {
    "plain": ["--columns", "x,y,z"],
    "standardized": ["--exclude", "id,w,v", "--standardize"],
    "cosine": ["--columns", "x,y,z", "--distance", "cosine"],
    "weights": ["--exclude", "id,v", "--weight-column", "w", "--init", "k-means||"],
    "cosine and weights": [
        *("--columns", "x,y,z", "--weight-column", "w", "--distance", "cosine", "--init", "random"),
    ],
    "approximate": ["--columns", "x,y", "--approximate", "--passes", "2"],
    "means, categories and weights of columns": [
        *("--columns", "z,c,y", "--categories", "c", "--impute", "mean"),
        *("--feature-weight", "z=2", "--weight-column", "w"),
    ],
    "medians and unknown categories": [
        *("--columns", "x,y", "--categories", "c", "--unknown", "category"),
        *("--impute", "median", "--standardize", "--weight-column", "w"),
    ],
    "a number, by cosine": ["--columns", "x,y", "--impute", "0", "--distance", "cosine"],
    "by name": ["--columns", "y,x", "--by-name"],
    "vectors": ["--columns", "v,x", "--standardize"],
}


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("options", OPTIONS)
def test_a_stream_ends_in_the_bytes_of_the_same_command_in_memory(
    options: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = files[:1] if options == "vectors" else files
    seeding = [] if options == "approximate" else ["--seeding", "sample"]
    in_memory = train(capsys, given, tmp_path / "memory", *OPTIONS[options], "--tol", "0", *seeding)
    streamed = train(
        capsys, given, tmp_path / "stream", *OPTIONS[options], "--tol", "0", "--out-of-core"
    )
    assert digest_without_rows(streamed.result) == digest_without_rows(in_memory.result)
    assert options == "approximate" or streamed.said["n_iter"] > 1
    exact = (
        *("n_iter", "inertia", "cluster_sizes", "rows_left_out", "seeding", "passes", "columns"),
        *("encoder", "imputed", "feature_weight"),
    )
    for name in exact:
        assert streamed.said[name] == in_memory.said[name], name
    assert streamed.card.data.fingerprint == in_memory.card.data.fingerprint
    assert "--out-of-core is given: each iteration reads the rows from a cache" in streamed.notes
    # What is said of the rows is the same; of their spread, what the sample shows.
    left_out = [
        line for line in in_memory.notes.splitlines() if line.startswith(("left out", "imputed"))
    ]
    assert left_out
    assert set(left_out) <= {*streamed.notes.splitlines()}


@pytest.mark.usefixtures("unwritten")
def test_rows_that_do_not_fit_are_streamed_and_it_is_said_before_they_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(2000, 2)))
    rows = [str(tmp_path / "rows.npy")]
    small = train(capsys, rows, tmp_path / "one", "--memory", "600MB")
    assert re.match(
        r"2,000 rows and TensorFlow need about 700 MB of memory, "
        r"and the limit is 600 MB \(--memory\): each "
        r"iteration reads the rows from a cache, and the initial centroids come from a sample\n"
        rf"writing a cache of the rows, about 40 kB, to {tmp_path}/xdg/tfkmeans/rows, where",
        small.notes,
    )
    assert not list((tmp_path / "xdg" / "tfkmeans" / "rows").iterdir())
    assert small.said["seeding"] == "sample"
    large = train(
        capsys, rows, tmp_path / "two", "--memory", "701MB", "--cache", str(tmp_path / "c")
    )
    assert large.said["seeding"] == "all"
    assert "the rows fit in memory, and no cache is used" in large.notes
    assert not (tmp_path / "c").exists()


def test_the_values_of_categories_count_as_the_features_that_they_become(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"c{place}" for place in range(12)]
    rows = [[f"v{value}" for value in rng.integers(900, size=12)] for _ in range(1000)]
    path = write_csv(tmp_path / "rows.csv", names, rows)
    with open_tables([path], "train") as given:
        reason = StreamingOptions(memory=30_000_000).find_reason(
            given, names, names, is_cosine=False
        )
        assert reason is not None
        assert re.match(
            r"about 1,000 rows and TensorFlow need about 7[67]\d MB of memory, and the limit is 30",
            reason,
        )
        enough = StreamingOptions(memory=2 * 10**9)
        assert enough.find_reason(given, names, names, is_cosine=False) is None


def test_rows_that_nothing_counts_are_estimated_by_the_length_of_their_file(
    tmp_path: Path,
) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 2)).round(4).tolist()
    path = write_csv(tmp_path / "rows.csv", ["a", "b"], rows)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    with open_tables([tmp_path / "rows.csv.gz"], "train") as given:
        options = StreamingOptions(memory=1_000_000)
        reason = options.find_reason(given, ["a", "b"], [], is_cosine=False)
    assert reason is not None
    assert 10_000 < int(reason.split()[1].replace(",", "")) < 40_000


@pytest.mark.usefixtures("unwritten")
def test_a_kept_cache_is_used_by_the_next_command(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--columns", "x,y,z", "--out-of-core", "--cache", str(tmp_path / "cache")]
    first = train(capsys, files, tmp_path / "one", *options)
    assert f"writing a cache of the rows, about 560 kB, to {tmp_path / 'cache'}" in first.notes
    again = train(capsys, files, tmp_path / "two", *options, "--standardize")
    assert "rows are in the cache" in again.notes
    assert "writing" not in again.notes
    assert first.said["rows_left_out"] == again.said["rows_left_out"] > 500


VARIABLES: Final = Path("variables", "variables.data-00000-of-00001")

MISTAKES: Final[dict[str, list[str]]] = {
    "--seeding all: --out-of-core is .* sample, or leave out --out-of-core": [
        "--seeding",
        "all",
        "--out-of-core",
    ],
    "--seeding all: [0-9,]+ rows .* sample, or give more memory by --memory": [
        *("--seeding", "all", "--memory", "1MB"),
    ],
    "--passes 2: requires --approximate": ["--passes", "2"],
    "--seeding all: conflicts with --approximate": ["--approximate", "--seeding", "all"],
    "--version 1: requires --init BASE": ["--version", "1"],
    "--label stable: requires --init BASE": ["--label", "stable"],
    "'nowhere' is neither a method nor a model folder; give k-means\\+\\+, ": ["--init", "nowhere"],
    "much is not a size; give a size such as 2GB": ["--memory", "much"],
    "cannot hold a cache of the rows": ["--out-of-core", "--cache", __file__],
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(
    words: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", files[0], *_CLUSTERS, "--candidate", str(tmp_path / "candidate")]
    assert main([*command, *MISTAKES[words]]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert re.search(words, line)
    assert not (tmp_path / "candidate").exists()


def test_too_few_distinct_rows_of_a_stream_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", np.arange(1000, dtype=np.float32)[:, None] % 3)
    command = ["train", str(tmp_path / "rows.npy"), "--clusters", "4", "--out-of-core"]
    assert main([*command, "--candidate", str(tmp_path / "candidate")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--clusters 4: only 3 of 1,000 rows are distinct in the columns feature_0" in error


@pytest.mark.usefixtures("unwritten")
def test_a_published_version_is_where_the_next_begins(
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = str(tmp_path / "people")
    command = ["train", *files, *_CLUSTERS, "--model", base, "--json"]
    assert main([*command, "--columns", "x,y,z"]) == 0
    centroids = load(base).decode().centroid
    monkeypatch.setattr(f"{__name__}._CLUSTERS", ["--clusters", "3"])
    for options in (["--version", "1"], ["--label", "stable", "--out-of-core"]):
        capsys.readouterr()
        # The columns in another order: they are known by their names.
        found = train(
            capsys, files, tmp_path / "next", "--columns", "z,x,y", "--init", base, *options
        )
        assert f"starting from the centroids of version 1 of {base}" in found.notes
        assert (found.said["init"], found.said["seeding"]) == ("array", None)
        np.testing.assert_array_equal(
            found.result.initial_centroids, centroids[:, [2, 0, 1]].astype(np.float32)
        )
    command = ["train", *files, "--clusters", "3", "--model", base]
    for options, words in (
        (["--clusters", "5"], "version 1 has 3 clusters, and --clusters is 5"),
        (["--columns", "x,y"], "version 1 has the features x, y, z, and the rows have x, y"),
        (["--n-init", "3"], "--n-init: conflicts with --init"),
        (
            ["--approximate"],
            "--approximate: conflicts with --init .* leave it out; --max-iter ends",
        ),
        (["--version", "9"], "9"),
    ):
        given = [*command, "--columns", "x,y,z", "--init", base, *options]
        assert main(given) == 2, options
        assert re.search(words, capsys.readouterr().err.splitlines()[-1]), options


def test_no_row_of_the_data_is_in_the_version_where_none_is_to_be(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "people"
    command = ["train", *files, *_CLUSTERS, "--columns", "x,y,z", "--model", str(base)]
    assert main([*command, "--no-sample-rows"]) == 0
    assert not list(base.rglob("sample_rows*"))
    capsys.readouterr()
    assert main([*command, "--no-sample-rows", "--out-of-core"]) == 0
    assert not list(base.rglob("sample_rows*"))
    assert "not compared" in capsys.readouterr().err


@pytest.mark.usefixtures("unwritten")
def test_the_projector_has_the_rows_of_each_cluster_of_a_stream(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    options = ["--columns", "x,y", "--out-of-core", "--tensorboard", str(log)]
    streamed = train(capsys, files, tmp_path / "stream", *options)
    _, *lines = (log / "centroid_metadata.tsv").read_text().splitlines()
    assert [int(line.split("\t")[1]) for line in lines] == streamed.said["cluster_sizes"]


@pytest.mark.usefixtures("unwritten")
@pytest.mark.parametrize("stream", [[], ["--out-of-core"]])
def test_ctrl_c_leaves_the_checkpoint_and_the_same_command_ends_in_the_same_bytes(
    stream: list[str],
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ["--columns", "x,y,z", "--tol", "0", *stream]
    whole = train(capsys, files, tmp_path / "whole", *options)
    write, written = FitCheckpoint.write, list[Any]()

    def interrupt(checkpoint: FitCheckpoint, state: Any) -> None:
        write(checkpoint, state)
        written.append(state)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(FitCheckpoint, "write", interrupt)
    kept = tmp_path / "checkpoint"
    command = ["train", *files, *_CLUSTERS, *options, "--checkpoint", str(kept)]
    assert main([*command, "--candidate", str(tmp_path / "again")]) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"stopped; the same command resumes from --checkpoint {kept}",
        "interrupted",
    ]
    # Where it is stopped while the rows are read, it says so, too.
    with monkeypatch.context() as patch:
        patch.setattr(RowOptions, "read", _interrupt)
        assert main([*command, "--candidate", str(tmp_path / "again")]) == 130
    assert f"resumes from --checkpoint {kept}" in capsys.readouterr().err
    # Of other rows it is refused.
    other = [*command, "--candidate", str(tmp_path / "other"), "--exclude", "id,v"]
    other.remove("--columns")
    other.remove("x,y,z")
    assert main(other) == 2
    assert "is the checkpoint of another fit: " in capsys.readouterr().err
    again = train(capsys, files, tmp_path / "again", *options, "--checkpoint", str(kept))
    assert digest_without_rows(again.result) == digest_without_rows(whole.result)
    assert not list(kept.iterdir())


def _interrupt(*_: Any, **_options: Any) -> None:
    raise KeyboardInterrupt


def _killed(folder: Path, dies_at: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.serving.cli.killed_train", folder, str(dies_at), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("part", range(_PARTS) if SOAK else [0])
def test_killed_anywhere_the_same_command_ends_in_the_same_bytes(
    part: int, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--columns", "x,y,z", "--max-iter", "4", "--tol", "0"]

    def arguments(folder: Path) -> list[str]:
        kept = ["--cache", str(folder / "cache"), "--checkpoint", str(folder / "checkpoint")]
        model = ["--model", str(folder / "people"), "--out-of-core"]
        return ["train", *files, *_CLUSTERS, *options, *kept, *model]

    counted = _killed(tmp_path / "counted", 0, *arguments(tmp_path / "counted"))
    assert counted.returncode == 0, counted.stderr
    count = int(counted.stdout.rsplit(maxsplit=1)[-1])
    assert count > 40
    whole = (tmp_path / "counted" / "people" / "1" / VARIABLES).read_bytes()
    points = [random.Random(count).randint(1, count)]
    if SOAK:
        points = [*range(1 + count * part // _PARTS, 1 + count * (part + 1) // _PARTS)]
    for dies_at in points:
        folder = tmp_path / f"at{dies_at}"
        dead = _killed(folder, dies_at, *arguments(folder))
        assert dead.returncode == -signal.SIGKILL, dead.stderr
        assert main(arguments(folder)) == 0, (dies_at, capsys.readouterr().err)
        version = max(path for path in (folder / "people").iterdir() if path.name.isdigit())
        assert (version / VARIABLES).read_bytes() == whole, dies_at
        assert not list((folder / "checkpoint").iterdir())


def test_what_is_left_is_the_least_of_the_machine_and_of_each_group(tmp_path: Path) -> None:
    groups, mount = tmp_path / "groups", tmp_path / "mount"

    def write(folder: Path, **files: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / name.replace("__", ".")).write_text(f"{value}\n")

    def left() -> int:
        return memory_left(groups, mount, machine=10_000)

    assert left() == 10_000  # no groups at all
    groups.write_text("0::/a/b\n")
    assert left() == 10_000  # none that is mounted
    write(mount / "a" / "b", memory__max="max", memory__current=10, memory__stat="x 1")
    assert left() == 10_000
    write(mount / "a", memory__max=9000, memory__current=2000, memory__stat="inactive_file 500")
    assert left() == 7500
    # In a container, its group is the mount.
    write(mount, memory__max=5000, memory__current=4000, memory__stat="inactive_file 0")
    assert left() == 1000
    groups.write_text("5:cpu:/\n4:memory:/c\n")
    v1 = {"memory__usage_in_bytes": 100, "memory__stat": "total_inactive_file 10"}
    write(mount / "memory" / "c", memory__limit_in_bytes=2**63 - 4096, **v1)
    assert left() == 10_000
    write(mount / "memory", memory__limit_in_bytes=600, **v1)
    assert left() == 510
    write(mount / "memory", memory__limit_in_bytes=50, **v1)
    assert left() == 0
    assert memory_left() > 0
