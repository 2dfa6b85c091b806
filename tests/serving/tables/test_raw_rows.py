"""The columns that a model takes are the same whatever the file of rows is."""

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from kmeans_module.category_texts import read_texts, spell
from kmeans_module.columns import CategoryColumn, Column, NumberColumn, VectorColumn
from serving.tables.errors import ColumnMismatch
from serving.tables.input_files import open_table
from serving.tables.raw_rows import CategoryCells, RawRows, encode_values
from serving.tables.reading_options import ReadingOptions
from serving.tables.table import Table, concat_chunks

from .row_files import write_csv, write_tfrecord

REGION = CategoryColumn("region", ("DE", "NA"))


def read_arrays(table: Table, columns: Sequence[Column], start: int = 0) -> list[list[Any]]:
    rows = RawRows(table, columns)
    rows.check()
    return [array.tolist() for array in rows.arrays(concat_chunks([*rows.chunks(start)]))]


def write_each(folder: Path, values: pd.Series) -> list[Table]:
    """The values as the column "region" of each kind of file that can hold them."""
    frame = pd.DataFrame({"x": np.arange(len(values), dtype=np.float64), "region": values})
    frame.to_csv(folder / "rows.csv", index=False)
    frame.to_parquet(folder / "rows.parquet", index=False)
    feather.write_feather(frame, folder / "rows.arrow")
    present = [value for value in values if not pd.isna(value)]
    # pandas would write more digits than float32 has.
    is_narrow = values.dtype == np.float32
    shown = [float(str(x)) for x in values.to_numpy()] if is_narrow else values.tolist()
    (folder / "rows.jsonl").write_text(
        "\n".join(
            json.dumps({"x": x, "region": None if pd.isna(each) else each})
            for x, each in enumerate(shown)
        )
    )
    if len(present) == len(values):
        array = np.array(present) if isinstance(present[0], str) else values.to_numpy()
        np.savez(folder / "rows.npz", x=frame["x"].to_numpy(), region=array)

    def feature(value: Any) -> list[Any]:
        if isinstance(value, str):
            return [value.encode()]
        return [float(value) if isinstance(value, float) else int(value)]

    records = [
        {"x": float(x), **({} if pd.isna(value) else {"region": feature(value)})}
        for x, value in zip(frame["x"], values.tolist(), strict=True)
    ]
    if not isinstance(present[0], bool | np.bool_):  # a tf.train.Example has none
        write_tfrecord(folder / "rows.tfrecord", records)
    return [open_table(path) for path in sorted(folder.iterdir())]


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        (pd.Series(["NA", "DE", None, "NA", "null", "é"]), ["NA", "DE", "", "NA", "null", "é"]),
        (pd.Series(["a ", " b", "-", "?", "007"]), ["a ", " b", "-", "?", "007"]),
        (pd.Series([3, 1, -2]), ["3", "1", "-2"]),
        (pd.Series([3.0, 1.0, None, -0.0]), ["3", "1", "", "0"]),
        (pd.Series([2.5, 1.0]), ["2.5", "1"]),
        (pd.Series([0.1, 1e-7, 7.0], dtype=np.float32), ["0.1", "1e-07", "7"]),
        (pd.Series([True, False]), ["true", "false"]),
        (pd.Series([True, None, False], dtype=object), ["true", "", "false"]),
        (pd.Series(["1.0", "2", "True", "v1.0"]), ["1", "2", "true", "v1.0"]),
        (pd.Series([1e20, 2.0]), ["100000000000000000000", "2"]),
    ],
)
def test_a_value_of_a_category_is_the_same_text_in_every_kind_of_file_and_in_a_frame(
    tmp_path: Path, values: pd.Series, spelled: list[str]
) -> None:
    tables = write_each(tmp_path, values)
    columns: list[Column] = [REGION, NumberColumn("x")]
    found = {Path(table.name).suffix: read_arrays(table, columns)[0] for table in tables}
    assert len(found) >= 4
    assert found == dict.fromkeys(found, spelled)
    assert read_texts("region", values).tolist() == spelled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.00"), "1"),
        (Decimal("1.50"), "1.5"),
        (Decimal("1E+3"), "1000"),
        ("1.", "1"),
        ("01.0", "01.0"),
        ("1.10", "1.10"),
        ("1e5", "1e5"),
        ("-0.0", "0"),
        ("1e+400", "1e+400"),
        (np.float16(1.5), "1.5"),
        (b"1.0", "1"),
        ("nan", "nan"),
        (pd.NA, ""),
    ],
)
def test_what_looks_like_no_whole_number_stays_as_it_is(value: object, text: str) -> None:
    assert spell(value) == text


