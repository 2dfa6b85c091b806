"""Scoring files: row i of the output is row i of the inputs, and nothing is half-written."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import ArrayLike

from serving.batch import job
from serving.batch.errors import BadCell, ColumnMismatch, OutputNotWritten
from serving.batch.job import extra_columns, model_columns, score_files
from serving.batch.readers import open_table
from serving.results import Assignment

from .tables import read_all, write_csv


class FirstColumn:
    """A scorer whose cluster is the first column and whose distance is the second."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def assign(self, points: ArrayLike, /) -> Assignment:
        array = np.asarray(points)
        assert array.dtype == np.float32
        self.sizes.append(len(array))
        bad = ~np.isfinite(array).all(axis=1)
        index = np.where(bad, -1, np.nan_to_num(array[:, 0], posinf=0, neginf=0)).astype(np.int32)
        return Assignment(index, np.where(bad, -1, array[:, 1]).astype(np.float32), 1)


def answers(path: Path) -> list[tuple[int, float]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert [str(kind) for kind in table.schema.types] == ["int32", "float"]
        assert table.column_names == ["cluster_index", "distance"]
        columns = table.to_pydict()
        return list(zip(columns["cluster_index"], columns["distance"], strict=True))
    assert path.read_text().startswith("cluster_index,distance\n")
    found = read_all(open_table(path), ["cluster_index", "distance"]).astype(np.float32)
    return [(int(index), float(distance)) for index, distance in found]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_each_row_has_its_answer_in_order_also_those_that_cannot_be_scored(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_BATCH_ROWS", 3)
    first = write_csv(
        tmp_path / "1.csv",
        ["y", "id", "x"],
        [[0.1, "p", 1], ["NA", "q", 2], [1e39, "r", 3], [1e-8, "s", 4]],
    )
    np.save(tmp_path / "2.npy", np.array([[5, 0.3], [np.inf, 1], [6, 0.7]]))
    output = tmp_path / f"out.{kind}"
    scorer, scored = FirstColumn(), list[int]()

    report = score_files(
        [open_table(first), open_table(tmp_path / "2.npy")],
        output,
        scorer,
        ["x", "y"],
        on_rows=scored.append,
    )

    distances = np.array([0.1, -1, -1, 1e-8, 0.3, -1, 0.7], np.float32).tolist()
    assert answers(output) == list(zip([1, -1, -1, 4, 5, -1, 6], distances, strict=True))
    assert (report.rows, report.rows_not_scored, report.output) == (7, 3, output)
    assert scorer.sizes == scored == [3, 1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.csv", "2.npy", output.name]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_inputs_without_rows_give_an_output_without_rows(tmp_path: Path, kind: str) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["x", "y"], []))
    report = score_files([table], tmp_path / f"out.{kind}", FirstColumn(), ["x", "y"])
    assert report.rows == 0
    assert answers(tmp_path / f"out.{kind}") == []


def test_a_failure_in_the_middle_leaves_the_old_output_and_nothing_else(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "1.csv", ["x", "y"], [[1, 2]])
    bad = write_csv(tmp_path / "2.csv", ["x", "y"], [[1, "oops"]])
    output = tmp_path / "out.csv"
    output.write_text("precious")
    with pytest.raises(BadCell):
        score_files(
            [open_table(good), open_table(bad)], output, FirstColumn(), ["x", "y"], overwrite=True
        )
    assert output.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.csv", "2.csv", "out.csv"]


def test_an_output_is_replaced_only_when_asked_and_never_an_input(tmp_path: Path) -> None:
    rows = write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2]])
    output = tmp_path / "out.csv"
    output.touch()
    table = open_table(rows)
    with pytest.raises(OutputNotWritten, match=r"out\.csv: exists already; .*--overwrite"):
        score_files([table], output, FirstColumn(), ["x", "y"])
    score_files([table], output, FirstColumn(), ["x", "y"], overwrite=True)
    assert answers(output) == [(1, 2.0)]
    with pytest.raises(OutputNotWritten, match="is one of the inputs"):
        score_files([table], rows, FirstColumn(), ["x", "y"], overwrite=True)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("out.xlsx", "'.xlsx' is not written; name a file that ends with .csv or .parquet"),
        ("folder.csv", "is a folder"),
        ("nowhere/out.csv", "there is no folder"),
    ],
)
def test_an_output_that_cannot_be_is_named(tmp_path: Path, output: str, words: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    table = open_table(write_csv(tmp_path / "rows.csv", ["x", "y"], [[1, 2]]))
    with pytest.raises(OutputNotWritten) as caught:
        score_files([table], tmp_path / output, FirstColumn(), ["x", "y"])
    assert str(caught.value).startswith(f"{tmp_path / output}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_disk_that_takes_no_more_is_one_error_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    rows = [[index, index / 3] for index in range(10_000)]
    table = open_table(write_csv(tmp_path / "rows.csv", ["x", "y"], rows))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputNotWritten, match=r"out\..*: File too large; name a place"):
            score_files([table], tmp_path / f"out.{kind}", FirstColumn(), ["x", "y"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_a_missing_column_is_found_before_any_row_is_scored(tmp_path: Path) -> None:
    def tables() -> Iterator[Path]:
        yield write_csv(tmp_path / "1.csv", ["x", "y"], [[1, 2]])
        yield write_csv(tmp_path / "2.csv", ["x", "z"], [[1, 2]])

    scorer = FirstColumn()
    with pytest.raises(ColumnMismatch, match=r"2\.csv: no column 'y'"):
        score_files(
            [open_table(path) for path in tables()], tmp_path / "out.csv", scorer, ["x", "y"]
        )
    assert scorer.sizes == []


def test_an_array_is_taken_by_name_where_it_has_the_names_and_else_by_place(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((1, 3)))
    table = open_table(tmp_path / "rows.npy")
    assert model_columns(table, ["feature_2", "feature_0"]) == ("feature_2", "feature_0")
    assert model_columns(table, ["a", "b", "c"]) == ("feature_0", "feature_1", "feature_2")
    with pytest.raises(ColumnMismatch, match="has 3 columns, and the model takes 2: a, b"):
        model_columns(table, ["a", "b"])


def test_columns_that_the_model_does_not_take_are_named_once(tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / "1.csv", ["id", "x", "y"], []),
        write_csv(tmp_path / "2.csv", ["x", "id", "y", "note"], []),
    ]
    assert extra_columns(map(open_table, paths), ["x", "y"]) == ("id", "note")
