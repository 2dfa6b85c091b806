"""The reader of JSON lines: what the columns are, exact values, and lines that are bad rows."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.tables import json_table
from serving.tables.errors import BadCell, ColumnMismatch, UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.reading_options import ReadingOptions
from serving.tables.training_rows import read_training_rows

from .row_files import read_all


def write(path: Path, rows: list[Any]) -> Path:
    """Objects as JSON, and lines of text as they are."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.ndjson", "rows.jsonl.gz", "rows.ndjson.gz"])
def test_numbers_booleans_and_lists_are_features_and_the_rest_is_named(
    tmp_path: Path, name: str
) -> None:
    rows = [
        {"id": 1, "v": [1, 2.5], "is_new": True, "x": None, "note": "a", "tags": ["b"]},
        {"id": 2, "v": [3, 4], "is_new": False, "x": 7, "note": "?", "tags": []},
    ]
    table = open_table(write(tmp_path / name, rows))
    assert {name: kind.holds for name, kind in table.kinds().items()} == {
        "id": "numbers",
        "v": "vectors of 2 numbers",
        "is_new": "numbers",
        "x": "numbers",
        "note": "text ('a')",
        "tags": '["b"]',
    }
    (chunk,) = table.chunks(["x", "v", "is_new"], ["id", "note", "tags", "v"])
    np.testing.assert_array_equal(chunk.points, [[np.nan, 1, 2.5, 1], [7, 3, 4, 0]])
    assert not chunk.faults
    assert chunk.kept is not None
    assert chunk.kept.to_pylist() == [
        {"id": 1, "note": "a", "tags": '["b"]', "v": [1, 2.5]},
        {"id": 2, "note": "?", "tags": "[]", "v": [3, 4]},
    ]
    with pytest.raises(ColumnMismatch, match="column 'note' holds text"):
        list(table.chunks(["note"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"x": st.none() | st.floats() | st.integers(-(2**60), 2**60) | st.booleans()},
            optional={"v": st.none() | st.lists(st.floats(), min_size=3, max_size=3)},
        ),
        min_size=1,
        max_size=12,
    )
)
def test_json_is_read_back_bit_for_bit_and_alike_by_either_parser(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    # The first rows tell what the columns are.
    rows = [{"x": 0.5, "v": [1.0, 2.0, 3.0]}] * 20 + rows
    expected = [
        [math.nan if row["x"] is None else float(row["x"]), *(row.get("v") or [math.nan] * 3)]
        for row in rows
    ]
    found = read_all(open_table(write(tmp_path / "rows.jsonl", rows)), ["x", "v"])
    np.testing.assert_array_equal(found, expected)
    # A bad row makes Python parse its neighbours.
    table = open_table(write(tmp_path / "rows.jsonl", [*rows, "{"]))
    (chunk,) = table.chunks(["x", "v"])
    np.testing.assert_array_equal(chunk.points[:-1], expected)
    assert list(chunk.faults) == [len(rows)]


def test_a_line_that_is_no_row_is_a_fault_of_its_row_alone(tmp_path: Path) -> None:
    good = {"x": 1.5, "v": [1, 2], "is_new": True, "id": 2**53 + 1}
    rows: list[Any] = [
        *[good] * 30,
        "",
        {"x": "red", "v": [1, 2]},
        {"x": "NA", "v": [1, None], "is_new": 0},
        {"x": 1, "v": [1, 2, 3]},
        {"x": 1, "v": ["a", 2]},
        {"x": [1], "v": [1, 2]},
        [1, 2],
        '{"x": 1} {"x": 2}',
        '{"x": 1e400, "v": [1, 2]}',
        {"x": True, "v": [3, 4]},
        good,
    ]
    table = open_table(write(tmp_path / "rows.jsonl", rows))
    (chunk,) = table.chunks(["x", "v", "is_new"], ["id"])
    assert {row: (each.column, each.reason) for row, each in sorted(chunk.faults.items())} == {
        30: ("x", '"red" is not a number; write a missing value as null'),
        32: ("v", "holds a vector of 3 numbers, and 2 are needed"),
        33: ("v", '"a" is not a number; write a missing value as null'),
        34: ("x", "[1] is not a number; write a missing value as null"),
        35: ("", "'[1, 2]' is not a JSON object; write one object per line"),
        36: ("", '\'{"x": 1} {"x": 2}\' is not a JSON object; write one object per line'),
    }
    nan = np.nan
    np.testing.assert_array_equal(
        chunk.points[[0, 31, 37, 38, 39]],
        [[1.5, 1, 2, 1], [nan, 1, nan, 0], [np.inf, 1, 2, nan], [1, 3, 4, nan], [1.5, 1, 2, 1]],
    )
    assert chunk.kept is not None
    assert [chunk.kept["id"][row].as_py() for row in (0, 30, 39)] == [2**53 + 1, None, 2**53 + 1]
    with pytest.raises(BadCell, match=r"rows\.jsonl: row 31 \(line 32\), column 'x': \"red\" is"):
        read_training_rows([table], ["x", "v"])


def test_what_is_kept_loses_no_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = 2**53 + 1
    rows = [{"id": large, "mixed": large, "huge": 2**70, "x": 1}, {"mixed": 0.5, "x": True}]
    names = ["id", "mixed", "huge", "x"]
    (chunk,) = open_table(write(tmp_path / "rows.jsonl", rows)).chunks(["x"], names)
    assert chunk.kept is not None
    assert chunk.kept.to_pylist() == [
        {"id": large, "mixed": str(large), "huge": str(2**70), "x": 1.0},
        {"id": None, "mixed": "0.5", "huge": None, "x": 1.0},
    ]
    # A value that only a later block has is a fault where it cannot be kept as the others are.
    monkeypatch.setattr(json_table, "_BLOCK_BYTES", 10)
    rows = [{"id": 1, "x": True}, {"id": 1.5, "x": 3}]
    first, second = open_table(write(tmp_path / "rows.jsonl", rows)).chunks(["x"], ["id"])
    assert (first.points.tolist(), second.points.tolist(), first.faults) == ([[1]], [[3]], {})
    reason = "1.5 is not a whole number, unlike the first values of the column"
    assert [(each.column, each.reason) for each in second.faults.values()] == [("id", reason)]


def test_rows_come_in_blocks_of_bounded_size_from_wherever_they_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_table, "_BLOCK_BYTES", 50)
    rows = [{"x": row} for row in range(40)]
    table = open_table(write(tmp_path / "rows.jsonl", ["\ufeff" + json.dumps(rows[0]), *rows[1:]]))
    chunks = list(table.chunks(["x"], ["x"], start=7))
    assert max(len(chunk.points) for chunk in chunks) < 8
    assert np.concatenate([chunk.points for chunk in chunks]).ravel().tolist() == [*range(7, 40)]
    kept = [value for chunk in chunks if chunk.kept for value in chunk.kept["x"].to_pylist()]
    assert kept == [*range(7, 40)]
    assert table.rows is None
    assert table.estimated_rows is not None
    assert 30 < table.estimated_rows < 50


