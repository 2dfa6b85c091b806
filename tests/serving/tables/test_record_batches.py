"""Record batches become points and columns to keep; what is not UTF-8 is a fault of its row."""

import numpy as np
import pyarrow as pa

from serving.tables.record_batches import keep_columns, read_points
from serving.tables.table import Fault

BATCH = pa.record_batch(
    {
        "x": pa.array([1, None, 2**53 + 1], pa.int64()),
        "y": pa.array([0.5, 1.5, None], pa.float32()),
        "name": pa.array([b"a", b"\xff", None], pa.binary()),
    }
)


def test_points_come_in_the_order_asked_for_with_null_as_nan_and_large_integers_rounded() -> None:
    points = read_points(BATCH, {"y": 1, "x": 1}, pa.float64(), {})
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, [[0.5, 1], [1.5, np.nan], [np.nan, 2.0**53]])


def test_bytes_that_are_no_text_are_a_fault_of_a_row_that_has_none_yet() -> None:
    types: dict[str, pa.DataType] = {"name": pa.string(), "y": pa.float32()}
    faults: dict[int, Fault] = {}
    kept = keep_columns(BATCH, types, faults)
    assert kept is not None
    assert kept.to_pydict() == {"name": ["a", None, None], "y": [0.5, 1.5, None]}
    assert faults == {1: Fault("name", "b'\\xff' is not UTF-8; write text in UTF-8")}
    faults = {1: Fault("x", "is wrong already")}
    keep_columns(BATCH, types, faults)
    assert faults == {1: Fault("x", "is wrong already")}


def test_bytes_that_are_to_stay_bytes_are_kept_as_they_are() -> None:
    faults: dict[int, Fault] = {}
    kept = keep_columns(BATCH, {"name": pa.binary()}, faults)
    assert kept is not None
    assert kept["name"].to_pylist() == [b"a", b"\xff", None]
    assert not faults
    assert keep_columns(BATCH, {}, faults) is None
