"""Which columns of tables are used, by a fit and by a model, and which are left out."""

from pathlib import Path

import numpy as np
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from serving.tables.columns import (
    MISSING_TEXTS,
    is_missing,
    select_model_columns,
    select_numeric_columns,
    unused_columns_note,
)
from serving.tables.errors import ColumnMismatch
from serving.tables.input_files import open_table
from serving.tables.training_rows import read_training_rows

from .row_files import write_csv


def test_numeric_columns_are_taken_in_the_order_of_the_first_file(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "1.csv", ["b", "name", "a"], [[1, "x", ""]])
    second = write_csv(tmp_path / "2.csv", ["a", "b", "name"], [[2, 3, "y"]])
    tables = [open_table(first), open_table(second)]

    selection = select_numeric_columns(tables)

    # In the first file alone, nobody knows what a holds.
    assert selection.names == ("b", "a")
    assert selection.left_out == {"name": "text ('x')"}
    np.testing.assert_array_equal(read_training_rows(tables, selection.names).points, [[3, 2]])


def test_files_that_do_not_agree_are_named_with_the_column(tmp_path: Path) -> None:
    short, long = (
        open_table(write_csv(tmp_path / f"{len(names)}.csv", names, [[1] * len(names)]))
        for names in (["a"], ["a", "b"])
    )
    with pytest.raises(ColumnMismatch, match=r"1\.csv: no column 'b'"):
        select_numeric_columns([long, short])
    with pytest.raises(ColumnMismatch, match=r"2\.csv: has a column 'b' and .*1\.csv has not"):
        select_numeric_columns([short, long])
    assert len(read_training_rows([short, long], ["a"]).points) == 2


def test_a_file_without_numbers_says_what_its_columns_hold(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", ["a", "b"], [["x", ""]]))
    with pytest.raises(ColumnMismatch) as caught:
        select_numeric_columns([table])
    assert "no column holds numbers ('a' holds text ('x'); 'b' holds no values)" in str(
        caught.value
    )


def test_an_array_is_taken_by_name_where_it_has_the_names_and_else_by_place(
    tmp_path: Path,
) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((1, 3)))
    table = open_table(tmp_path / "rows.npy")
    by_name = list(select_model_columns(table, ["feature_2", "feature_0"]))
    assert by_name == ["feature_2", "feature_0"]
    by_place = list(select_model_columns(table, ["a", "b", "c"]))
    assert by_place == ["feature_0", "feature_1", "feature_2"]
    with pytest.raises(ColumnMismatch, match="has 3 columns, and the model takes 2: a, b"):
        select_model_columns(table, ["a", "b"])


def test_columns_that_the_model_does_not_take_are_named_once(tmp_path: Path) -> None:
    paths = [
        write_csv(tmp_path / "1.csv", ["id", "x", "y"], []),
        write_csv(tmp_path / "2.csv", ["x", "id", "y", "note"], []),
    ]
    tables = list(map(open_table, paths))
    assert unused_columns_note(tables, ["x", "y"]) == "ignored 2 columns: id, note"
    assert unused_columns_note(tables, ["note", "y", "x", "id"]) is None


def test_what_pandas_reads_as_missing_is_missing_and_so_are_two_marks_of_public_data_sets() -> None:
    assert set(MISSING_TEXTS) == STR_NA_VALUES | {"?", "-"}
    assert is_missing("\t NA ")
    assert not is_missing("NA 1")


def test_what_a_fit_takes_and_leaves_out_is_a_line_each(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rows.csv", ["2", "", "1"], [[7, 1, "x"]])
    assert select_numeric_columns([open_table(path)]).notes() == [
        "took 1 numeric column: 2",
        "left out 2 columns ((unnamed): a column without a name, 1: text ('x'))",
        "warning: the names of the columns are numbers; has the file no header?",
    ]