NUMBERS_AS_WRITTEN = ["1.50", "0.10", "1e3", "+1", ".5", "-2.0", "+1.50", "1E-7", "7", "-0.00"]


def write_cells(path: Path, cells: Sequence[str]) -> Table:
    return open_table(write_csv(path, ["region", "x"], [[cell, 1] for cell in cells]))


def test_a_column_of_numbers_in_csv_is_spelled_as_pandas_and_parquet_have_its_values(
    tmp_path: Path,
) -> None:
    table = write_cells(tmp_path / "rows.csv", [*NUMBERS_AS_WRITTEN, ""])
    frame = pd.read_csv(tmp_path / "rows.csv")
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    expected = ["1.5", "0.1", "1000", "1", "0.5", "-2", "1.5", "1e-07", "7", "0", ""]
    assert read_arrays(table, [REGION]) == [expected]
    assert read_arrays(open_table(tmp_path / "rows.parquet"), [REGION]) == [expected]
    assert read_texts("region", frame["region"]).tolist() == expected


@pytest.mark.parametrize(
    "cells",
    [
        ["1.10", "1.9", "1.9.1"],  # versions, one of which is no number
        ["1e5", "3f2", "+1"],  # ids
        ["007", "1.50", "+3"],  # codes of a fixed length
        ["true", "1.50"],
        ["1e999", "2e999"],  # beyond float64
    ],
)
def test_a_column_of_csv_with_a_text_in_it_is_taken_as_it_is(
    tmp_path: Path, cells: list[str]
) -> None:
    assert read_arrays(write_cells(tmp_path / "rows.csv", cells), [REGION]) == [cells]


def test_a_text_that_the_model_knows_is_that_value_also_beside_numbers_alone(
    tmp_path: Path,
) -> None:
    table = write_cells(tmp_path / "rows.csv", ["1.10", "1.9", "2.50"])
    known = CategoryColumn("region", ("1.10", "1.9", "2.5", "beta"))
    assert read_arrays(table, [known]) == [["1.10", "1.9", "2.5"]]


def test_the_marks_of_numbers_and_missing_values_are_read_before_a_category_is_spelled(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("region;x\n1.234,50;1\n 2,50 ;2\nNA;3\n-9,0;4\n")
    options = ReadingOptions(delimiter=";", decimal=",", thousands=".", na_values=("-9",))
    assert read_arrays(open_table(path, options), [REGION]) == [["1234.5", "2.5", "NA", ""]]


def test_numbers_and_vectors_of_a_table_are_float32_with_nan_beside_categories(
    tmp_path: Path,
) -> None:
    pq.write_table(
        pa.table(
            {
                "other": ["u", "v", "w"],
                "v": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float64())),
                "region": pa.array(["DE", None, "NA"]).dictionary_encode(),
                "x": [1e300, None, 0.5],
            }
        ),
        tmp_path / "rows.parquet",
    )
    columns: list[Column] = [NumberColumn("x"), REGION, VectorColumn("v", 2)]
    rows = RawRows(open_table(tmp_path / "rows.parquet"), columns, keep=["other", "region"])
    (chunk,) = rows.chunks()
    x, region, v = rows.values(chunk)
    assert isinstance(x, np.ndarray)
    assert isinstance(v, np.ndarray)
    assert x.dtype == v.dtype == np.dtype(np.float32)
    np.testing.assert_array_equal(x, [np.inf, np.nan, 0.5])
    np.testing.assert_array_equal(v, [[1, 2], [np.nan, np.nan], [3, 4]])
    assert isinstance(region, CategoryCells)
    assert (region.codes.tolist(), region.values) == ([0, -1, 1], ("DE", "NA"))
    kept = rows.kept(chunk)
    assert kept is not None
    assert kept.to_pydict() == {
        "other": ["u", "v", "w"],
        "region": ["DE", None, "NA"],
    }
    assert list(rows.kept_types()) == ["other", "region"]
    assert rows.used == ("x", "v", "region")
    assert list(rows.named(chunk.slice(1, 3))) == ["x", "region", "v"]
    assert rows.named(chunk.slice(1, 3))["region"].tolist() == ["", "NA"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "jsonl", "tfrecord", "npz"])
