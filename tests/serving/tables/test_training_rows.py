"""Which columns and rows a fit gets."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.tables.errors import BadCell, NoRows, TableError, UnreadableFile
from serving.tables.feature_selection import select_features
from serving.tables.input_files import open_table
from serving.tables.training_rows import columns_beyond_float32, read_training_rows

from .row_files import write_csv


def test_rows_with_a_missing_value_are_left_out_and_counted_by_column(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "1.csv", ["a", "b"], [[1, 2], ["", 3], ["NA", "NaN"], [4, 5]])
    pq.write_table(
        pa.table({"b": [6.0, None, 8.0], "a": [7.0, 1.0, np.nan]}), tmp_path / "2.parquet"
    )
    seen: list[int] = []

    rows = read_training_rows(
        [open_table(csv), open_table(tmp_path / "2.parquet")], ["a", "b"], on_rows=seen.append
    )

    np.testing.assert_array_equal(rows.points, [[1, 2], [4, 5], [7, 6]])
    assert (rows.rows_read, rows.rows_left_out, sum(seen)) == (7, 4, 7)
    assert rows.missing == {"a": 3, "b": 2}


def test_a_file_in_which_a_column_is_all_null_has_missing_rows_and_numbers_are_widened(
    tmp_path: Path,
) -> None:
    columns = [
        pa.nulls(2),
        pa.array([1, None], pa.int32()),
        pa.array([None, None], pa.float64()),
        pa.array([2**40, 3]),
        pa.array([0.5, np.nan]),
        pa.array([4, 5], pa.float32()),
    ]
    tables = []
    for number, column in enumerate(columns):
        pq.write_table(pa.table({"a": column, "b": [1.0, 2.0]}), tmp_path / f"{number}.parquet")
        tables.append(open_table(tmp_path / f"{number}.parquet"))
    tables.append(open_table(write_csv(tmp_path / "empty.csv", ["a", "b"], [["", 1], ["", 2]])))
    assert select_features(tables).names == ("a", "b")
    rows = read_training_rows(tables, ["a", "b"])
    np.testing.assert_array_equal(rows.points[:, 0], [1, 2**40, 3, 0.5, 4, 5])
    assert (rows.missing, rows.rows_read) == ({"a": 8}, 14)


def test_float64_reaches_the_fit_as_float64_and_float32_stays_small(tmp_path: Path) -> None:
    wide = np.array([[1e9 + 0.25], [1e9 + 0.5]])
    np.save(tmp_path / "wide.npy", wide)
    np.save(tmp_path / "narrow.npy", wide.astype(np.float32))
    wide_rows, narrow_rows = (
        read_training_rows([open_table(tmp_path / name)], ["feature_0"]).points
        for name in ("wide.npy", "narrow.npy")
    )
    assert wide_rows.dtype == np.float64
    np.testing.assert_array_equal(wide_rows, wide)
    assert narrow_rows.dtype == np.float32


@pytest.mark.parametrize(
    ("cell", "words"),
    [("inf", "inf is infinite"), ("-Infinity", "-inf is infinite"), ("1e39", "1e+39 is more than")],
)
def test_a_value_that_no_float32_holds_is_named(tmp_path: Path, cell: str, words: str) -> None:
    path = write_csv(tmp_path / "rows.csv", ["a", "b"], [[1, 2], ["NA", 1], [3, cell]])
    with pytest.raises(BadCell) as caught:
        read_training_rows([open_table(path)], ["a", "b"])
    assert f"{path}: row 3 (line 4), column 'b': {words}" in str(caught.value)


def test_a_quote_that_is_not_closed_is_no_way_to_lose_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('name,a\nann,1\n"bob,2\ncid,3\n"dan",4\n')
    with pytest.raises(UnreadableFile, match=r"rows\.csv: row 2 \(after line 2\): .*not closed\?"):
        read_training_rows([open_table(path)], ["a"])


def test_only_columns_that_lose_a_thousandth_of_their_spread_are_warned_of() -> None:
    offsets = np.arange(100.0)[:, np.newaxis]
    points = np.hstack(
        [offsets, offsets + 1e4, offsets + 1.7e9, np.full((100, 1), 0.1), offsets * 1e-3 + 1e9]
    )
    names = ["small", "far", "seconds", "constant", "close"]
    assert columns_beyond_float32(points, names) == ("seconds", "close")
    assert columns_beyond_float32(points.astype(np.float32), names) == ()


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([], NoRows, "rows.csv: has a header and no rows"),
        ([["", 1], [2, "NA"]], NoRows, "each of the 2 rows has a missing value ('a' lacks 1, 'b'"),
    ],
)
def test_when_no_row_is_left_the_file_and_the_columns_are_named(
    tmp_path: Path, rows: list[list[object]], kind: type[TableError], words: str
) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "b"], rows))
    with pytest.raises(kind) as caught:
        read_training_rows([table], ["a", "b"])
    assert words in str(caught.value)


def test_rows_that_are_left_out_and_digits_that_are_lost_are_a_line_each(tmp_path: Path) -> None:
    lines: list[list[object]] = [[1e9, 1], [1e9 + 1, 2], ["", 3], [0, 0], [0, 0]]
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "b"], lines))
    rows = read_training_rows([table], ["a", "b"], skip_zero_rows=True)
    assert (len(rows.points), rows.rows_left_out, rows.zero_rows) == (2, 3, 2)
    notes = rows.notes()
    assert notes[0] == "left out 1 of 5 rows with a missing value (a: 1)"
    assert notes[1].startswith("left out 2 rows of zeros, which have no direction")
    assert notes[2].startswith("warning: column 'a' loses digits as float32")
    assert len(read_training_rows([table], ["a", "b"]).points) == 4


def test_rows_of_zeros_alone_are_no_rows_for_cosine_distance(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["a"], [[0], [1e-60]]))
    with pytest.raises(NoRows, match=r"rows\.csv: every row is of zeros, which have no direction"):
        read_training_rows([table], ["a"], skip_zero_rows=True)


def test_rows_have_their_weight_and_those_without_one_are_left_out_and_counted(
    tmp_path: Path,
) -> None:
    lines: list[list[object]] = [[1, 2, 0.5], [2, "", 1], [3, 4, "?"], [0, 0, 2], [5, 6, 0]]
    csv = write_csv(tmp_path / "1.csv", ["a", "b", "w"], lines)
    columns = {"w": pa.array([3, None]), "b": [7.0, 8.0], "a": [8.0, 9.0]}
    pq.write_table(pa.table(columns), tmp_path / "2.parquet")
    tables = [open_table(csv), open_table(tmp_path / "2.parquet")]

    rows = read_training_rows(tables, ["a", "b"], weight_column="w", skip_zero_rows=True)

    np.testing.assert_array_equal(rows.points, [[1, 2], [5, 6], [8, 7]])
    assert rows.weights is not None
    np.testing.assert_array_equal(rows.weights, [0.5, 0, 3])
    assert (rows.rows_read, rows.rows_left_out, rows.zero_rows) == (7, 4, 1)
    assert rows.missing == {"b": 1, "w": 2}


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("-0.5", "-0.5 is negative; a weight must be at least 0"),
        ("inf", "inf is infinite"),
        ("1e39", "1e+39 is more than float32 can hold"),
        ("1e-40", "1e-40 is less than float32 can hold; multiply all weights by a constant"),
        ("much", "'much' is not a number"),
    ],
)
def test_what_is_no_weight_is_named(tmp_path: Path, cell: str, words: str) -> None:
    path = write_csv(tmp_path / "rows.csv", ["a", "w"], [[1, 2], ["", ""], [3, cell]])
    with pytest.raises(BadCell) as caught:
        read_training_rows([open_table(path)], ["a"], weight_column="w")
    assert f"{path}: row 3 (line 4), column 'w': {words}" in str(caught.value)


def test_rows_that_all_weigh_nothing_are_no_rows(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "w"], [[1, 0], [2, 0], ["", 1]]))
    with pytest.raises(NoRows, match=r"rows\.csv: no row that is left has a weight above 0 in"):
        read_training_rows([table], ["a"], weight_column="w")


def test_a_column_that_costs_more_than_half_of_the_rows_is_said(tmp_path: Path) -> None:
    lines: list[list[object]] = [[1, 2, ""], [2, "", ""], [3, "", 1], [4, 5, 6]]
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "half", "w"], lines))
    assert read_training_rows([table], ["a", "half"], weight_column="w").notes() == [
        "left out 3 of 4 rows with a missing value (half: 2, w: 2)"
    ]
    lines[0][1] = ""
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "half", "w"], lines))
    assert read_training_rows([table], ["a", "half"]).notes()[1:] == [
        "warning: column 'half' removes 3 of 4 rows, which have no value there; --exclude removes "
        "the column instead"
    ]
