"""What columns weigh is in the model's scale: in the fit and in what is served."""

from typing import Any

import numpy as np
import pytest

from kmeans_module import KMeans, RowSource, fit, fit_columns, select_k
from kmeans_module.errors import InvalidParameter, InvalidPoints

from .problems import Float32, assignments

WEIGHTS = np.array([4.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def points() -> Float32:
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(400, 3)) * [1, 10, 3] + [5, -20, 0]
    return rows.astype("f4")


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_weighted_fit_is_that_of_rows_times_the_weights(
    points: Float32, standardize: bool, distance: Any
) -> None:
    weighted = fit(
        points, 4, feature_weight=WEIGHTS, standardize=standardize, distance=distance, seed=1
    )
    # Standardised first, by hand, so that the weights come after it in both.
    given = points - points.mean(axis=0) if standardize else points
    given = given / given.std(axis=0, dtype=np.float64) if standardize else given
    plain = fit((given * WEIGHTS).astype("f4"), 4, distance=distance, seed=1)
    assert np.mean(assignments(weighted) == assignments(plain)) > 0.99
    assert weighted.inertia == pytest.approx(plain.inertia, rel=1e-3)
    scale = points.std(axis=0, dtype=np.float64) if standardize else np.ones(3)
    np.testing.assert_allclose(weighted.module.scale.numpy(), scale / WEIGHTS, rtol=1e-6)


def test_the_served_distances_are_in_the_weighted_space(points: Float32) -> None:
    result = fit(points, 3, feature_weight=WEIGHTS)
    found = result.module.transform(points)["all_distances"].numpy()
    gaps = (points[:, None].astype(np.float64) - result.centroids) * WEIGHTS
    np.testing.assert_allclose(found, np.linalg.norm(gaps, axis=2), rtol=1e-4)
    assert result.parameters.feature_weight == tuple(WEIGHTS)
    sums = np.square(found.min(axis=1).astype(np.float64)).sum()
    assert result.inertia == pytest.approx(sums, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"distance": "cosine"}])
def test_weights_of_one_change_no_bit(points: Float32, options: dict[str, Any]) -> None:
    ones, none = (fit(points, 5, feature_weight=each, **options) for each in (np.ones(3), None))
    assert ones.centroids.tobytes() == none.centroids.tobytes()
    assert (ones.inertia, ones.n_iter) == (none.inertia, none.n_iter)
    assert none.parameters.feature_weight is None


@pytest.mark.parametrize("options", [{"standardize": True}, {"distance": "cosine"}])
def test_a_source_and_an_array_give_the_same_bits(points: Float32, options: dict[str, Any]) -> None:
    array, source = (
        fit(rows, 4, seed=3, seeding="sample", sample_rows=100, feature_weight=WEIGHTS, **options)
        for rows in (points, RowSource.from_array(points))
    )
    assert array.centroids.tobytes() == source.centroids.tobytes()
    np.testing.assert_array_equal(array.module.scale, source.module.scale)


def test_select_k_and_the_estimator_take_weights(points: Float32) -> None:
    # Two clusters in a column that only its weight makes wide.
    rows = np.column_stack([np.repeat([0.0, 0.1], 200), points[:, 1]]).astype("f4")
    noise = np.random.default_rng(0).normal(size=400) * 0.004
    rows[:, 0] += noise
    found = select_k(rows, 2, 3, feature_weight=[1000.0, 1.0], resamples=2)
    assert found.suggestion == 2
    model = KMeans(2, feature_weight=[1000.0, 1.0]).fit(rows)
    assert model.labels_ is not None
    assert len(set(model.labels_[:200])) == 1 != len(set(model.labels_))
    assert model.get_params()["feature_weight"] == [1000.0, 1.0]


def test_a_column_weighs_by_its_name_and_a_category_with_all_its_features() -> None:
    table = {
        "x": [1.0, 2.0, 8.0, 9.0],
        "plan": ["free", "paid", "free", "paid"],
        "v": [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]],
    }
    result = fit_columns(
        table, 2, categories=["plan"], feature_weight={"plan": 100, "v": 0.5}, seed=0
    )
    np.testing.assert_allclose(result.module.scale.numpy(), [1, 0.01, 0.01, 2, 2], rtol=1e-6)
    assert result.assignments is not None
    assert (result.assignments == result.assignments[[2, 3, 0, 1]]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([1, 0, 1], "of column 1 is 0; give a number above 0"),
        ([1, 1, -2], "of column 2 is -2; give"),
        ([np.nan, 1, 1], "of column 0 is nan; give"),
        ([np.inf, 1, 1], "of column 0 is inf; give"),
        ([1e10, 1, 1], "1e-09 to 1e[+]09"),
        ([1, 1], r"shape \(2,\); give one number per column, shape \(3,\)"),
        ("income=2", "feature_weight"),
    ],
)
def test_a_weight_that_is_none_is_refused(points: Float32, given: Any, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        fit(points, 2, feature_weight=given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"y": 2}, "'y', which is not a column; there are x, other"),
        ({"othr": 2}, "'othr', which is not a column; did you mean 'other'?"),
        ({"x": 0}, "of 'x' is 0; give a number above 0"),
        ({"x": "2"}, "of 'x' is '2'; give"),
        ({"x": float("nan")}, "of 'x' is nan; give"),
    ],
)
def test_a_weight_by_name_that_is_none_is_refused(given: Any, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        fit_columns({"x": [1.0, 2.0], "other": [1.0, 3.0]}, 2, feature_weight=given)


def test_rows_that_a_weight_takes_beyond_float32_are_refused(points: Float32) -> None:
    for distance in ("euclidean", "cosine"):
        with pytest.raises(InvalidPoints, match="too large for float32"):
            fit(points * np.float32(1e12), 2, feature_weight=[1e9, 1, 1], distance=distance)