def test_a_model_of_categories_alone_reads_any_file_from_any_row(tmp_path: Path, kind: str) -> None:
    values = pd.Series(["DE", "NA", "FR", "DE"])
    folder = tmp_path / "files"
    folder.mkdir()
    (table,) = [each for each in write_each(folder, values) if each.name.endswith(f".{kind}")]
    assert read_arrays(table, [REGION], start=1) == [["NA", "FR", "DE"]]


def test_a_row_with_a_fault_says_so_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x,region\n1,DE\nword,NA\n3,\xff\n4\n5,True\n")
    rows = RawRows(open_table(path), [NumberColumn("x"), REGION])
    chunk = concat_chunks([*rows.chunks()])
    assert {row: fault.column for row, fault in chunk.faults.items()} == {
        1: "x",
        2: "region",
        3: "",
    }
    x, region = rows.arrays(chunk)
    np.testing.assert_array_equal(x, [1, np.nan, 3, np.nan, 5])
    assert region.tolist() == ["DE", "NA", "", "", "true"]


def test_what_na_values_names_is_missing_in_a_category_too(tmp_path: Path) -> None:
    options = ReadingOptions(na_values=("NA", "-1"), decimal=",", delimiter=";")
    path = tmp_path / "rows.csv"
    path.write_text("x;region\n1,5;NA\n2,5;1,0\n-1;null\n3; 2 \n4;-1,0\n5;1,5\n")
    x, region = read_arrays(open_table(path, options), [NumberColumn("x"), REGION])
    assert region == ["", "1", "null", "2", "", "1.5"]
    np.testing.assert_array_equal(x, [1.5, 2.5, np.nan, 3, 4, 5])
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps({"region": each}) for each in ("NA", -1, "DE", 2.0)))
    (found,) = read_arrays(open_table(lines, ReadingOptions(na_values=("NA", "-1"))), [REGION])
    assert found == ["", "", "DE", "2"]


def test_lists_and_objects_are_no_categories_in_json_lines_and_are_carried_along_as_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rows.jsonl"
    values = ["a", ["a"], {"b": 1}, None, 7, []]
    path.write_text("\n".join(json.dumps({"region": each, "x": 1}) for each in values))
    table = open_table(path)
    chunk = concat_chunks([*RawRows(table, [REGION, NumberColumn("x")]).chunks()])
    assert {row: (fault.column, fault.reason) for row, fault in chunk.faults.items()} == {
        1: ("region", '["a"] is not a category value; write one text, number or boolean'),
        2: ("region", '{"b": 1} is not a category value; write one text, number or boolean'),
    }
    (carried,) = RawRows(table, [NumberColumn("x")], keep=["region"]).chunks()
    assert not carried.faults
    assert carried.kept is not None
    assert carried.kept.column("region").to_pylist()[:3] == ["a", '["a"]', '{"b": 1}']


