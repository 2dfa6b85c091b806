"""The readers of Arrow IPC, gzip and TFRecord, and what files, folders and globs stand for."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.tables import arrow_table, csv_table
from serving.tables.errors import BadCell, ColumnMismatch, TableError, UnreadableFile
from serving.tables.input_files import input_files, kind_of, open_table
from serving.tables.table import Chunk, Fault, Table, joined

from ..batch.tables import read_all, write_csv, write_tfrecord

TABLE = pa.table(
    {
        "id": [f"r{i}" for i in range(25)],
        "x": pa.array([None if i == 4 else float(i) for i in range(25)]),
        "y": pa.array(range(25), pa.int16()),
    }
)
EXPECTED = np.array([[np.nan if i == 4 else i, i] for i in range(25)], float)


def write(path: Path) -> Path:
    """TABLE, in the kind that the name tells."""
    kind = kind_of(path)
    if kind == ".arrow":
        new = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
        with new(str(path), TABLE.schema) as writer:
            writer.write_table(TABLE, max_chunksize=10)
    elif kind == ".feather":
        pa.feather.write_feather(TABLE, str(path), compression="lz4", chunksize=10)
    elif kind == ".parquet":
        pq.write_table(TABLE, path, row_group_size=10)
    elif kind in (".tfrecord", ".tfrecord.gz"):
        rows = [
            {name: value.encode() if name == "id" else value for name, value in row.items()}
            for row in TABLE.to_pylist()
        ]
        del rows[4]["x"]
        write_tfrecord(path, rows, "GZIP" if kind.endswith(".gz") else "")
    else:
        plain = write_csv(
            path.with_name("plain.csv"),
            TABLE.column_names,
            [list(row.values()) for row in TABLE.to_pylist()],
        ).read_bytes()
        path.write_bytes(gzip.compress(plain) if kind == ".csv.gz" else plain)
    return path


KINDS = [
    "rows.csv",
    "rows.csv.gz",
    "rows.parquet",
    "rows.arrow",
    "rows.arrows",
    "rows.feather",
    "rows.tfrecord",
    "rows.tfrecords.gz",
    "rows.tfrecord-00001-of-00003",
]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_same_rows_from_any_row_on(tmp_path: Path, name: str) -> None:
    table = open_table(write(tmp_path / name))
    assert set(table.columns) == {"id", "x", "y"}
    assert table.kinds()["x"].numeric
    assert not table.kinds()["id"].numeric
    assert table.rows in (25, None)
    np.testing.assert_array_equal(read_all(table, ["x", "y"]), EXPECTED)
    table.check(["y", "x"], ["id"])
    with pytest.raises(ColumnMismatch, match=r"column .id. holds .*not numbers"):
        table.check(["id"])
    for start in (0, 7, 10, 24, 25, 99):
        chunks = [Chunk(np.empty((0, 2))), *table.chunks(["y", "x"], ["id"], start)]
        points = np.concatenate([chunk.points for chunk in chunks])
        np.testing.assert_array_equal(points, EXPECTED[start:, ::-1])
        kept = [
            text.decode() if isinstance(text, bytes) else text
            for chunk in chunks
            if chunk.kept is not None
            for text in chunk.kept["id"].to_pylist()
        ]
        assert kept == TABLE["id"].to_pylist()[start:]
    assert {str(kind) for kind in table.kept_types(["id"]).values()} == {"string"}


@pytest.mark.parametrize("name", ["rows.csv", "rows.tfrecord", "rows.parquet", "rows.npy"])
def test_how_many_rows_there_are_is_known_or_guessed(tmp_path: Path, name: str) -> None:
    if name == "rows.npy":
        np.save(tmp_path / name, EXPECTED)
    table = open_table(tmp_path / name if name == "rows.npy" else write(tmp_path / name))
    assert table.likely_rows is not None
    assert 20 <= table.likely_rows <= 30
    assert (table.rows == 25) is (name in ("rows.parquet", "rows.npy"))


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_ends_too_early_or_is_something_else_is_named(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / name)
    if kind_of(path) != ".csv":
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(UnreadableFile, match=rf"{name}: cannot be read"):
            read_all(open_table(path), ["x", "y"])
    path.write_bytes(b"no such thing" * 40)
    with pytest.raises(TableError, match=rf"{name}: ") as caught:
        read_all(open_table(path), ["x", "y"])
    assert "\n" not in str(caught.value)


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
    assert [(fault.row, fault.column, fault.reason) for fault in chunk.faults] == [
        (1, "", "is no tf.train.Example"),
        (2, "x", "holds text ('red')"),
        (3, "y", "holds a list of 2 values"),
    ]
    np.testing.assert_array_equal(chunk.points[[0, 4, 5]], [[1.5, 2], [2, 2], [np.nan, 7]])
    assert chunk.kept is not None
    assert chunk.kept["id"].to_pylist() == ["a", None, "a", "a", "a", None]
    with pytest.raises(BadCell, match=r"rows\.tfrecord: record 2 .* is no tf\.train\.Example"):
        read_all(table, ["x"])


_cells = st.sampled_from(["1", "-2.5", " 3e1", "", "NA", "inf", "1e999", "oops", "1,5", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(
        st.tuples(_cells, _cells) | st.tuples(_cells) | st.tuples(_cells, _cells, _cells),
        min_size=1,
        max_size=40,
    ),
    start=st.integers(0, 45),
    block=st.sampled_from([64, 2**20]),
)
def test_a_bad_cell_of_a_csv_file_is_a_fault_of_its_row_alone(
    tmp_path: Path, rows: list[tuple[str, ...]], start: int, block: int
) -> None:
    # A line with nothing on it is no row.
    rows = [row for row in rows if row != ("",)] or [("1", "2")]
    path = write_csv(tmp_path / "rows.csv", ["x", "y"], rows)
    before = csv_table._BLOCK_BYTES
    csv_table._BLOCK_BYTES = block  # type: ignore[misc]
    try:
        table = open_table(path)
        chunks = [Chunk(np.empty((0, 2))), *table.chunks(["x", "y"], (), start)]
    finally:
        csv_table._BLOCK_BYTES = before  # type: ignore[misc]
    found = joined(chunks)
    faults = {fault.row: fault for fault in found.faults}
    assert len(found.points) == max(0, len(rows) - start)
    for at, row in enumerate(rows[start:]):
        if len(row) != 2:
            assert faults[at].column == ""
            assert f"has {len(row)} cells" in faults[at].reason
            continue
        bad = [i for i, cell in enumerate(row) if cell in ("oops", "1,5", "é")]
        if bad:
            assert faults[at].column == "xy"[bad[0]]
            assert repr(row[bad[0]]) in faults[at].reason
        else:
            assert at not in faults
            values = [np.nan if cell in ("", "NA") else float(cell) for cell in row]
            np.testing.assert_array_equal(found.points[at], values)


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
    assert [(fault.row, fault.column, fault.reason) for fault in chunk.faults] == [
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


def test_chunks_are_cut_and_joined_with_their_faults() -> None:
    kept = pa.record_batch({"id": list("abcde")})
    chunk = Chunk(np.arange(10.0).reshape(5, 2), kept, (Fault(1, "x", "no"), Fault(3, "", "no")))
    for cut in range(6):
        whole = joined([chunk.slice(0, cut), chunk.slice(cut, 5)])
        np.testing.assert_array_equal(whole.points, chunk.points)
        assert whole.kept is not None
        assert whole.kept.equals(kept)
        assert whole.faults == chunk.faults


def test_wide_tables_come_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_table, "_BLOCK_NUMBERS", 8)
    for name in ("rows.arrow", "rows.parquet", "rows.feather"):
        table = open_table(write(tmp_path / name))
        assert max(len(block) for block in table.blocks(["x", "y"])) == 4
        np.testing.assert_array_equal(read_all(table, ["x", "y"]), EXPECTED)


def test_folders_and_globs_stand_for_their_files_in_a_fixed_order(tmp_path: Path) -> None:
    (tmp_path / "in" / "2026").mkdir(parents=True)
    (tmp_path / "in" / "_temporary").mkdir()
    names = ["b.csv", "2026/c.parquet", "a.npy", "_temporary/d.csv", ".e.csv", "_SUCCESS", "f.txt"]
    for name in names:
        (tmp_path / "in" / name).touch()

    def found(*given: str) -> list[str]:
        files = input_files([tmp_path / "in" / name for name in given])
        return [str(path.relative_to(tmp_path / "in")) for path in files]

    assert found("") == ["2026/c.parquet", "a.npy", "b.csv"]
    assert found("b.csv", "2026") == ["b.csv", "2026/c.parquet"]
    assert found("*.csv", "**/*.parquet") == ["b.csv", "2026/c.parquet"]
    assert input_files([Path("-")]) == [Path("-")]
    with pytest.raises(UnreadableFile, match="no file matches"):
        found("*.json")
    (tmp_path / "empty").mkdir()
    listed = r"is a folder without a file that is read \(.*\.arrow, .*\.arrows\)"
    with pytest.raises(UnreadableFile, match=listed):
        input_files([tmp_path / "empty"])
    # A file whose name looks like a glob is that file.
    (tmp_path / "in" / "[x].csv").touch()
    assert found("[x].csv") == ["[x].csv"]


def test_an_output_that_lies_among_the_inputs_is_none_of_them(tmp_path: Path) -> None:
    output = tmp_path / "in" / "out"
    (output / "scored").mkdir(parents=True)
    (tmp_path / "in" / "a.csv").touch()
    (output / "scored" / "part-00000-00000.csv").touch()

    for name in ("in", "in/*", "in/**/*.csv", "in/a.csv"):
        assert input_files([tmp_path / name], output) == [tmp_path / "in" / "a.csv"], name
    # Given by itself it stays, for the job to refuse.
    assert len(input_files([output / "scored"], output)) == 1


def test_every_reader_is_a_table(tmp_path: Path) -> None:
    assert all(isinstance(open_table(write(tmp_path / name)), Table) for name in KINDS)
