"""This process, a server and Apache Beam give the same rows: clusters, and distances to 5e-7."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import ModelCard, make_card, write_candidate
from export.repository import version_directory
from kmeans_module import fit
from serving.batch import (
    BadRow,
    Job,
    LocalScorer,
    OnBadRow,
    ScoredModel,
    plan_job,
    score_files,
)
from serving.batch.output_folder import OutputFolder, PartRecord
from serving.batch.scorer import MANY_ROWS
from serving.batch.scoring import score_parts
from serving.batch.server_scorer import ServerScorer
from serving.cli import main
from serving.clients.grpc_client import GrpcClient
from serving.embedded import EmbeddedServer
from serving.tables import input_files, open_table
from tests.serving.tables.row_files import write_csv

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c")

#: Beam warns of much when it is imported, and of files that it leaves open.
beams_warnings = pytest.mark.filterwarnings("ignore")

#: The lock has it; an environment with the newest of everything else has not.
needs_beam = pytest.mark.skipif(
    find_spec("apache_beam") is None, reason="Apache Beam is not installed: the extra beam"
)


@dataclass(frozen=True)
class World:
    """A published model, files of rows for it, and a server that has it."""

    base: Path
    card: ModelCard
    inputs: Path
    address: str

    @property
    def version(self) -> Path:
        return version_directory(self.base)

    def job(self, output: Path, **wishes: Any) -> tuple[Job, list[Any]]:
        tables = [open_table(path) for path in input_files([self.inputs])]
        model = ScoredModel(self.base.name, 1, "ab" * 32)
        return plan_job(tables, output, model, self.card, **wishes), tables


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(4)
    points = rng.normal(size=(500, 3)).astype(np.float32) * [1, 50, 0.1] + [0, 1000, 3]
    points = points.astype(np.float32)
    settings: dict[str, Any] = {
        "init": "k-means++",
        "n_init": 1,
        "max_iter": 20,
        "tol": 1e-4,
        "standardize": True,
        "seed": 1,
    }
    result = fit(points, 7, **settings)
    card = make_card(result, points, feature_names=NAMES, model="people")
    # Not through the gate: what it looks for is not the matter here.
    base = folder / "models" / "people"
    base.mkdir(parents=True)
    write_candidate(base / "1", result, card, points)

    inputs = folder / "in"
    inputs.mkdir()
    rows = rng.normal(size=(70_000, 3)) * [2, 90, 0.2] + [0, 1000, 3]
    columns = dict(zip(NAMES, rows[:60_000].T, strict=True))
    columns["a"][[0, 40_000]] = [np.nan, np.inf]
    table = pa.table({"id": [str(row) for row in range(60_000)], **columns})
    pq.write_table(table, inputs / "1.parquet", row_group_size=17_000)
    lines: list[list[Any]] = [[i, *row] for i, row in enumerate(rows[60_000:].tolist())]
    lines[77][2] = "oops"
    write_csv(inputs / "2.csv", ["id", "a", "b", "c"], lines)
    with EmbeddedServer(model_name="people", model_base_path=base) as server:
        assert server.grpc_address is not None
        yield World(base, card, inputs, server.grpc_address)


def here(world: World, job: Job, tables: list[Any]) -> dict[str, Any]:
    return score_files(job, tables, LocalScorer(world.version, MANY_ROWS))


def by_server(world: World, job: Job, tables: list[Any]) -> dict[str, Any]:
    with GrpcClient(world.address, "people", timeout=30) as client:
        scorer = ServerScorer(client, 1, world.address)
        scorer.check(world.card, ())
        return score_files(job, tables, scorer, at_a_time=4)


def by_beam(world: World, job: Job, tables: list[Any]) -> dict[str, Any]:
    from serving.batch.beam_runner import score_by_beam

    return score_by_beam(job, tables, world.version, ())


def contents(output: Path) -> dict[str, dict[str, Any]]:
    """The columns of each file, decoded."""
    return {
        str(path.relative_to(output)): {
            name: np.array(column.to_pylist(), np.float32)
            if "float" in str(column.type)
            else column.to_pylist()
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        for path in sorted(output.rglob("part-*.parquet"))
        for table in [pq.read_table(path)]
    }


def assert_same_rows(
    found: dict[str, dict[str, Any]], wanted: dict[str, dict[str, Any]], rtol: float
) -> None:
    """The same files, rows and clusters; numbers to ``rtol`` of themselves."""
    assert list(found) == list(wanted)
    for file, columns in found.items():
        assert list(columns) == list(wanted[file])
        for name, values in columns.items():
            if isinstance(values, np.ndarray):
                np.testing.assert_allclose(values, wanted[file][name], rtol=rtol, err_msg=file)
            else:
                assert values == wanted[file][name], (file, name)


@needs_beam
@beams_warnings
def test_three_runners_give_the_same_rows_and_clusters_in_the_same_order(
    world: World, tmp_path: Path
) -> None:
    wishes: dict[str, Any] = {
        "keep": ["id"],
        "score": True,
        "all_distances": True,
        "part_rows": 20_000,
    }
    summaries, rows = {}, {}
    for run in (here, by_server, by_beam):
        output = tmp_path / run.__name__
        summaries[run] = run(world, *world.job(output, **wishes))
        rows[run] = contents(output)
    assert list(rows[here]) == [
        "rejected/part-00000-00000.parquet",
        "rejected/part-00000-00002.parquet",
        "rejected/part-00001-00000.parquet",
        "scored/part-00000-00000.parquet",
        "scored/part-00000-00001.parquet",
        "scored/part-00000-00002.parquet",
        "scored/part-00001-00000.parquet",
    ]
    # A kernel of the model's own scores here; there the served graph does.
    assert_same_rows(rows[here], rows[by_server], 5e-7)
    assert_same_rows(rows[by_beam], rows[by_server], 0)
    told = {"rows", "scored", "rejected", "parts", "cluster_counts"}
    quantiles = "distance_quantiles"
    for run, summary in summaries.items():
        assert {name: summary[name] for name in told} == {
            name: summaries[here][name] for name in told
        }, run.__name__
        # They are right to 0.2 %, by bins: a distance may lie on the edge of one.
        assert summary[quantiles] == pytest.approx(summaries[here][quantiles], rel=4e-3)
    assert (summaries[here]["rows"], summaries[here]["rejected"]) == (70_000, 3)


@needs_beam
@beams_warnings
def test_a_job_that_one_runner_began_another_finishes(world: World, tmp_path: Path) -> None:
    wishes = {"part_rows": 10_000}
    here(world, *world.job(tmp_path / "whole", **wishes))
    output = tmp_path / "out"
    job, tables = world.job(output, **wishes)
    here(world, job, tables)
    names = sorted(path.stem for path in (output / "scored").iterdir())
    # As though a run had died: of a file whose rows are counted, any part may be missing.
    lost = random.Random(3).sample([name for name in names if name.startswith("part-00000")], 3)
    for name in lost:
        (output / "manifest" / f"{name}.json").unlink()
    kept = {path: path.stat().st_ino for path in (output / "scored").iterdir()}
    by_beam(world, job, tables)
    assert_same_rows(contents(output), contents(tmp_path / "whole"), 5e-7)
    changed = {path.stem for path, inode in kept.items() if path.stat().st_ino != inode}
    assert changed == set(lost)


@needs_beam
@beams_warnings
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)], ids=repr)
def test_what_stops_a_job_of_beam_stops_it_as_itself_and_finished_parts_stay(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    from serving.batch import beam_runner

    scored = 0

    def stopped(*arguments: Any, **options: Any) -> Iterator[PartRecord]:
        nonlocal scored
        scored += 1
        if scored == 3:
            raise stop
        return score_parts(*arguments, **options)

    monkeypatch.setattr(beam_runner, "score_parts", stopped)
    job, tables = world.job(tmp_path / "out", part_rows=10_000)
    with pytest.raises(type(stop)) as caught:
        by_beam(world, job, tables)
    assert str(caught.value) == str(stop)
    assert len(OutputFolder(job).records()) == 2


@needs_beam
@beams_warnings
def test_what_is_wrong_with_a_file_is_the_same_error_by_beam(world: World, tmp_path: Path) -> None:
    job, tables = world.job(tmp_path / "out", on_bad_row=OnBadRow.FAIL)
    for run in (here, by_beam):
        with pytest.raises(BadRow, match=r"1\.parquet: row 1 .*column 'a': is missing"):
            run(world, replace(job, output=tmp_path / run.__name__), tables)


@needs_beam
@beams_warnings
def test_the_command_runs_beam_with_options_of_its_own(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch-score", world.inputs, tmp_path / "out", "--model", world.base, "--json"]
    options = ["--beam-option", "runner=FnApiRunner", "--beam-option", "job_name=nightly"]
    assert main([*map(str, words), "--runner", "beam", *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["rejected"]) == (70_000, 3)
    code = main([*map(str, words), "--runner", "beam", "--beam-option", "--runner=X"])
    assert code == 2
    assert "--beam-option --runner=X: give NAME=VALUE" in capsys.readouterr().err


@needs_beam
@beams_warnings
@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "runner=NoRunner",
            ": Apache Beam says: Unexpected pipeline runner: NoRunner. Valid values are",
        ),
        (
            "direct_num_workers=many",
            ": Apache Beam says: argument --direct_num_workers: invalid int value: 'many'",
        ),
        (
            "direct_num_worker=2",
            " direct_num_worker: Apache Beam has no such option; did you mean direct_num_workers?",
        ),
        ("nonsense=1", " nonsense: Apache Beam has no such option"),
    ],
)
def test_an_option_that_beam_does_not_take_is_one_line_before_anything_is_written(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, words: str
) -> None:
    inputs, output = map(str, (world.inputs, tmp_path / "out"))
    words_given = ["batch-score", inputs, output, "--model", str(world.base), "--runner", "beam"]
    assert main([*words_given, "--beam-option", option]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"error: --beam-option{words}")
    assert not (tmp_path / "out").exists()


@needs_beam
@beams_warnings
def test_an_option_that_another_runner_may_know_goes_through() -> None:
    from serving.batch.beam_runner import _pipeline

    options = ["--runner=FlinkRunner", "--of_the_runners_own=1"]
    read = _pipeline(options).options.get_all_options(retain_unknown_options=True)
    assert read["of_the_runners_own"] == "1"


@needs_beam
@beams_warnings
def test_a_bad_row_ends_a_job_of_beam_with_one_line_and_no_traceback(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["batch-score", world.inputs, tmp_path / "out", "--model", world.base]
    code = main([*map(str, words), "--runner", "beam", "--on-bad-row", "fail"])
    assert code == 2
    assert "column 'a': is missing" in capsys.readouterr().err.splitlines()[-1]
    assert "Traceback" not in caplog.text
    assert "Resource module" not in caplog.text


def test_the_command_asks_a_server_that_must_answer_the_golden_requests(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch-score", world.inputs, tmp_path / "out", "--model", world.base, "--json"]
    assert main([*map(str, words), "--server", world.address, "--in-flight", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["scored"] == 69_997
    code = main([*map(str, words), "--server", world.address, "--name", "others"])
    assert code == 2
    assert "others" in capsys.readouterr().err
