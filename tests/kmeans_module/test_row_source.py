"""Rows that a source gives, and what it says of those that it cannot give."""

import os
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kmeans_module import (
    InvalidParameter,
    InvalidPoints,
    InvalidWeights,
    NonFinitePoint,
    RowSource,
    UnreadableRows,
    ZeroPoint,
    fit,
    row_source,
)
from kmeans_module.validation import check_points

from .problems import Float32, blobs

POINTS = blobs(500, 3, 4)
WEIGHT = np.random.default_rng(1).uniform(0, 2, 500).astype("f4")


def _array(folder: Path) -> RowSource:
    return RowSource.from_array(POINTS, WEIGHT)


def _memmap(folder: Path) -> RowSource:
    np.save(folder / "points.npy", POINTS)
    np.save(folder / "weight.npy", WEIGHT)
    points, weight = (np.load(folder / f"{name}.npy", "r") for name in ("points", "weight"))
    return RowSource.from_array(points, weight)


def _file(folder: Path) -> RowSource:
    (folder / "rows").write_bytes(b"header." + POINTS.tobytes())
    return RowSource.from_file(folder / "rows", 3, offset=7, sample_weight=WEIGHT)


def _rows_of_a_dataset(folder: Path) -> RowSource:
    dataset = tf.data.Dataset.from_tensor_slices((POINTS, WEIGHT))
    return RowSource.from_dataset(dataset, folder=folder)


def _batches_of_a_dataset(folder: Path) -> RowSource:
    dataset = tf.data.Dataset.from_tensor_slices((POINTS, WEIGHT)).batch(64)
    return RowSource.from_dataset(dataset)


@pytest.mark.parametrize(
    "make", [_array, _memmap, _file, _rows_of_a_dataset, _batches_of_a_dataset]
)
def test_every_source_gives_its_rows_and_weights_again_and_again(make: Any, tmp_path: Path) -> None:
    source = make(tmp_path)
    assert source.shape == (500, 3)
    assert source.dtype == np.float32
    assert source.is_weighted
    for start, stop in ((0, 500), (17, 93), (499, 500), (250, 250), (0, 500)):
        np.testing.assert_array_equal(source[start:stop], POINTS[start:stop])
        np.testing.assert_array_equal(source.weights[start:stop], WEIGHT[start:stop])
    for numbers in ([3], [0, 1, 7, 8, 300, 499], [499], list(range(500)), []):
        chosen = np.array(numbers, np.int64)
        np.testing.assert_array_equal(source.take(chosen), POINTS[chosen])


def test_rows_that_lie_apart_are_read_without_all_that_lie_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_source, "_GAP_BYTES", 12 * 10)
    reads = []

    class Watched(RowSource):
        shape, dtype = (500, 3), np.dtype("f4")

        def read(self, start: int, stop: int) -> Float32:
            reads.append((start, stop))
            return POINTS[start:stop]

    numbers = np.array([2, 5, 15, 26, 400], np.int64)
    np.testing.assert_array_equal(Watched().take(numbers), POINTS[numbers])
    assert reads == [(2, 16), (26, 27), (400, 401)]


def test_a_whole_memmap_is_read_as_a_file_and_a_part_of_one_as_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", POINTS)
    whole = np.load(tmp_path / "points.npy", "r")
    os.truncate(tmp_path / "points.npy", 128 + 12 * 100)
    with pytest.raises(UnreadableRows, match=r"points\.npy: ends in row 100 .* was truncated"):
        RowSource.from_array(whole)[90:110]
    np.save(tmp_path / "points.npy", POINTS)
    part = np.load(tmp_path / "points.npy", "r")[100:300]
    np.testing.assert_array_equal(RowSource.from_array(part)[10:20], POINTS[110:120])
    copied = np.load(tmp_path / "points.npy", "c")
    copied[3] = 7
    np.testing.assert_array_equal(RowSource.from_array(copied)[3:4], [[7, 7, 7]])


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "?"])
def test_a_file_may_hold_numbers_of_any_real_dtype(dtype: str, tmp_path: Path) -> None:
    points = (POINTS * 100).astype(dtype)
    points.tofile(tmp_path / "rows")
    source = RowSource.from_file(tmp_path / "rows", 3, dtype=dtype)
    np.testing.assert_array_equal(source[100:200], points[100:200])


