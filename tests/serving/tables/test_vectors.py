"""Columns of vectors: what they are in each kind of file, and rows whose vector is none."""

import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from serving.tables.columns import NO_VALUES, column_widths, expand_columns, select_model_columns
from serving.tables.errors import BadCell, ColumnMismatch, NoRows, UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.table import Table
from serving.tables.training_rows import read_model_rows, read_training_rows

from .row_files import read_all, write_csv, write_tfrecord

Write = Callable[[pa.Table, Path], object]

ROWS = [[1.5, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.25]]


def write_ipc(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def parquet(path: Path, **columns: Any) -> Table:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return open_table(path)


def tensors() -> Any:
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 2])
    return pa.ExtensionArray.from_storage(kind, pa.array(ROWS, pa.list_(pa.float32(), 4)))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (pq.write_table, "rows.parquet"),
        (write_ipc, "rows.arrow"),
        (pyarrow.feather.write_feather, "rows.feather"),
    ],
    ids=["parquet", "arrow", "feather"],
)
@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (pa.array(np.array(ROWS, np.float16).tolist(), pa.list_(pa.float16())), np.float32),
        (pa.array(ROWS, pa.list_(pa.float32())), np.float32),
        (pa.array(ROWS, pa.large_list(pa.float32())), np.float32),
        (pa.array(ROWS, pa.list_(pa.float32(), 4)), np.float32),
        (pa.array(ROWS, pa.list_(pa.float64())), np.float64),
        (tensors(), np.float32),
        (pa.array(np.array(ROWS, int).tolist(), pa.list_(pa.int64())), np.float64),
        (pa.array(np.array(ROWS, int).tolist(), pa.list_(pa.uint8())), np.float32),
        (pa.array([[True, False]] * 2), np.float32),
        (pa.array([[decimal.Decimal("1.25"), decimal.Decimal(2)]] * 2), np.float64),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_lists_and_tensors_of_numbers_are_vectors(
    tmp_path: Path, cells: Any, dtype: type, write: Write, name: str
) -> None:
    storage = cells.storage if isinstance(cells, pa.ExtensionArray) else cells
    expected = np.array(storage.to_pylist(), float)
    write(pa.table({"id": ["a", "b"], "v": cells}), tmp_path / name)
    table = open_table(tmp_path / name)

    assert table.kinds()["v"].is_numeric is True
    assert table.kinds()["v"].width == expected.shape[1]
    assert table.kinds()["v"].holds == f"vectors of {expected.shape[1]} numbers"
    (chunk,) = table.chunks(["v"], ["id", "v"])
    assert chunk.points.dtype == dtype
    np.testing.assert_array_equal(chunk.points, expected)
    assert chunk.kept is not None
    assert chunk.kept["v"].equals(cells)


def test_vectors_stand_side_by_side_with_numbers_and_booleans_in_the_order_asked_for(
    tmp_path: Path,
) -> None:
    table = parquet(
        tmp_path / "rows.parquet",
        age=[30, None, 50],
        is_new=[True, False, None],
        v=pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.float32())),
    )
    nan = np.nan
    np.testing.assert_array_equal(
        read_all(table, ["is_new", "v", "age"]),
        [[1, 1, 2, 30], [0, 3, 4, nan], [nan, 5, 6, 50]],
    )
    rows = read_training_rows([table], ["age", "v"])
    assert rows.columns == ("age", "v[0]", "v[1]")
    assert rows.points.tolist() == [[30, 1, 2], [50, 5, 6]]


