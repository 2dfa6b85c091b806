"""The TFRecord reader: what is wrong with a record is a fault of its row alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.tables.errors import BadCell
from serving.tables.input_files import open_table

from .row_files import read_all, write_tfrecord


def test_a_record_that_holds_no_number_is_a_fault_of_its_row_alone(tmp_path: Path) -> None:
    good = {"x": 1.5, "y": 2, "id": b"a"}
    rows = [
        good,
        b"\xff\xff",
        good | {"x": b"red"},
        good | {"y": [3, 4]},
        good | {"x": 2},
        {"y": 7},
    ]
    table = open_table(write_tfrecord(tmp_path / "rows.tfrecord", rows))
    (chunk,) = table.chunks(["x", "y"], ["id"])
    assert [(row, each.column, each.reason) for row, each in chunk.faults.items()] == [
        (1, "", "is not a tf.train.Example"),
        (2, "x", "holds text ('red')"),
        (3, "y", "holds a list of 2 values"),
    ]
    np.testing.assert_array_equal(chunk.points[[0, 4, 5]], [[1.5, 2], [2, 2], [np.nan, 7]])
    assert chunk.kept is not None
    assert chunk.kept["id"].to_pylist() == ["a", None, "a", "a", "a", None]
    with pytest.raises(BadCell, match=r"rows\.tfrecord: record 2 .* is not a tf\.train\.Example"):
        read_all(table, ["x"])


def test_a_record_whose_kept_column_is_of_another_list_is_a_fault_of_that_record(
    tmp_path: Path,
) -> None:
    large = 2**53 + 1  # which float64 does not hold
    rows: list[Any] = [
        {"id": large, "x": 1, "score": 0.5},
        {"id": 2.5, "x": 1, "score": 0.5},
        {"id": 3, "x": 2.5, "score": 7},
        {"x": large, "score": 0.25},
    ]
    table = open_table(write_tfrecord(tmp_path / "rows.tfrecord", rows))
    (chunk,) = table.chunks(["x"], ["id", "score"])
    assert [(row, each.column, each.reason) for row, each in chunk.faults.items()] == [
        (1, "id", "holds 2.5 as float_list, and the first records have int64_list"),
        (2, "score", "holds 7 as int64_list, and the first records have float_list"),
    ]
    assert chunk.kept is not None
    assert [chunk.kept["id"][row].as_py() for row in (0, 3)] == [large, None]
    np.testing.assert_array_equal(chunk.points[[0, 3]], [[1], [2.0**53]])
    # Without a fault as well, TensorFlow's own parser at work.
    (chunk,) = open_table(write_tfrecord(tmp_path / "2.tfrecord", rows[::3])).chunks(["x"], ["id"])
    assert chunk.kept is not None
    assert chunk.kept["id"].to_pylist() == [large, None]
    np.testing.assert_array_equal(chunk.points, [[1], [2.0**53]])


def test_a_feature_is_the_same_whether_it_is_in_the_first_records_or_the_last(
    tmp_path: Path,
) -> None:
    rows: list[Any] = [{"x": 1.5}] * 150 + [{"x": 2.5, "y": 7, "v": [1.0, 2.0], "name": b"a"}] * 9
    nan = np.nan
    expected = np.array([[1.5, nan, nan, nan]] * 150 + [[2.5, 7, 1, 2]] * 9)
    for given, points in ((rows, expected), (rows[::-1], expected[::-1])):
        table = open_table(write_tfrecord(tmp_path / "rows.tfrecord", given))
        assert {name: kind.holds for name, kind in table.kinds().items()} == {
            "name": "text ('a')",
            "v": "vectors of 2 numbers",
            "x": "numbers",
            "y": "numbers",
        }
        np.testing.assert_array_equal(read_all(table, ["x", "y", "v"]), points)