def test_a_file_is_read_where_it_is_told_to_be(tmp_path: Path) -> None:
    POINTS.tofile(tmp_path / "rows")
    source = RowSource.from_file(tmp_path / "rows", 3, offset=120, n_rows=20)
    np.testing.assert_array_equal(source[0:20], POINTS[10:30])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"n_features": 4, "n_rows": 400},
            UnreadableRows,
            "6000 bytes from byte 0 on, .* 400 rows",
        ),
        ({"n_features": 7}, UnreadableRows, "not whole rows of 28 bytes, 7 numbers of float32"),
        ({"n_features": 3, "offset": 1}, UnreadableRows, "5999 bytes from byte 1 on"),
        ({"n_features": 3, "offset": 6000}, InvalidPoints, "has no rows from byte 6000 on"),
        ({"n_features": 3, "offset": 7000}, UnreadableRows, "0 bytes from byte 7000 on"),
        ({"n_features": 3, "offset": -1}, InvalidParameter, "offset is -1; give a whole number"),
        ({"n_features": 0}, InvalidParameter, "n_features is 0; give a whole number of at least 1"),
        ({"n_features": 3, "n_rows": 0}, InvalidParameter, "n_rows is 0; give"),
        ({"n_features": 3, "dtype": "c8"}, InvalidPoints, "dtype is complex64, which is not"),
        (
            {"n_features": 3, "sample_weight": [1.0]},
            InvalidWeights,
            r"give one weight per row, .*500",
        ),
    ],
)
def test_a_file_of_other_rows_is_refused_with_what_is_wrong(
    options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    POINTS.tofile(tmp_path / "rows")
    with pytest.raises(error, match=said):
        RowSource.from_file(tmp_path / "rows", **options)


def test_a_file_that_cannot_be_opened_or_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRows, match="none: cannot be read: No such file or directory"):
        RowSource.from_file(tmp_path / "none", 3)
    with pytest.raises(UnreadableRows, match="cannot be read: Is a directory"):
        RowSource.from_file(tmp_path, 1, dtype="u1", n_rows=1)[0:1]


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (tf.data.Dataset.from_tensors({"a": [1.0]}), "the elements of the data set are"),
        (tf.data.Dataset.from_tensors([1.0]).repeat(), "repeats without end"),
        (tf.data.Dataset.from_tensors([["a"]]), "gives object .* after 0 rows; give real numbers"),
        (tf.data.Dataset.from_tensors("a"), r"gives \|S1 \(\) after 0 rows; give real numbers"),
        (tf.data.Dataset.from_tensors(1.0), r"gives float32 \(\) after 0 rows; give real numbers"),
        (tf.data.Dataset.from_tensors(([[1.0]], [1.0, 2.0])), "with one weight per row"),
        (tf.data.Dataset.from_tensors([[1.0]]).take(0), "the data set has no rows"),
        ([[1.0]], "dataset has type list; give a tf.data.Dataset"),
    ],
)
def test_a_data_set_of_something_else_is_refused(dataset: Any, said: str) -> None:
    with pytest.raises(InvalidPoints, match=said):
        RowSource.from_dataset(dataset)


def test_a_data_set_whose_rows_differ_in_length_is_refused() -> None:
    def batches() -> Any:
        yield np.ones((3, 2), np.float32)
        yield np.ones((3, 4), np.float32)

    spec = tf.TensorSpec([None, None], tf.float32)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    with pytest.raises(InvalidPoints, match="rows of 4 numbers after 3 rows of 2; give each row"):
        RowSource.from_dataset(dataset)


def test_a_data_set_that_finds_no_room_is_told_with_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(POINTS).batch(50)
    with pytest.raises(UnreadableRows, match=r"none: cannot hold .* No such file.* give folder="):
        RowSource.from_dataset(dataset, folder=tmp_path / "none")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FileIO("/dev/full", "wb"))
    with pytest.raises(UnreadableRows, match="of which 50 came: No space left on device; give"):
        RowSource.from_dataset(dataset)


