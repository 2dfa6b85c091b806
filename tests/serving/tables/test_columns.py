"""What is missing in a cell of text, and which columns of tables a model takes."""

from pathlib import Path

import numpy as np
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from serving.tables.columns import (
    MISSING_TEXTS,
    is_missing,
    select_model_columns,
    unused_columns_note,
)
from serving.tables.errors import ColumnMismatch
from serving.tables.input_files import open_table

from .row_files import write_csv


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


def test_a_name_with_blanks_round_it_is_that_of_a_column_without(tmp_path: Path) -> None:
    table = open_table(write_csv(tmp_path / "rows.csv", [" a", "b\t"], [[1, 2]]))
    assert list(select_model_columns(table, ["b", " a"])) == ["b", "a"]


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