@pytest.mark.parametrize("start", [[], [1] * 5_000])
def test_a_text_among_numbers_of_json_lines_is_a_value_though_it_means_missing_elsewhere(
    tmp_path: Path, start: list[int]
) -> None:
    path = tmp_path / "rows.jsonl"
    values = [*start, 1, "NA", 2.50, float("nan"), True, -9.0, None]
    filler = " " * 1_000  # the text is behind the first block
    path.write_text("\n".join(json.dumps({"region": each, "fill": filler}) for each in values))
    (found,) = read_arrays(open_table(path, ReadingOptions(na_values=("-9",))), [REGION])
    assert found[len(start) :] == ["1", "NA", "2.5", "", "true", "", ""]


def test_a_table_without_names_goes_by_place_and_has_no_categories(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1, 2, 3], [4, 5, 6]]))
    table = open_table(tmp_path / "rows.npy")
    vectors: list[Column] = [VectorColumn("v", 2), NumberColumn("x")]
    assert read_arrays(table, vectors) == [[[1, 2], [4, 5]], [3, 6]]
    with pytest.raises(ColumnMismatch, match=r"have no names.*the category region by name; give"):
        RawRows(table, [*vectors, REGION])
    by_name: list[Column] = [CategoryColumn("feature_1", ()), NumberColumn("feature_0")]
    assert read_arrays(table, by_name) == [["2", "5"], [1, 4]]


def test_folder_names_are_categories_and_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "region=NA" / "day=3"
    folder.mkdir(parents=True)
    table = open_table(write_csv(folder / "rows.csv", ["plan"], [["free"], [""]]))
    columns: list[Column] = [NumberColumn("day"), REGION, CategoryColumn("plan", ("free",))]
    assert read_arrays(table, columns) == [[3, 3], ["NA", "NA"], ["free", ""]]


def test_a_column_that_is_no_category_or_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"region": [[1.0, 2.0]], "x": [1.0]}), tmp_path / "rows.parquet")
    table = open_table(tmp_path / "rows.parquet")
    with pytest.raises(ColumnMismatch, match=r"'region' holds list.*category holds texts"):
        RawRows(table, [REGION])
    with pytest.raises(ColumnMismatch, match=r"no column 'regoin' .*; did you mean 'region'"):
        RawRows(table, [CategoryColumn("regoin", ())])


def test_a_day_is_a_category_in_any_file(tmp_path: Path) -> None:
    days = pa.array([20000, None, 20001], pa.date32())
    pq.write_table(pa.table({"region": days}), tmp_path / "rows.parquet")
    write_csv(
        tmp_path / "rows.csv", ["region", "x"], [["2024-10-04", 1], ["", 2], ["2024-10-05", 3]]
    )
    for name in ("rows.parquet", "rows.csv"):
        found = read_arrays(open_table(tmp_path / name), [REGION])
        assert found == [["2024-10-04", "", "2024-10-05"]]
    assert read_texts("region", days).tolist() == ["2024-10-04", "", "2024-10-05"]


def test_many_rows_are_encoded_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    texts = tuple(f"v{place}" for place in range(40))
    cells = CategoryCells(rng.integers(-1, 40, 20_000).astype(np.int32), texts)
    numbers = rng.normal(size=20_000).astype(np.float32)
    numbers[::7] = np.nan
    columns: list[Column] = [CategoryColumn("c", texts[::-1][3:], True), NumberColumn("x", 0.5)]
    points = encode_values(columns, [cells, numbers])
    assert points.shape == (20_000, 39)
    np.testing.assert_array_equal(points[:, :-1].sum(axis=1), np.ones(20_000))
    places = {text: place for place, text in enumerate(texts[::-1][3:])} | {"": 37}
    expected = [places.get(text, 37) for text in cells.texts()]
    np.testing.assert_array_equal(points[:, :-1].argmax(axis=1), expected)
    np.testing.assert_array_equal(points[:, -1], np.where(np.isnan(numbers), 0.5, numbers))