@pytest.mark.parametrize("text", ["\n\n", "{}\n", '[{"x": 1}]\n', "x,y\n1,2\n", "[" * 100_000])
def test_a_file_without_objects_is_named_with_the_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(UnreadableFile, match=r"rows\.jsonl: none of its first lines is a JSON obj"):
        open_table(tmp_path / "rows.jsonl")


def test_a_gzip_file_that_ends_too_early_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl.gz", [{"x": row / 7} for row in range(1_000)])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFile, match=r"rows\.jsonl\.gz: cannot be read: "):
        read_all(open_table(path), ["x"])


@pytest.mark.parametrize("later", ["new", "null"], ids=["a key of late rows", "null at first"])
def test_a_column_is_the_same_whether_its_values_are_in_the_first_rows_or_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    monkeypatch.setattr(json_table, "_BLOCK_BYTES", 100)
    lacking: dict[str, Any] = {"x": 1.5} if later == "new" else {"x": 1.5, "y": None, "v": []}
    rows = [lacking] * 40 + [{"x": 2.5, "y": 7, "v": [1, 2]}] * 40
    nan = np.nan
    expected = np.array([[1.5, nan, nan, nan]] * 40 + [[2.5, 7, 1, 2]] * 40)
    for objects, points in ((rows, expected), (rows[::-1], expected[::-1])):
        table = open_table(write(tmp_path / "rows.jsonl", objects))
        assert {name: kind.width for name, kind in table.kinds().items()} == {
            "x": 1,
            "y": 1,
            "v": 2,
        }
        np.testing.assert_array_equal(read_all(table, ["x", "y", "v"]), points)


def test_texts_and_numbers_that_stand_for_missing_values_are_missing(tmp_path: Path) -> None:
    rows = [{"x": -999, "v": [1, 2], "y": "none", "t": "none"}, {"x": 2, "v": [-999.0, 4], "y": 5}]
    options = ReadingOptions(na_values=("none", "-999"))
    table = open_table(write(tmp_path / "rows.jsonl", rows), options)
    kinds = {name: kind.holds for name, kind in table.kinds().items()}
    assert kinds == {
        "x": "numbers",
        "v": "vectors of 2 numbers",
        "y": "numbers",
        "t": "no values",
    }
    nan = np.nan
    for columns in (["x", "v"], ["x", "v", "y"]):
        (chunk,) = table.chunks(columns, ["y", "x"])
        expected = np.array([[nan, 1, 2, nan], [2, nan, 4, 5]])[:, : len(columns) + 1]
        np.testing.assert_array_equal(chunk.points, expected)
        assert not chunk.faults
        # What is kept is as it stands in the file.
        assert chunk.kept is not None
        assert chunk.kept.to_pylist() == [{"y": "none", "x": -999}, {"y": "5", "x": 2}]
