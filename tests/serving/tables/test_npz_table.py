"""The .npz reader: one array by place, several by their names, and archives that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.tables import npz_table
from serving.tables.errors import ColumnMismatch, UnreadableFile
from serving.tables.input_files import open_table
from serving.tables.training_rows import read_training_rows

from .row_files import read_all


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i4", "u1", "?"])
@pytest.mark.parametrize("is_fortran", [False, True])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_one_array_of_two_dimensions_is_columns_by_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, is_fortran: bool, write: Any
) -> None:
    monkeypatch.setattr(npz_table, "_BLOCK_NUMBERS", 10)
    array = np.arange(57).reshape(19, 3).astype(dtype)
    write(tmp_path / "rows.npz", embedding=np.asfortranarray(array) if is_fortran else array)
    table = open_table(tmp_path / "rows.npz")
    assert (table.columns, table.has_names) == (("feature_0", "feature_1", "feature_2"), False)
    assert table.rows == 19
    picked = ["feature_2", "feature_0"]
    chunks = list(table.chunks(picked, ["feature_1"]))
    assert max(len(chunk.points) for chunk in chunks) == 3
    found = np.concatenate([chunk.points for chunk in chunks])
    np.testing.assert_array_equal(found, array[:, [2, 0]].astype(float))
    kept = [value for chunk in chunks if chunk.kept for value in chunk.kept[0].to_pylist()]
    assert kept == array[:, 1].tolist()
    later = np.concatenate([chunk.points for chunk in table.chunks(picked, start=7)])
    np.testing.assert_array_equal(later, found[7:])


def test_several_arrays_are_numbers_and_vectors_by_their_names(tmp_path: Path) -> None:
    embedding = np.array([[1, 2], [3, np.nan], [5, 6]], np.float32)
    np.savez(
        tmp_path / "rows.npz",
        age=np.array([30, 40, 50], np.int8),
        embedding=embedding,
        name=np.array(["a", "b", "c"]),
        classes=np.array([0, 1]),
        image=np.zeros((3, 2, 2)),
        notes=np.array([{}, {}, {}], object),
    )
    table = open_table(tmp_path / "rows.npz")
    assert {name: kind.holds for name, kind in table.kinds().items()} == {
        "age": "numbers",
        "embedding": "vectors of 2 numbers",
        "name": "text",
        "classes": "an array of shape (2,), where embedding has 3 rows",
        "image": "an array of shape (3, 2, 2), where embedding has 3 rows",
        "notes": "object",
    }
    rows = read_training_rows([table], ["embedding", "age"])
    assert rows.columns == ("embedding[0]", "embedding[1]", "age")
    assert rows.points.tolist() == [[1, 2, 30], [5, 6, 50]]
    assert rows.points.dtype == np.float32
    (chunk,) = table.chunks(["age"], ["embedding", "name"], start=1)
    assert chunk.kept is not None
    assert chunk.kept["name"].to_pylist() == ["b", "c"]
    assert chunk.kept["embedding"].to_pylist()[1] == [5, 6]
    with pytest.raises(ColumnMismatch, match="column 'classes' holds an array of shape"):
        list(table.chunks(["classes"]))
    for name in ("classes", "image", "notes"):
        with pytest.raises(ColumnMismatch, match=f"column '{name}' holds .*, which cannot be kept"):
            table.check(["age"], [name])


def test_one_array_of_one_dimension_is_a_column_by_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.array([1.5, 2.5]))
    table = open_table(tmp_path / "rows.npz")
    assert (table.columns, table.has_names) == (("x",), True)
    assert read_all(table, ["x"]).tolist() == [[1.5], [2.5]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.array(1.0)}, "holds no array of one or two dimensions"),
        ({}, "holds no array of one or two dimensions"),
        ({"x": np.array([["a"]])}, "holds one array of shape (1, 1) of <U1"),
        ({"x": np.zeros((2, 0))}, "holds one array of shape (2, 0) of float64"),
    ],
    ids=["a number", "nothing", "text", "no columns"],
)
def test_an_archive_without_rows_of_numbers_is_named(
    tmp_path: Path, arrays: dict[str, NDArray[Any]], words: str
) -> None:
    np.savez(tmp_path / "rows.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UnreadableFile) as caught:
        open_table(tmp_path / "rows.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'rows.npz'}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_broken_archive_is_unreadable_wherever_a_byte_is_wrong(
    tmp_path: Path, write: Any
) -> None:
    path = tmp_path / "rows.npz"
    write(path, x=np.arange(12.0).reshape(4, 3), y=np.arange(4.0))
    content = path.read_bytes()
    broken = 0
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0xFF
        for text in (content[:place], bytes(changed)):
            path.write_bytes(text or b"P")
            try:
                table = open_table(path)
                list(table.chunks(table.columns))
            except (UnreadableFile, ColumnMismatch) as error:
                broken += str(error).startswith(f"{path}: ")
    assert broken > len(content) // 7


@pytest.mark.parametrize("file", ["rows.npz", "rows.npy"])
def test_a_nan_that_signals_is_a_missing_value_without_a_warning(tmp_path: Path, file: str) -> None:
    values = np.arange(8, dtype=np.float32).reshape(4, 2)
    values.view(np.uint32)[1, 0] = 0x7FA00000  # as a wrong bit may make one
    if file.endswith(".npy"):
        np.save(tmp_path / file, values)
    else:
        np.savez(tmp_path / file, a=values[:, 0].copy(), b=values[:, 1].astype(np.float64))
    points, *_ = open_table(tmp_path / file).blocks(open_table(tmp_path / file).columns)
    assert np.isnan(points[1, 0])
    assert np.isfinite(np.delete(points, 2)).all()
