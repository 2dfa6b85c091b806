"""Reading what a version said lately: files and folders of batch scoring, and servers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.drift import RecentAnswers
from export.model_card import QUANTILES
from serving.batch.drift_input import (
    ask_server,
    find_version,
    open_output,
    read_outputs,
)
from serving.clients.results import Assignment
from serving.tables.errors import BadCell, NoRows, TableError, UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.model_rows import ModelColumns, select_rows
from serving.tables.table import Chunk
from tests.serving.tables.row_files import write_csv


def output(path: Path, clusters: list[int], distances: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(zip(clusters, distances, strict=True))
    return write_csv(path, ["cluster_index", "distance"], rows)


def read(*paths: Path, clusters: int = 3) -> RecentAnswers:
    return read_outputs([open_output(path) for path in paths], clusters, on_rows=lambda _: None)


def folder(path: Path, rejected: int = 4, version: int = 2) -> Path:
    output(path / "scored" / "part-0.csv", [0, 1], [1.0, 2.0])
    output(path / "scored" / "part-1.csv", [1, 2], [3.0, 4.0])
    output(path / "rejected" / "part-0.csv", [9], [9.0])
    summary = {"model": {"name": "m", "version": version}, "rows": 8, "rejected": rejected}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def test_rows_with_minus_one_are_rejected_rows(tmp_path: Path) -> None:
    found = read(output(tmp_path / "a.csv", [0, 2, -1, 2], [1, 2, -1, 4]))
    assert found.cluster_counts.tolist() == [1, 0, 2]
    assert (found.rows, found.rejected) == (4, 1)
    assert (found.distance_quantiles["0"], found.distance_quantiles["1"]) == (1.0, 4.0)


def test_a_folder_has_its_rejected_rows_in_the_summary_and_its_version_too(tmp_path: Path) -> None:
    opened = open_output(folder(tmp_path / "out"))
    assert (opened.rejected, opened.version) == (4, 2)
    found = read(tmp_path / "out")
    assert found.cluster_counts.tolist() == [1, 2, 1]
    assert (found.rows, found.rejected) == (8, 4)


def test_files_and_folders_add_up(tmp_path: Path) -> None:
    more = output(tmp_path / "a.csv", [0, -1], [1, -1])
    found = read(folder(tmp_path / "one"), folder(tmp_path / "two"), more)
    assert found.cluster_counts.tolist() == [3, 4, 2]
    assert found.rejected == 9


def test_outputs_of_two_versions_are_refused(tmp_path: Path) -> None:
    one, two = (open_output(folder(tmp_path / str(n), version=n)) for n in (1, 2))
    with pytest.raises(UnreadableFile, match="from the versions 1, 2"):
        find_version([one, two])
    assert find_version([one, open_output(output(tmp_path / "a.csv", [0], [0]))]) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no summary.json"),
        ("{", "is not a summary of batch-score: JSONDecodeError"),
        ('{"model": {}}', "is not a summary of batch-score: KeyError: 'rejected'"),
        ("[]", "is not a summary of batch-score: TypeError"),
    ],
)
def test_a_folder_without_a_summary_is_one_clear_line(
    tmp_path: Path, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UnreadableFile, match=said):
        open_output(tmp_path)


@pytest.mark.parametrize(
    ("index", "distance"), [(3, 1), (-2, 1), (0.5, 1), (0, -1), ("NA", 1), (0, "NA")]
)
def test_what_is_no_answer_is_named_with_its_place(
    tmp_path: Path, index: object, distance: object
) -> None:
    path = write_csv(tmp_path / "a.csv", ["cluster_index", "distance"], [[0, 1], [index, distance]])
    with pytest.raises(BadCell, match=r"a\.csv: row 2 \(line 3\): cluster_index .* 3 clusters"):
        read(path)


def test_another_file_and_no_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no column 'cluster_index', 'distance'"):
        read(write_csv(tmp_path / "a.csv", ["x"], [[1]]))
    with pytest.raises(NoRows, match="there is no row to compare"):
        read(output(tmp_path / "b.csv", [], []))


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 400),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e6, 1e30]),
    seed=st.integers(0, 2**32),
)
def test_quantiles_are_numpys_to_a_fifth_of_a_percent(rows: int, scale: float, seed: int) -> None:
    distance = (np.random.default_rng(seed).gamma(2, size=rows) * scale).astype(np.float32)

    class OneAnswer:
        def assign(
            self, points: NDArray[np.float32], /, *, version: int | None = None
        ) -> Assignment:
            return Assignment(np.zeros(len(points), np.int32), points[:, 0], version)

    class OneTable:
        def check(self) -> None:
            pass

        def count_features(self) -> int:
            return 1

        def sound_chunks(self) -> list[Chunk]:
            return [Chunk(distance[:, None])]

        def inputs(self, chunk: Chunk) -> Any:
            return chunk.points

    found = ask_server(OneAnswer(), [OneTable()], 1, 1, on_rows=lambda _: None)  # type: ignore[arg-type, list-item]
    for name, level in QUANTILES.items():
        exact = np.quantile(distance.astype(float), level, method="lower")
        assert found.distance_quantiles[name] == pytest.approx(exact, rel=2e-3)


def test_a_server_is_asked_for_one_version_alone(tmp_path: Path) -> None:
    asked = []

    class Server:
        def assign(
            self, points: NDArray[np.float32], /, *, version: int | None = None
        ) -> Assignment:
            asked.append(version)
            bad = np.isnan(points).any(axis=1)
            index = np.where(bad, -1, 1).astype(np.int32)
            return Assignment(index, index.astype(np.float32), version)

    table = open_table(write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2], ["NA", 1], [3, 4]]))
    rows = select_rows([table], ModelColumns.of_features(["x", "y"]))
    found = ask_server(Server(), rows, 2, 7, on_rows=lambda _: None)  # type: ignore[arg-type]
    assert set(asked) == {7}
    assert found.cluster_counts.tolist() == [0, 2]
    assert found.rejected == 1


@pytest.mark.parametrize("distance", [float("inf"), 1e39])
def test_a_distance_that_no_version_answers_is_told(tmp_path: Path, distance: float) -> None:
    path = output(tmp_path / "a.csv", [0, 1], [1.0, distance])
    with pytest.raises(BadCell, match="is not an answer of a version with 3 clusters"):
        read(path)
    assert read(output(tmp_path / "b.csv", [0, -1], [1.0, 1e39])).rejected == 1
