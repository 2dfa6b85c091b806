"""A column of 768 numbers goes through every command, from files of each kind."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from export.model_card import ModelCard
from export.repository import version_directory
from serving import GrpcClient, RestClient
from serving.cli import main
from serving.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

WIDTH = 768
ROWS = 240


@dataclass(frozen=True)
class World:
    """A model of an embedding, and the same rows in files of several kinds."""

    base: Path
    folder: Path
    points: NDArray[np.float32]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(5)
    points = rng.normal(size=(3, WIDTH))[np.arange(ROWS) % 3] + rng.normal(size=(ROWS, WIDTH))
    rows = points.astype(np.float32)
    embedding = pa.array(list(rows), pa.list_(pa.float32()))
    names = [f"row {row}" for row in range(ROWS)]
    pq.write_table(pa.table({"name": names, "embedding": embedding}), folder / "rows.parquet")
    np.savez(folder / "rows.npz", embedding=rows, name=np.array(names))
    np.save(folder / "rows.npy", rows)
    with (folder / "rows.jsonl").open("w") as file:
        for name, values in zip(names, rows.tolist(), strict=True):
            file.write(json.dumps({"embedding": values, "name": name}) + "\n")
    base = folder / "models" / "texts"
    words = ["--clusters", "3", "--model", str(base), "--n-init", "2"]
    assert main(["train", str(folder / "rows.parquet"), *words]) == 0
    return World(base, folder, rows)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_displays_have_the_width_and_the_card_has_all_names(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tuple(f"embedding[{index}]" for index in range(WIDTH))
    assert ModelCard.read(version_directory(world.base)).feature_names == names
    shown = call(capsys, "inspect", world.base)
    assert "columns       embedding[768]\n" in shown
    assert json.loads(call(capsys, "inspect", world.base, "--json"))["card"]["feature_names"] == [
        *names
    ]
    call(capsys, "report", world.base, "--out", tmp_path / "report.html")
    assert "768: embedding[768]<" in (tmp_path / "report.html").read_text().replace("<wbr>", "")
    rows = world.folder / "rows.parquet"
    plan = call(capsys, "batch-score", rows, tmp_path / "out", "--model", world.base, "--dry-run")
    assert "features  embedding[768]\n" in plan
    assert main(["assign", "--point", "1,2", "--model", str(world.base)]) == 2
    assert "has 2 values, and the model takes 768: embedding[768]" in capsys.readouterr().err
    found = call(capsys, "select-k", rows, "--from", 2, "--to", 4, "--json")
    assert json.loads(found)["columns"] == [*names]


def test_files_of_every_kind_are_assigned_alike_here_and_by_a_server(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("parquet", "npz", "npy", "jsonl")
    files = [world.folder / f"rows.{kind}" for kind in kinds]
    lines = [call(capsys, "assign", file, "--model", world.base) for file in files]
    assert lines == [lines[0]] * len(kinds)
    assert lines[0].count("\n") == ROWS + 1
    name = world.base.name
    with EmbeddedServer(model_name=name, model_base_path=world.base) as server:
        asked = ["--model", world.base, "--server", server.grpc_address]
        assert call(capsys, "assign", *files, *asked).splitlines()[1:] == [
            *lines[0].splitlines()[1:] * len(kinds)
        ]
        assert "no drift" in call(capsys, "monitor", files[0], *asked)
        assert "embedding" not in call(capsys, "probe", *asked)
        # More than a message of gRPC or a body of REST takes by default.
        many = np.tile(world.points, (8, 1))
        assert server.grpc_address is not None
        assert server.rest_address is not None
        with (
            GrpcClient(server.grpc_address, name, timeout=60) as grpc,
            RestClient(server.rest_address, name, timeout=60) as rest,
        ):
            one, other = grpc.assign(many), rest.assign(many)
        np.testing.assert_array_equal(one.cluster_index, other.cluster_index)
        np.testing.assert_array_equal(one.cluster_index[:ROWS], one.cluster_index[-ROWS:])


@pytest.mark.filterwarnings("ignore")  # Beam warns of much when it is imported
def test_bad_vectors_are_rejected_alike_by_every_runner(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values: list[Any] = world.points[:9].tolist()
    values[1] = None
    values[3] = values[3][:-1]
    values[5] = [*values[5][:10], None, *values[5][11:]]
    values[6] = []
    values[7] = [*values[7][:20], float("inf"), *values[7][21:]]
    # Its first vector is of another length, which says nothing of the others.
    values[0] = [1.0, 2.0]
    rows = tmp_path / "rows.parquet"
    embedding = pa.array(values, pa.list_(pa.float32()))
    pq.write_table(pa.table({"id": range(9), "embedding": embedding}), rows)
    name = world.base.name
    outputs = []
    with EmbeddedServer(model_name=name, model_base_path=world.base) as server:
        runners: list[list[object]] = [[], ["--server", server.grpc_address]]
        if find_spec("apache_beam") is not None:
            runners.append(["--runner", "beam"])
        for number, words in enumerate(runners):
            output = tmp_path / f"out{number}"
            keep = ["--keep", "id,embedding", "--model", world.base]
            call(capsys, "batch-score", rows, output, *keep, *words)
            outputs.append(
                [
                    pq.read_table(output / kind / "part-00000-00000.parquet").to_pylist()
                    for kind in ("scored", "rejected")
                ]
            )
    assert outputs == [outputs[0]] * len(runners)
    scored, rejected = outputs[0]
    assert [row["id"] for row in scored] == [2, 4, 8]
    assert scored[0]["embedding"] == values[2]
    assert {(row["row"], row["column"], row["reason"]) for row in rejected} == {
        (1, "embedding", "holds a vector of 2 numbers, and 768 are needed"),
        (2, "embedding", "is missing"),
        (4, "embedding", "holds a vector of 767 numbers, and 768 are needed"),
        (6, "embedding", "embedding[10] is missing"),
        (7, "embedding", "is missing"),
        (8, "embedding", "embedding[20] is infinite"),
    }


def test_versions_are_compared_and_held_against_rows_with_vectors(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate, rows = tmp_path / "candidate", world.folder / "rows.parquet"
    flat = tmp_path / "rows.npy"
    np.save(flat, world.points[:50])
    words = ["--clusters", 3, "--n-init", 2, "--seed", 3]
    call(capsys, "train", world.folder / "rows.jsonl", *words, "--candidate", candidate)
    call(capsys, "publish", candidate, world.base, "--holdout", rows, "--holdout", flat)
    said = call(capsys, "compare", world.base / "1", world.base / "2", "--rows", rows)
    assert "240" in said
