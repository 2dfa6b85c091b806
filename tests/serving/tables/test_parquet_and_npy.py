"""The readers of Parquet and .npy, and the door to all readers."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from serving.tables import npy_table
from serving.tables.arrow_table import ParquetTable
from serving.tables.errors import ColumnMismatch, TableError, UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.npy_table import NpyTable

from ..batch.tables import read_all, write_csv

_once_per_path = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def parquet(path: Path, **columns: Any) -> ParquetTable:
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return ParquetTable(path)


@_once_per_path
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(width=32),
            st.none() | st.integers(-(2**53), 2**53),
            st.none() | st.floats(),
        ),
        max_size=30,
    )
)
def test_parquet_is_read_back_bit_for_bit_with_null_as_nan(
    tmp_path: Path, rows: list[tuple[float | None, int | None, float | None]]
) -> None:
    table = parquet(
        tmp_path / "rows.parquet",
        single=pa.array([row[0] for row in rows], pa.float32()),
        whole=pa.array([row[1] for row in rows], pa.int64()),
        double=pa.array([row[2] for row in rows], pa.float64()),
    )
    expected = [[np.nan if row[i] is None else row[i] for i in (2, 0, 1)] for row in rows]

    found = read_all(table, ["double", "single", "whole"])

    np.testing.assert_array_equal(found, np.array(expected, float).reshape(-1, 3))


@_once_per_path
@given(
    npst.arrays(
        st.sampled_from([np.dtype(code) for code in ("f2", "f4", "f8", "i1", "u2", "i4", ">f4")]),
        st.tuples(st.integers(0, 20), st.integers(1, 4)),
    ),
    st.booleans(),
)
def test_npy_is_read_back_bit_for_bit(tmp_path: Path, array: NDArray[Any], fortran: bool) -> None:
    np.save(tmp_path / "rows.npy", np.asfortranarray(array) if fortran else array)
    table = NpyTable(tmp_path / "rows.npy")
    assert table.columns == tuple(f"feature_{index}" for index in range(array.shape[1]))
    np.testing.assert_array_equal(read_all(table, table.columns), array.astype(np.float64))


def test_blocks_are_float32_where_that_is_exact_and_float64_elsewhere(tmp_path: Path) -> None:
    table = parquet(
        tmp_path / "rows.parquet",
        narrow=pa.array([1, None], pa.int16()),
        single=pa.array([1, 2], pa.float32()),
        wide=pa.array([1, 2**25 + 1], pa.int32()),
    )
    assert next(iter(table.blocks(["narrow", "single"]))).dtype == np.float32
    assert next(iter(table.blocks(["narrow", "wide"]))).dtype == np.float64
    for dtype, block in [("f2", "f4"), ("f4", "f4"), ("i2", "f4"), ("i4", "f8"), ("f8", "f8")]:
        np.save(tmp_path / "rows.npy", np.ones((1, 1), dtype))
        (found,) = NpyTable(tmp_path / "rows.npy").blocks(["feature_0"])
        assert found.dtype == block


def test_npy_comes_in_blocks_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npy_table, "_BLOCK_NUMBERS", 10)
    array = np.arange(57.0).reshape(19, 3)
    np.save(tmp_path / "rows.npy", array)
    blocks = list(NpyTable(tmp_path / "rows.npy").blocks(["feature_2", "feature_0"]))
    assert max(map(len, blocks)) == 3
    np.testing.assert_array_equal(np.concatenate(blocks), array[:, [2, 0]])


@pytest.mark.parametrize(
    ("values", "numeric", "holds"),
    [
        (pa.array([1], pa.uint64()), True, "numbers"),
        (pa.array([decimal.Decimal("1.25")]), True, "numbers"),
        (pa.array([1.5]).dictionary_encode(), True, "numbers"),
        (pa.array(["red"]).dictionary_encode(), False, "string"),
        (pa.array(["1"]), False, "string"),
        (pa.array([True]), False, "bool"),
        (pa.array([datetime.date(2020, 1, 1)]), False, "date32[day]"),
        (pa.array([[1.0, 2.0]]), False, "list<element: double>"),
        (pa.nulls(1), None, "no values"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_the_type_of_a_parquet_column_says_whether_it_holds_numbers(
    tmp_path: Path, values: Any, numeric: bool | None, holds: str
) -> None:
    table = parquet(tmp_path / "rows.parquet", x=values)
    assert table.kinds()["x"].numeric is numeric
    assert table.kinds()["x"].holds == holds
    if numeric:
        assert read_all(table, ["x"]) == [[float(values[0].as_py())]]
    else:
        with pytest.raises(ColumnMismatch, match=r"rows\.parquet: column 'x' holds .*not numbers"):
            read_all(table, ["x"])


def test_a_parquet_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet(path, x=pa.array([1.0]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFile, match=r"rows\.parquet: cannot be read as Parquet: "):
        open_table(path)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), "array of shape (3,)"),
        (np.zeros((2, 0)), "array of shape (2, 0)"),
        (np.zeros((2, 2), bool), "holds bool"),
        (np.array([["a"]]), "holds <U1"),
        (np.array([[{}]], object), "is no .npy file of numbers"),
    ],
    ids=["one dimension", "no columns", "bool", "text", "objects"],
)
def test_an_array_that_is_no_table_of_numbers_is_named(
    tmp_path: Path, array: NDArray[Any], words: str
) -> None:
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(UnreadableFile) as caught:
        open_table(tmp_path / "rows.npy")
    assert str(caught.value).startswith(f"{tmp_path / 'rows.npy'}: ")
    assert words in str(caught.value)


def test_the_kind_of_a_file_is_told_by_its_extension_in_any_case(tmp_path: Path) -> None:
    write_csv(tmp_path / "rows.CSV", ["a"], [[1]])
    np.save(tmp_path / "rows.npy", np.ones((1, 1)))
    parquet(tmp_path / "rows.parquet", a=pa.array([1]))
    assert [
        type(open_table(tmp_path / f"rows.{kind}")).__name__ for kind in ("CSV", "npy", "parquet")
    ] == ["CsvTable", "NpyTable", "ParquetTable"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.csv", "no such file"),
        ("folder.csv", "is a folder"),
        ("empty.csv", "is empty"),
        ("empty.parquet", "is empty"),
        ("rows.xlsx", "'.xlsx' is not read; give one of .csv, .csv.gz, .parquet"),
        ("rows", "'' is not read"),
    ],
)
def test_what_cannot_be_opened_is_named_with_the_mend(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    for file in ("empty.csv", "empty.parquet"):
        (tmp_path / file).touch()
    for file in ("rows.xlsx", "rows"):
        (tmp_path / file).write_bytes(b"PK")
    with pytest.raises(TableError) as caught:
        open_table(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert words in str(caught.value)
