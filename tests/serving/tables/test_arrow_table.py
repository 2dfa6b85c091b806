"""The reader of Parquet and Arrow IPC: exact values, and which types are numbers."""

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

from serving.tables.arrow_table import ParquetTable
from serving.tables.errors import ColumnMismatch, UnreadableFile
from serving.tables.input_files import open_table

from .row_files import read_all


def parquet(path: Path, **columns: Any) -> ParquetTable:
    pq.write_table(pa.table(columns), path, row_group_size=7)
    return ParquetTable(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


def test_blocks_are_float32_where_that_is_exact_and_float64_elsewhere(tmp_path: Path) -> None:
    table = parquet(
        tmp_path / "rows.parquet",
        narrow=pa.array([1, None], pa.int16()),
        single=pa.array([1, 2], pa.float32()),
        wide=pa.array([1, 2**25 + 1], pa.int32()),
    )
    assert next(iter(table.blocks(["narrow", "single"]))).dtype == np.float32
    assert next(iter(table.blocks(["narrow", "wide"]))).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "is_numeric", "holds"),
    [
        (pa.array([1], pa.uint64()), True, "numbers"),
        (pa.array([decimal.Decimal("1.25")]), True, "numbers"),
        (pa.array([1.5]).dictionary_encode(), True, "numbers"),
        (pa.array(["red"]).dictionary_encode(), False, "string"),
        (pa.array(["1"]), False, "string"),
        (pa.array([True]), True, "numbers"),
        (pa.array([datetime.date(2020, 1, 1)]), False, "date32[day]"),
        (pa.array([["a", "b"]]), False, "list<element: string>"),
        (pa.array([[[1.0], [2.0]]]), False, "list<element: list<element: double>>"),
        (pa.nulls(1), None, "no values"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_the_type_of_a_parquet_column_says_whether_it_holds_numbers(
    tmp_path: Path, values: Any, is_numeric: bool | None, holds: str
) -> None:
    table = parquet(tmp_path / "rows.parquet", x=values)
    assert table.kinds()["x"].is_numeric is is_numeric
    assert table.kinds()["x"].holds == holds
    if is_numeric is not False:
        expected = np.nan if is_numeric is None else float(values[0].as_py())
        np.testing.assert_array_equal(read_all(table, ["x"]), [[expected]])
    else:
        with pytest.raises(ColumnMismatch, match=r"rows\.parquet: column 'x' holds .*not numbers"):
            read_all(table, ["x"])


def test_a_parquet_file_that_ends_too_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet(path, x=pa.array([1.0]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableFile, match=r"rows\.parquet: cannot be read as Parquet: "):
        open_table(path)