@pytest.mark.parametrize("size", [None, 3], ids=["list", "fixed_size_list"])
def test_a_vector_that_is_null_empty_or_has_nan_inside_is_a_missing_value_of_its_column(
    tmp_path: Path, size: int | None
) -> None:
    cells = [[1, 2, 3], None, [4, np.nan, 6], [7, None, 9], [10, 11, 12]]
    if size is None:
        cells.append([])
    table = parquet(
        tmp_path / "rows.parquet",
        v=pa.array(cells, pa.list_(pa.float32(), size or -1)),
        x=[1.0] * len(cells),
    )
    rows = read_training_rows([table], ["v", "x"])
    assert rows.points.tolist() == [[1, 2, 3, 1], [10, 11, 12, 1]]
    assert rows.missing == {"v": len(cells) - 2}
    assert rows.notes()[:1] == [
        f"left out {len(cells) - 2} of {len(cells)} rows with a missing value (v: {len(cells) - 2})"
    ]
    (chunk,) = table.chunks(["v"])
    assert not chunk.faults


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_vector_of_another_length_is_named_wherever_it_stands(tmp_path: Path, first: int) -> None:
    cells = [[1.0, 2.0, 3.0]] * 3
    cells[first] = [1.0]
    table = parquet(tmp_path / "rows.parquet", v=cells)
    assert table.kinds()["v"].width == 3
    with pytest.raises(BadCell) as caught:
        read_training_rows([table], ["v"])
    assert str(caught.value) == (
        f"{table.name}: row {first + 1} (counted from 1), column 'v': holds a vector of 1 numbers, "
        "and 3 are needed"
    )


