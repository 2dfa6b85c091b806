"""What goes into a fit, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kmeans_module import (
    FitParameters,
    FitResult,
    InvalidCentroids,
    InvalidParameter,
    InvalidPoints,
    InvalidWeights,
    KMeansError,
    NonFinitePoint,
    Progress,
    TooFewDistinctPoints,
    fit,
)
from tests.forked_calls import refused_in_a_fork

from .problems import Float32, assignments, blobs, distinct_rows

POINTS = blobs(60, 3, 3)
NAN, INFINITY = POINTS.copy(), POINTS.copy()
NAN[17, 2] = np.nan
INFINITY[5, 0] = -np.inf


@pytest.mark.parametrize(
    ("points", "arguments", "error", "words"),
    [
        (POINTS[0], {}, InvalidPoints, ["(3,)", "two dimensions"]),
        (POINTS[:0], {}, InvalidPoints, ["(0, 3)", "at least one row"]),
        (POINTS[:, :0], {}, InvalidPoints, ["(60, 0)", "one feature"]),
        ([["a", "b"]], {}, InvalidPoints, ["not numeric"]),
        (POINTS.astype(complex), {}, InvalidPoints, ["complex128"]),
        (NAN, {}, NonFinitePoint, ["NaN", "row 17", "column 2"]),
        (INFINITY, {}, NonFinitePoint, ["-inf", "row 5", "column 0"]),
        (np.full((4, 1), 1e300), {}, InvalidPoints, ["column 0", "1e+300", "float32"]),
        (POINTS, {"n_clusters": 0}, InvalidParameter, ["n_clusters", "0", "at least 1"]),
        (POINTS, {"n_clusters": 2.0}, InvalidParameter, ["n_clusters", "2.0"]),
        (POINTS, {"n_clusters": True}, InvalidParameter, ["n_clusters", "True"]),
        (POINTS, {"n_clusters": 61}, TooFewDistinctPoints, ["61", "60"]),
        (np.ones((9, 2)), {"n_clusters": 2}, TooFewDistinctPoints, ["only 1 of 9 rows"]),
        (POINTS, {"n_init": 0}, InvalidParameter, ["n_init", "0"]),
        (POINTS, {"max_iter": 0}, InvalidParameter, ["max_iter", "0"]),
        (POINTS, {"tol": -1.0}, InvalidParameter, ["tol", "-1.0"]),
        (POINTS, {"tol": float("nan")}, InvalidParameter, ["tol", "nan"]),
        (POINTS, {"tol": True}, InvalidParameter, ["tol", "True"]),
        (POINTS, {"standardize": "yes"}, InvalidParameter, ["standardize", "'yes'"]),
        (POINTS, {"distance": np.ones(2)}, InvalidParameter, ["distance", "euclidean"]),
        (POINTS, {"on_iteration": 3}, InvalidParameter, ["on_iteration", "3"]),
        (POINTS, {"seed": -1}, InvalidParameter, ["seed", "-1"]),
        (POINTS, {"init": "best"}, InvalidParameter, ["'best'", "k-means++"]),
        (POINTS, {"init": POINTS[:2]}, InvalidCentroids, ["(2, 3)", "(3, 3)"]),
        (POINTS, {"init": NAN[16:19]}, InvalidCentroids, ["NaN"]),
        (POINTS, {"sample_weight": np.ones(59)}, InvalidWeights, ["(59,)", "(60,)"]),
        (POINTS, {"sample_weight": np.zeros(60)}, InvalidWeights, ["every row"]),
        (POINTS, {"sample_weight": -np.ones(60)}, InvalidWeights, ["row 0", "-1.0"]),
        (POINTS, {"sample_weight": np.full(60, np.inf)}, InvalidWeights, ["row 0", "inf"]),
        (POINTS, {"sample_weight": np.full(60, 1e300)}, InvalidWeights, ["1e+300", "float32"]),
        (POINTS, {"sample_weight": np.full(60, 1e-42)}, InvalidWeights, ["1e-42", "float32"]),
        (POINTS, {"sample_weight": ["1"] * 60}, InvalidWeights, ["one weight per row"]),
        (POINTS, {"sample_weight": [[1], [2, 3]]}, InvalidWeights, ["2 numbers in row 1"]),
        (POINTS, {"sample_weight": np.ma.masked_less(POINTS[:, 0], 0)}, InvalidWeights, ["masked"]),
        (POINTS, {"init": np.ma.masked_less(POINTS[:3], 0)}, InvalidCentroids, ["masked"]),
    ],
)
def test_a_wrong_input_is_refused_with_one_line_that_names_it(
    points: Any, arguments: dict[str, Any], error: type[KMeansError], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        fit(points, **{"n_clusters": 3, **arguments})
    assert isinstance(caught.value, KMeansError)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def same_fit(points: Any, reference: FitResult) -> None:
    result = fit(points, 3, init=distinct_rows(POINTS, 3))
    np.testing.assert_array_equal(result.assignments, reference.assignments)
    np.testing.assert_allclose(result.centroids, reference.centroids, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        lambda points: points.astype("f8"),
        lambda points: points.astype(">f4"),
        lambda points: points.tolist(),
        tf.constant,
        pd.DataFrame,
        lambda points: pd.DataFrame(points).astype({0: "Float32", 1: "float64"}),
        np.asfortranarray,
        lambda points: np.repeat(points, 2, axis=0)[::2],
        lambda points: np.frombuffer(points.tobytes(), np.float32).reshape(points.shape),
        lambda points: np.r_[np.zeros(1, "f4"), points.ravel()][1:].reshape(points.shape),
    ],
    ids=[
        "float64",
        "big endian",
        "lists",
        "tensor",
        "frame",
        "frame of several dtypes",
        "columns first",
        "strided",
        "read-only",
        "not aligned for TensorFlow",
    ],
)
def test_points_of_any_form_give_the_same_fit(form: Callable[[Float32], Any]) -> None:
    same_fit(form(POINTS), fit(POINTS, 3, init=distinct_rows(POINTS, 3)))


def test_float64_and_integers_are_centred_before_they_are_rounded_to_float32() -> None:
    # float32 holds neither 1e9 + 1 nor 2**40 + 1; the clusters lie 4 apart.
    steps = np.array([0, 1, 4, 5] * 10)
    for points in [(1e9 + steps)[:, None], (2**40 + steps)[:, None]]:
        result = fit(points, 2, init=points[[0, 2]])
        np.testing.assert_array_equal(result.assignments, steps // 4)
        assert result.inertia == pytest.approx(40 * 0.25, rel=1e-5)


def test_a_frame_is_refused_by_the_name_of_its_column_or_the_place_of_what_is_missing() -> None:
    frame = pd.DataFrame(POINTS, columns=["x", "y", "z"])
    with pytest.raises(InvalidPoints, match=r"^points have a column 'city' of dtype"):
        fit(frame.assign(city="12"), 3)
    missing = frame.assign(count=pd.array([1, None, *range(58)], dtype="Int64"))
    with pytest.raises(NonFinitePoint, match=r"NaN in row 1, column 3 \('count'\);"):
        fit(missing, 3)
    with pytest.raises(InvalidPoints, match="two dimensions"):
        fit(frame["x"], 3)


def test_weights_and_centroids_may_be_of_pandas_too() -> None:
    frame = pd.DataFrame(POINTS)
    init = distinct_rows(POINTS, 3)
    plain = fit(POINTS, 3, init=init)
    framed = fit(frame, 3, init=pd.DataFrame(init), sample_weight=pd.Series(np.ones(60)))
    np.testing.assert_array_equal(framed.assignments, plain.assignments)


def test_a_fit_in_a_fork_of_a_process_that_had_fitted_is_refused_and_does_not_hang() -> None:
    fit(POINTS, 3)
    assert "'spawn'" in refused_in_a_fork(lambda: fit(POINTS, 3))


@pytest.mark.parametrize("engine", ["plain", "matmul"])
def test_assignments_are_the_callers_to_write_into(engine: str) -> None:
    assignments(fit(POINTS, 3, engine=engine))[0] = 2


def test_fit_leaves_its_input_as_it_was() -> None:
    points, weight = POINTS.copy(), np.ones(60)
    fit(points, 3, sample_weight=weight, standardize=True)
    np.testing.assert_array_equal(points, POINTS)
    np.testing.assert_array_equal(weight, np.ones(60))


def test_given_centroids_are_started_from_once() -> None:
    seen: list[Progress] = []
    fit(POINTS, 3, init=distinct_rows(POINTS, 3), n_init=5, on_iteration=seen.append)
    assert {progress.n_init for progress in seen} == {1}


def test_progress_counts_starts_and_iterations() -> None:
    seen: list[Progress] = []
    result = fit(POINTS, 3, n_init=4, on_iteration=seen.append)
    assert [progress.start for progress in seen if progress.iteration == 1] == [1, 2, 3, 4]
    assert result.history[0].inertia in [progress.inertia for progress in seen]


def test_random_state_is_seed_by_another_name() -> None:
    named = fit(POINTS, 3, random_state=7)
    assert np.array_equal(named.centroids, fit(POINTS, 3, seed=7).centroids)
    assert named.parameters.seed == 7
    assert fit(POINTS, 3, random_state=None).parameters.seed == 0


def test_seed_and_random_state_together_are_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"seed is 1 and random_state is 1.*give one"):
        fit(POINTS, 3, seed=1, random_state=1)


def test_a_random_state_that_is_no_number_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidParameter, match="random_state is"):
        fit(POINTS, 3, random_state=np.random.RandomState(0))  # type: ignore[arg-type]


def test_a_result_carries_the_parameters_with_every_default_resolved() -> None:
    found = fit(POINTS, 3, standardize=True, max_iter=9).parameters
    assert found == FitParameters(
        n_clusters=3,
        init="k-means++",
        n_init=10,
        max_iter=9,
        tol=1e-4,
        standardize=True,
        distance="euclidean",
        seed=0,
    )
    given = fit(POINTS, 3, init=distinct_rows(POINTS, 3), n_init=5).parameters
    assert (given.init, given.n_init) == ("array", 1)