def test_a_spooled_data_set_leaves_no_file_behind_and_frees_it_with_the_source(
    tmp_path: Path,
) -> None:
    dataset = tf.data.Dataset.from_tensor_slices(POINTS).batch(50)
    before = set(os.listdir("/proc/self/fd"))
    source = RowSource.from_dataset(dataset, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    (held,) = set(os.listdir("/proc/self/fd")) - before
    assert os.readlink(f"/proc/self/fd/{held}").startswith(str(tmp_path))
    del source
    assert not Path(f"/proc/self/fd/{held}").exists()


def test_what_takes_an_array_alone_says_so() -> None:
    source = RowSource.from_array(POINTS)
    for ask in (np.asarray, check_points):
        with pytest.raises(InvalidPoints, match=r"^points are a RowSource, .* takes an array"):
            ask(source)


def test_a_source_that_gives_other_rows_than_asked_for_is_refused() -> None:
    class Short(RowSource):
        shape, dtype = (500, 3), np.dtype("f4")

        def read(self, start: int, stop: int) -> Float32:
            return POINTS[start : stop - 1]

    with pytest.raises(UnreadableRows, match=r"in the shape \(499, 3\); .* shape \(500, 3\)"):
        fit(Short(), 3)


@pytest.mark.parametrize(
    ("changes", "weight", "options", "error", "said"),
    [
        ([((499, 1), np.nan)], None, {}, NonFinitePoint, "points hold NaN in row 499, column 1"),
        ([((499, 1), np.inf)], "zero", {}, NonFinitePoint, "points hold inf in row 499, column 1"),
        (
            [(499, 0)],
            None,
            {"distance": "cosine"},
            ZeroPoint,
            "zeros alone in row 499",
        ),
        ([], "negative", {}, InvalidWeights, "sample_weight of row 480 is -1"),
        ([], "none", {}, InvalidWeights, "sample_weight is 0 for every row"),
        (
            [((slice(None), 0), np.linspace(0, 1e30, 500))],
            None,
            {},
            InvalidPoints,
            "has a range of",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_told_with_its_number(
    changes: list[tuple[Any, Any]],
    weight: str | None,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    points = POINTS.copy()
    for place, value in changes:
        points[place] = value
    weights = {
        None: None,
        "zero": np.where(np.arange(500) == 499, 0, 1),
        "negative": np.where(np.arange(500) == 480, -1, 1),
        "none": np.zeros(500),
    }
    with pytest.raises(error, match=said):
        fit(RowSource.from_array(points, weights[weight]), 3, **options)


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_a_file_that_is_rewritten_while_a_fit_reads_it_ends_the_fit(
    value: float, tmp_path: Path
) -> None:
    path = tmp_path / "rows"
    POINTS.tofile(path)
    source = RowSource.from_file(path, 3)

    def rewrite(_: object) -> None:
        with path.open("r+b") as file:
            file.write(np.full_like(POINTS, value).data)

    with pytest.raises(UnreadableRows, match="rows: has changed since it was opened; open it"):
        fit(source, 3, init=POINTS[:3], on_iteration=rewrite)


@pytest.mark.parametrize("engine", ["plain", "unrolled", "matmul"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_source_whose_rows_change_from_one_pass_to_the_next_ends_the_fit(
    value: float, engine: str
) -> None:
    class Changing(RowSource):
        shape, dtype = (500, 3), np.dtype("f4")
        points = POINTS.copy()

        def read(self, start: int, stop: int) -> Float32:
            return self.points[start:stop]

    source = Changing()

    def change(_: object) -> None:
        source.points[100:] = value

    with pytest.raises(UnreadableRows, match="the rows changed while they were read: a pass"):
        fit(source, 3, init=POINTS[:3], on_iteration=change, engine=engine, tol=0)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"dtype": np.dtype("f4")}, r"shape of Own is None; set it to \(rows, features\)"),
        ({"shape": (500, 3)}, "dtype of Own is None; set it as np.dtype"),
        ({"shape": (500, 3), "dtype": "f4"}, "dtype of Own is 'f4'; set it as np.dtype"),
        ({"shape": (500, 3), "dtype": np.dtype("f4")}, "rows 0 to 500 as list; read must give"),
    ],
)
def test_a_subclass_that_gives_something_else_is_told_what_to_give(
    attributes: dict[str, Any], said: str
) -> None:
    own = type("Own", (RowSource,), {"read": lambda _, i, j: POINTS[i:j].tolist(), **attributes})
    with pytest.raises(InvalidPoints, match=said):
        fit(own(), 3)