def write_vectors(path: Path, values: list[Any]) -> Table:
    """A file of one column ``v``, of the kind that its name says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"v": value}) + "\n" for value in values))
    elif path.suffix == ".tfrecord":
        write_tfrecord(path, [{"v": value} for value in values])
    else:
        pq.write_table(pa.table({"v": values}), path)
    return open_table(path)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "tfrecord"])
@pytest.mark.parametrize("wide", [70, 150], ids=["most", "all"])
def test_for_a_model_its_own_width_counts_whatever_most_of_the_first_vectors_have(
    tmp_path: Path, kind: str, wide: int
) -> None:
    values = [[1.0, 2.0, 3.0]] * wide + [[4.0, 5.0]] * 60
    table = write_vectors(tmp_path / f"rows.{kind}", values)
    assert table.kinds()["v"].width == 3
    chunks = list(table.with_widths({"v": 2}).chunks(["v"]))
    faults = [fault.reason for chunk in chunks for fault in chunk.faults.values()]
    assert faults == ["holds a vector of 3 numbers, and 2 are needed"] * wide
    assert np.concatenate([chunk.points for chunk in chunks])[wide:].tolist() == values[wide:]
    with pytest.raises(BadCell, match=r"(row|record) 1 \(.*, column 'v': holds a vector of 3 num"):
        read_model_rows([table], ["v[0]", "v[1]"])
    with pytest.raises(ColumnMismatch, match="holds vectors of 3 numbers, and vectors of 4 numbe"):
        read_model_rows([table], ["v[0]", "v[1]", "v[2]", "v[3]"])


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "tfrecord"])
def test_of_lists_of_one_number_and_of_more_alike_often_the_shorter_are_named(
    tmp_path: Path, kind: str
) -> None:
    values = [[1.0], [2.0, 3.0]] * 20
    for given in (values, values[::-1]):
        table = write_vectors(tmp_path / f"rows.{kind}", given)
        with pytest.raises(BadCell, match="holds a vector of 1 numbers, and 2 are needed"):
            read_training_rows([table], ["v"])
    # Where most are of one number, they are numbers.
    table = write_vectors(tmp_path / f"rows.{kind}", [[1.5]] * 3)
    assert read_all(table, ["v"]).tolist() == [[1.5]] * 3


def test_an_infinite_number_in_a_vector_is_named_by_its_feature(tmp_path: Path) -> None:
    table = parquet(tmp_path / "rows.parquet", v=[[1.0, 2.0], [3.0, np.inf]])
    with pytest.raises(BadCell, match=r"row 2 \(counted from 1\), column 'v\[1\]': inf is inf"):
        read_training_rows([table], ["v"])


def test_rows_with_vectors_are_float32_and_what_loses_digits_by_it_is_warned_of(
    tmp_path: Path,
) -> None:
    large = 1e9 + np.arange(100) / 7
    table = parquet(
        tmp_path / "rows.parquet",
        v=[[row / 3, value] for row, value in enumerate(large)],
        seconds=large,
        price=np.arange(100) / 10,
    )
    rows = read_training_rows([table], ["v", "seconds", "price"])
    assert rows.points.dtype == np.float32
    assert rows.features_beyond_float32() == ("v[1]", "seconds")
    assert [line.split(" loses")[0] for line in rows.notes()] == [
        "warning: column 'v[1]'",
        "warning: column 'seconds'",
    ]
    # Without a vector, the digits are there for the fit.
    rows = read_training_rows([table], ["seconds", "price"])
    assert rows.points.dtype == np.float64
    assert rows.features_beyond_float32() == ("seconds",)


def test_a_file_without_a_vector_has_as_many_missing_numbers_as_the_other_files_have(
    tmp_path: Path,
) -> None:
    empty = parquet(tmp_path / "a.parquet", v=pa.array([None, []], pa.list_(pa.float32())))
    null = parquet(tmp_path / "b.parquet", v=pa.nulls(1))
    full = parquet(tmp_path / "c.parquet", v=[[1.0, 2.0]])
    assert empty.kinds()["v"] == NO_VALUES
    rows = read_training_rows([empty, null, full], ["v"])
    assert rows.points.tolist() == [[1, 2]]
    assert rows.missing == {"v": 3}
    with pytest.raises(NoRows, match=r"each of the 3 rows has a missing value \('v' lacks 3\)"):
        read_training_rows([empty, null], ["v"])
    wider = parquet(tmp_path / "d.parquet", v=[[1.0, 2.0, 3.0]])
    with pytest.raises(ColumnMismatch) as caught:
        read_training_rows([full, wider], ["v"])
    assert str(caught.value) == (
        f"{wider.name}: column 'v' holds vectors of 3 numbers, and vectors of 2 numbers are "
        f"needed, as in {full.name}; use one length, or leave the column out with "
        "--exclude or --columns"
    )


def test_a_model_of_vectors_takes_them_as_one_column_or_each_number_as_its_own(
    tmp_path: Path,
) -> None:
    features = expand_columns({"age": 1, "v": 2})
    assert features == ("age", "v[0]", "v[1]")
    lists = parquet(tmp_path / "a.parquet", v=[[1.0, 2.0]], age=[30])
    flat = open_table(write_csv(tmp_path / "b.csv", ["v[1]", "age", "v[0]"], [[4, 40, 3]]))
    np.save(tmp_path / "c.npy", np.array([[50.0, 5.0, 6.0]]))
    array = open_table(tmp_path / "c.npy")

    assert select_model_columns(lists, features) == {"age": 1, "v": 2}
    assert select_model_columns(flat, features) == {"age": 1, "v[0]": 1, "v[1]": 1}
    rows = read_model_rows([lists, flat, array], features)
    assert rows.points.tolist() == [[30, 1, 2], [40, 3, 4], [50, 5, 6]]


def test_a_file_that_has_not_the_vectors_of_a_model_is_named_in_a_short_line(
    tmp_path: Path,
) -> None:
    features = expand_columns({"v": 768})
    narrow = parquet(tmp_path / "a.parquet", v=[[1.0, 2.0]])
    with pytest.raises(ColumnMismatch, match="holds vectors of 2 numbers, and vectors of 768 num"):
        read_model_rows([narrow], features)
    number = parquet(tmp_path / "b.parquet", v=[1.0])
    with pytest.raises(ColumnMismatch, match="holds numbers, and vectors of 768 numbers are need"):
        read_model_rows([number], features)
    with pytest.raises(ColumnMismatch, match="holds vectors of 2 numbers, and numbers are needed"):
        read_model_rows([narrow], ["v"])
    other = parquet(tmp_path / "c.parquet", vec=[[1.0, 2.0]])
    with pytest.raises(ColumnMismatch, match=r"no column 'v' \(columns: vec\)$"):
        read_model_rows([other], features)
    words = parquet(tmp_path / "f.parquet", v=["a"])
    with pytest.raises(ColumnMismatch, match="string, not numbers; vectors of 768 numbers are nee"):
        read_model_rows([words], features)
    with pytest.raises(ColumnMismatch, match="string, not numbers; leave it out, or write it as"):
        read_training_rows([words], ["v"])
    text = open_table(write_csv(tmp_path / "d.csv", ["v"], [[1]]))
    with pytest.raises(ColumnMismatch, match=r"write them as the columns v\[0\] to v\[767\]$"):
        read_model_rows([text], features)
    np.save(tmp_path / "e.npy", np.ones((1, 3)))
    with pytest.raises(ColumnMismatch, match=r"has 3 columns, and the model takes 768: v\[768\]$"):
        read_model_rows([open_table(tmp_path / "e.npy")], features)


def test_a_column_that_is_called_as_a_number_of_a_vector_is_refused_beside_it(
    tmp_path: Path,
) -> None:
    for name in ("v[0]", "v[2]"):
        table = parquet(tmp_path / "rows.parquet", v=[[1.0, 2.0]], **{name: [1.0]})
        with pytest.raises(ColumnMismatch, match=r"are named v\[0\] to v\[1\], and another colum"):
            column_widths([table], ["v", name])


def test_an_arrow_file_whose_lists_lie_beyond_its_numbers_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    write_ipc(pa.table({"v": pa.array([[1.0, 2.0], [3.0, 4.0]])}), path)
    offsets = np.array([0, 2, 4], np.int32).tobytes()
    content = path.read_bytes()
    assert content.count(offsets) == 1
    path.write_bytes(content.replace(offsets, np.array([0, 2, 2**30], np.int32).tobytes()))
    with pytest.raises(UnreadableFile, match=r"rows\.arrow: cannot be read as Arrow IPC: "):
        open_table(path).kinds()


def test_float_lists_of_examples_are_vectors(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"v": [1.5, 2.5], "whole": [1, 2**53 + 1], "x": 1.0},
        {"x": 2.0, "whole": [3, 4]},
        {"v": [3.0, 4.0], "whole": [5, 6], "x": 3.0},
    ]
    table = open_table(write_tfrecord(tmp_path / "rows.tfrecord", rows))
    assert table.kinds()["v"].holds == "vectors of 2 numbers"
    (chunk,) = table.chunks(["x", "v"], ["whole"])
    nan = np.nan
    np.testing.assert_array_equal(chunk.points, [[1, 1.5, 2.5], [2, nan, nan], [3, 3, 4]])
    assert chunk.points.dtype == np.float32
    assert not chunk.faults
    assert chunk.kept is not None
    assert chunk.kept["whole"].to_pylist() == [[1, 2**53 + 1], [3, 4], [5, 6]]

    # The same where TensorFlow's own parser refuses a record.
    rows += [{"v": [1.0, 2.0, 3.0], "x": 4.0}, {"v": [7, 8], "x": 5.0}, {"v": b"red"}, b"\xff"]
    (chunk,) = open_table(write_tfrecord(tmp_path / "rows.tfrecord", rows)).chunks(
        ["x", "v"], ["whole"]
    )
    np.testing.assert_array_equal(chunk.points[:3], [[1, 1.5, 2.5], [2, nan, nan], [3, 3, 4]])
    assert chunk.points[4].tolist() == [5, 7, 8]
    assert [(row, each.column, each.reason) for row, each in sorted(chunk.faults.items())] == [
        (3, "v", "holds a vector of 3 numbers, and 2 are needed"),
        (5, "v", "holds text ('red')"),
        (6, "", "is not a tf.train.Example"),
    ]
    assert chunk.kept is not None
    assert chunk.kept["whole"].to_pylist()[0] == [1, 2**53 + 1]
