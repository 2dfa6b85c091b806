"""Numbers as people hold them: what is read, how it is named, and the line that others get."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kmeans_module import (
    InvalidAssignments,
    InvalidPoints,
    InvalidWeights,
    NonFinitePoint,
    adjusted_rand_index,
    davies_bouldin,
    fit,
    select_k,
    silhouette,
)
from kmeans_module.array_input import read_array, read_features, read_named_array
from kmeans_module.errors import NoArray
from tests.point_forms import MISSING, MISSING_VECTORS, REFUSED, REFUSED_COLUMNS, WORKING

from .problems import assignments, blobs

POINTS = blobs(40, 3, 2)


@pytest.mark.parametrize("form", WORKING)
def test_points_in_any_form_are_the_same_array(form: str) -> None:
    array = read_array(WORKING[form](POINTS))
    assert array.dtype.kind == "f"
    np.testing.assert_array_equal(array, POINTS)


@pytest.mark.parametrize("form", MISSING)
def test_a_missing_number_is_nan_and_a_boolean_0_or_1(form: str) -> None:
    np.testing.assert_array_equal(read_array(MISSING[form]), [[1, 1], [np.nan, 0]])


@pytest.mark.parametrize("form", MISSING_VECTORS)
def test_a_missing_vector_is_a_row_of_nan(form: str) -> None:
    array = read_array(MISSING_VECTORS[form])
    np.testing.assert_array_equal(array, [[1, 2], [np.nan, np.nan], [3, 4]])


@pytest.mark.parametrize("form", [*REFUSED, *REFUSED_COLUMNS])
def test_what_is_no_array_of_numbers_gets_one_line_that_says_what_it_is(form: str) -> None:
    make, message = {**REFUSED, **REFUSED_COLUMNS}[form]
    with pytest.raises(NoArray, match=f"^points (are|have) .*({message})") as refused:
        read_array(make(POINTS))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("frame", ["c0", "c1", "c2"]),
        ("records", ["c0", "c1", "c2"]),
        ("polars frame", ["c0", "c1", "c2"]),
        ("Arrow table with vectors", ["c0", "rest[0]", "rest[1]"]),
        ("frame of a number and vectors", ["c0", "rest[0]", "rest[1]"]),
        ("series of lists", ["embedding[0]", "embedding[1]", "embedding[2]"]),
        ("series of arrays", None),
        ("Arrow lists", None),
        ("lists", None),
    ],
)
def test_the_features_have_the_names_of_the_columns(form: str, names: list[str] | None) -> None:
    assert read_named_array(WORKING[form](POINTS))[1] == names


def test_float32_is_not_copied() -> None:
    flat = pa.array(POINTS.ravel())
    lists = pa.FixedSizeListArray.from_arrays(flat, POINTS.shape[1])
    for given in (POINTS, lists, pa.table({"embedding": lists}), pd.DataFrame(POINTS, copy=False)):
        assert np.shares_memory(read_array(given), POINTS), type(given)


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_features_are_taken_by_name_from_vectors_and_numbers_in_any_order(
    library: Callable[[Any], Any],
) -> None:
    given = library({"town": ["a", "b"], "rest": [[1.0, 2.0], [3.0, 4.0]], "age": [5, 6]})
    taken = read_features(given, lambda: ["age", "rest[0]", "rest[1]"])
    np.testing.assert_array_equal(taken, [[5, 1, 2], [6, 3, 4]])
    with pytest.raises(NoArray, match=r"no column 'size\[0\]', which the model takes"):
        read_features(given, lambda: ["age", "size[0]"])
    with pytest.raises(NoArray, match=r"2 numbers in each row of column 'rest'.* takes 3 numbers"):
        read_features(given, lambda: ["rest[0]", "rest[1]", "rest[2]"])


def test_flat_columns_go_before_vectors_of_the_same_name() -> None:
    frame = pd.DataFrame({"e[1]": [2], "e[0]": [1], "e": ["text"]})
    np.testing.assert_array_equal(read_features(frame, lambda: ["e[0]", "e[1]"]), [[1, 2]])
    np.testing.assert_array_equal(read_features(pd.DataFrame({"e": [7]}), lambda: ["e[0]"]), [[7]])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "longdouble"])
def test_booleans_beside_numbers_in_a_frame_are_0_and_1(dtype: str) -> None:
    frame = pd.DataFrame({"x": [1, 2, 9] * 20, "b": [True, False, True] * 20})
    frame = frame.astype({"x": dtype})
    array = read_array(frame)
    assert array.dtype.kind in "iuf"
    np.testing.assert_array_equal(array[:3], [[1, 1], [2, 0], [9, 1]])
    result = fit(frame, 2)
    assert result.centroids.tobytes() == fit(array, 2).centroids.tobytes()
    labels = assignments(result)
    assert davies_bouldin(frame, labels) == davies_bouldin(array, labels)
    np.testing.assert_array_equal(read_features(frame, lambda: ["x", "b"]), array)


def test_integers_in_objects_stay_integers() -> None:
    array = read_array(np.array([2**60 + 1, 3], object))
    assert array.dtype == np.int64
    assert array.tolist() == [2**60 + 1, 3]


@pytest.mark.parametrize(
    "ask",
    [
        lambda points: fit(points, 2),
        lambda points: select_k(points, 2, 3),
        lambda points: silhouette(points, [0, 1]),
    ],
    ids=["fit", "select_k", "silhouette"],
)
def test_everything_that_takes_points_refuses_what_is_none(ask: Callable[[Any], object]) -> None:
    for make, message in REFUSED.values():
        with pytest.raises(InvalidPoints, match=message):
            ask(make(POINTS))


@pytest.mark.parametrize("given", MISSING_VECTORS.values())
def test_a_fit_says_which_vector_is_missing(given: Any) -> None:
    with pytest.raises(NonFinitePoint, match=r"^row 1 of the points is missing"):
        fit(given, 1)


def test_a_missing_weight_and_a_missing_assignment_are_named_by_their_row() -> None:
    forms: list[Any] = [pd.array([1, None, 0], "Int64"), [1, None, 0], pa.array([1, None, 0])]
    for given in forms:
        with pytest.raises(InvalidWeights, match=r"of row 1 is missing"):
            fit(POINTS[:3], 1, sample_weight=given)
        with pytest.raises(InvalidAssignments, match="assignment of row 1 is missing"):
            silhouette(POINTS[:3], given)


@pytest.mark.parametrize("given", MISSING.values())
def test_a_fit_names_the_row_of_what_is_missing(given: Any) -> None:
    with pytest.raises(InvalidPoints, match=r"NaN in row 1, column 0|masked"):
        fit(given, 1)


@pytest.mark.parametrize(
    "form", ["polars series of lists", "Arrow table with vectors", "series of lists"]
)
def test_a_fit_of_vectors_is_that_of_the_array(form: str) -> None:
    given = WORKING[form](POINTS)
    plain, result = fit(POINTS, 2), fit(given, 2)
    assert result.centroids.tobytes() == plain.centroids.tobytes()
    found = silhouette(given, pl.Series(result.assignments))
    assert found == silhouette(POINTS, assignments(plain))


def test_weights_and_assignments_of_other_libraries_are_read() -> None:
    weights = np.array([1.0, 0.0] * 20)
    plain = fit(POINTS, 2, sample_weight=weights)
    for form in (pl.Series, pa.array, lambda given: pd.Series(given).convert_dtypes()):
        result = fit(POINTS, 2, sample_weight=form(weights))
        assert result.centroids.tobytes() == plain.centroids.tobytes()
        labels = assignments(plain)
        assert adjusted_rand_index(form(labels), labels) == 1
    words: Any = [1, "much"]
    with pytest.raises(InvalidWeights, match=r"has the text 'much' in row 1.*a row"):
        fit(POINTS[:2], 1, sample_weight=words)
    with pytest.raises(InvalidAssignments, match="assignments have the text 'a' in row 0"):
        adjusted_rand_index(["a", "b"], [0, 1])


def test_without_pyarrow_frames_and_series_of_pandas_are_read_and_the_others_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for form in ("frame", "frame of nullable dtypes", "series of lists"):
        np.testing.assert_array_equal(read_array(WORKING[form](POINTS)), POINTS)
    with pytest.raises(NoArray, match="points are a DataFrame, which needs pyarrow: pip install"):
        read_array(pl.DataFrame({"c0": [1.0]}))
