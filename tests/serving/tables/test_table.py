"""What every reader offers, whatever kind of file it reads."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from serving.tables import arrow_table
from serving.tables.errors import ColumnMismatch, TableError, UnreadableFile
from serving.tables.input_files import kind_of, open_table
from serving.tables.table import Chunk, Fault, Table, concat_chunks

from .row_files import read_all, write_csv, write_tfrecord

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
    assert table.kinds()["x"].is_numeric
    assert not table.kinds()["id"].is_numeric
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
    assert {str(kind) for kind in table.column_types(["id"]).values()} == {"string"}


def test_the_types_of_columns_are_told_by_their_old_name_too_with_a_warning(
    tmp_path: Path,
) -> None:
    table = open_table(write(tmp_path / "rows.parquet"))
    with pytest.warns(DeprecationWarning, match="is Table.column_types now"):
        old = table.kept_types(["id"])
    assert old == table.column_types(["id"])


@pytest.mark.parametrize("name", ["rows.csv", "rows.tfrecord", "rows.parquet", "rows.npy"])
def test_how_many_rows_there_are_is_known_or_guessed(tmp_path: Path, name: str) -> None:
    if name == "rows.npy":
        np.save(tmp_path / name, EXPECTED)
    table = open_table(tmp_path / name if name == "rows.npy" else write(tmp_path / name))
    assert table.estimated_rows is not None
    assert 20 <= table.estimated_rows <= 30
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


def test_wide_tables_come_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_table, "_BLOCK_NUMBERS", 8)
    for name in ("rows.arrow", "rows.parquet", "rows.feather"):
        table = open_table(write(tmp_path / name))
        assert max(len(block) for block in table.blocks(["x", "y"])) == 4
        np.testing.assert_array_equal(read_all(table, ["x", "y"]), EXPECTED)


def test_chunks_are_cut_and_joined_with_their_faults() -> None:
    kept = pa.record_batch({"id": list("abcde")})
    chunk = Chunk(np.arange(10.0).reshape(5, 2), kept, {1: Fault("x", "no"), 3: Fault("", "no")})
    for cut in range(6):
        whole = concat_chunks([chunk.slice(0, cut), chunk.slice(cut, 5)])
        np.testing.assert_array_equal(whole.points, chunk.points)
        assert whole.kept is not None
        assert whole.kept.equals(kept)
        assert whole.faults == chunk.faults


def test_every_reader_is_a_table(tmp_path: Path) -> None:
    assert all(isinstance(open_table(write(tmp_path / name)), Table) for name in KINDS)
