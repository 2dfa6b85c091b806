"""From a file as people have it to scored rows, by every command: an id, an index, numbers with
missing values, a boolean and an embedding.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from kmeans_module import adjusted_rand_index
from serving.cli import main

from .serve_process import serve_process

pytestmark = pytest.mark.slow

ROWS = 240
WIDTH = 16
FEATURES = ["age", "is_member", *(f"embedding[{index}]" for index in range(WIDTH))]

#: Rows that lack a value, by their column.
LACKING = {3: "age", 50: "embedding", 51: "age", 120: "is_member", 200: "embedding"}
COMPLETE = np.setdiff1d(np.arange(ROWS), list(LACKING))


@dataclass(frozen=True)
class Files:
    """The rows as a file, and where what is made of them goes; ``truth`` is each row's group."""

    rows: Path
    base: Path
    truth: NDArray[np.int64]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("whole_way")
    rng = np.random.default_rng(11)
    truth = np.arange(ROWS) % 3
    embedding = rng.normal(size=(3, WIDTH))[truth] + rng.normal(scale=0.1, size=(ROWS, WIDTH))
    frame = pd.DataFrame(
        {
            "customer": pd.array([f"c{row}" for row in range(ROWS)], pd.ArrowDtype(pa.string())),
            "age": np.array([20.0, 45, 70])[truth] + rng.normal(size=ROWS),
            "is_member": pd.array(truth == 1, "boolean"),
            "embedding": list(embedding.astype(np.float32)),
        }
    )
    for row, column in LACKING.items():
        frame.at[row, column] = None
    # As it is after rows were taken out: pandas writes the index as a column.
    frame.index = pd.Index(rng.permutation(2 * ROWS)[:ROWS])
    frame.to_parquet(folder / "rows.parquet")
    return Files(folder / "rows.parquet", folder / "models" / "customers", truth)


class Command:
    """Runs the command in this process, and gives what it prints; ``said`` is its stderr."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.said: list[str] = []

    def __call__(self, *arguments: object) -> str:
        self._capture.readouterr()
        code = main(list(map(str, arguments)))
        printed = self._capture.readouterr()
        assert code == 0, printed.err
        self.said = printed.err.splitlines()
        return printed.out


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    return Command(capfd)


def test_rows_with_missing_values_a_boolean_and_an_embedding_go_the_whole_way(
    files: Files, command: Command, tmp_path: Path
) -> None:
    curves, page = tmp_path / "curves.json", tmp_path / "customers.html"
    found = json.loads(
        command(
            *("select-k", files.rows, "--standardize", "--to", 5, "--resamples", 4),
            *("--out", curves, "--json"),
        )
    )
    assert found["suggestion"] == 3
    assert (found["rows_read"], found["rows_left_out"]) == (ROWS, len(LACKING))

    options = ("--clusters", found["suggestion"], "--standardize", "--model", files.base)
    trained = json.loads(command("train", files.rows, *options, "--json"))
    assert command.said == [
        f"features: 3 numeric columns (age, is_member, embedding[{WIDTH}])",
        "left out 2 columns (customer: string, __index_level_0__: the index of a data frame)",
        f"left out 5 of {ROWS} rows with a missing value (age: 2, is_member: 1, embedding: 2)",
    ]
    assert trained["columns"] == FEATURES
    assert trained["silhouette"] > 0.5
    shown = json.loads(command("inspect", files.base, "--json"))
    assert shown["card"]["feature_names"] == FEATURES

    command("report", files.base, "--select-k", curves, "--out", page)
    assert f"embedding[{WIDTH}]" in page.read_text(encoding="utf-8").replace("<wbr>", "")

    here = command("assign", files.rows, "--model", files.base)
    cluster = np.array([int(row["cluster_index"]) for row in csv.DictReader(here.splitlines())])
    assert np.flatnonzero(cluster == -1).tolist() == list(LACKING)
    assert adjusted_rand_index(cluster[COMPLETE], files.truth[COMPLETE]) == 1
    text = write_text(files.rows, tmp_path / "rows.csv")
    assert command("assign", text, "--model", files.base) == here
    with serve_process(files.base, "--port", "auto", "--rest-api-port", "auto", "--json") as served:
        by_server = ("--server", served.grpc_address)
        assert command("assign", files.rows, "--model", files.base, *by_server) == here
        outputs = [
            score(command, files, tmp_path / name, *by)
            for name, by in (("here", ()), ("by_server", by_server))
        ]

    given = pq.read_table(files.rows).to_pylist()
    for scored, rejected in outputs:
        assert [row.pop("cluster_index") for row in scored] == cluster[COMPLETE].tolist()
        assert all(row.pop("distance") >= 0 for row in scored)
        assert scored == [given[row] for row in COMPLETE]
        assert {row["row"] - 1: group(row["column"]) for row in rejected} == LACKING
        assert {row["reason"] for row in rejected} == {"is missing"}


def write_text(rows: Path, path: Path) -> Path:
    """The same rows as CSV, a column for each number of the vectors."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["customer", *FEATURES], extrasaction="ignore")
        writer.writeheader()
        for row in pq.read_table(rows).to_pylist():
            vector = row["embedding"] or [""] * WIDTH
            writer.writerow({**row, **{f"embedding[{i}]": x for i, x in enumerate(vector)}})
    return path


def score(command: Command, files: Files, output: Path, *by: object) -> tuple[list[Any], list[Any]]:
    """The rows that were scored, with all their columns, and those that were rejected."""
    command("batch-score", files.rows, output, "--model", files.base, "--keep", "*", *by)
    assert command.said == []
    scored, rejected = (pq.read_table(output / name) for name in ("scored", "rejected"))
    return scored.to_pylist(), rejected.to_pylist()


def group(feature: str) -> str:
    """The column that a feature is of."""
    return feature.partition("[")[0]
