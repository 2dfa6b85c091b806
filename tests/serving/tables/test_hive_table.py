"""Folders named as in ``day=2026-01-01``: their keys are columns of every file below."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from serving.tables.errors import ColumnMismatch
from serving.tables.feature_selection import select_features
from serving.tables.hive_table import folder_keys
from serving.tables.input_files import input_files, open_table
from serving.tables.table import concat_chunks
from serving.tables.training_rows import read_training_rows

from .row_files import read_all, write_csv


def test_the_keys_are_those_of_the_folders_right_above_the_file() -> None:
    assert folder_keys(Path("in/day=2026-01-01/part=2/a.csv")) == {"day": "2026-01-01", "part": "2"}
    assert list(folder_keys(Path("b=1/a=2/x.csv"))) == ["b", "a"]
    assert folder_keys(Path("run=5/in/a.csv")) == {}
    assert folder_keys(Path("day=1.csv")) == {}
    assert folder_keys(Path("=1/a.csv")) == {}
    assert folder_keys(Path("k=__HIVE_DEFAULT_PARTITION__/m=a%2Fb%20c=d/a.csv")) == {
        "k": None,
        "m": "a/b c=d",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What pyarrow writes of three days and two regions, one of them null."""
    table = pa.table(
        {
            "x": pa.array(range(12), pa.float32()),
            "id": [f"r{i}" for i in range(12)],
            "day": ["2026-01-01", "2026/01/02", "2026-01-03"] * 4,
            "region": pa.array([1, 20260101, None] * 4),
            "y": pa.array(range(12), pa.int16()),
        }
    )
    pa.dataset.write_dataset(
        table,
        str(tmp_path / "in"),
        format="parquet",
        partitioning=["day", "region"],
        partitioning_flavor="hive",
    )
    return tmp_path / "in"


def test_what_pyarrow_writes_in_folders_is_read_as_pyarrow_reads_it(folder: Path) -> None:
    expected = pa.dataset.dataset(str(folder), format="parquet", partitioning="hive").to_table()
    tables = [open_table(path) for path in input_files([folder])]
    assert len(tables) == 3
    selection = select_features(tables)
    assert set(selection.names) == {"x", "y", "region"}
    assert set(selection.left_out) == {"id", "day"}

    names = ["y", "region", "x"]
    chunks = [concat_chunks(list(table.chunks(names, ["day", "id"]))) for table in tables]
    points = np.concatenate([chunk.points for chunk in chunks])
    values = np.column_stack([expected[name].to_numpy().astype(float) for name in names])
    kept = pa.Table.from_batches([chunk.kept for chunk in chunks if chunk.kept is not None])
    # In the order of their ids: the folders have no order of their own.
    ours, theirs = np.argsort(kept["id"].to_numpy()), np.argsort(expected["id"].to_numpy())
    np.testing.assert_array_equal(points[ours], values[theirs])
    assert kept.take(ours).equals(expected.select(["day", "id"]).take(theirs))
    # A key of null is a missing value, and one that float32 rounds is float64.
    assert read_training_rows(tables, names).missing == {"region": 4}
    assert {chunk.points.dtype for chunk in chunks} == {np.dtype(np.float32), np.dtype(np.float64)}


def test_a_row_of_a_file_in_a_folder_is_named_as_ever(tmp_path: Path) -> None:
    place = tmp_path / "day=1"
    place.mkdir()
    table = open_table(write_csv(place / "rows.csv", ["a", "b"], [[1, 2], ["x", 3]]))
    assert table.columns == ("a", "b", "day")
    assert table.place(2) == "row 2 (line 3)"
    with pytest.raises(ColumnMismatch, match="column 'a' holds text"):
        open_table(write_csv(place / "texts.csv", ["a"], [["x"]])).check(["a", "day"])
    with pytest.raises(ColumnMismatch, match="day is only in the names of its folders"):
        table.check(["day"])
    with pytest.raises(ColumnMismatch, match=r"no column 'week' \(columns: a, b, day\)"):
        table.check(["week"])


def test_a_column_of_the_file_goes_before_a_key_of_its_name(tmp_path: Path) -> None:
    place = tmp_path / "a=7"
    place.mkdir()
    table = open_table(write_csv(place / "rows.csv", ["a", "b"], [[1, 2]]))
    np.testing.assert_array_equal(read_all(table, ["a", "b"]), [[1, 2]])


def test_the_keys_stand_beside_vectors_too(tmp_path: Path) -> None:
    place = tmp_path / "part=7"
    place.mkdir()
    rows = pa.table({"e": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], None], "x": [0.5, 1.5, 2.5]})
    pq.write_table(rows, place / "rows.parquet")
    table = open_table(place / "rows.parquet")
    expected = [[0.5, 7, 1, 2, 3], [1.5, 7, 4, 5, 6], [2.5, 7, *[np.nan] * 3]]
    np.testing.assert_array_equal(read_all(table, ["x", "part", "e"]), expected)
    wider = table.with_widths({"e": 4, "x": 1, "part": 1})
    with pytest.raises(ColumnMismatch, match="column 'e' holds vectors of 3 numbers"):
        wider.check(["e", "part"])
    with pytest.raises(ColumnMismatch, match="column 'part' holds numbers, and vectors of 2"):
        table.with_widths({"part": 2}).check(["x", "part"])


def test_a_key_that_is_a_text_in_one_folder_is_no_number(tmp_path: Path) -> None:
    for key in ("1", "first"):
        (tmp_path / f"part={key}").mkdir()
        pq.write_table(pa.table({"x": [1.0]}), tmp_path / f"part={key}" / "rows.parquet")
    first, second = [open_table(path) for path in input_files([tmp_path])]
    assert read_all(first, ["x", "part"]).tolist() == [[1, 1]]
    with pytest.raises(ColumnMismatch, match=r"column 'part' holds text \('first'\), not numbers"):
        read_training_rows([first, second], ["x", "part"])
