"""KMeans is an estimator as scikit-learn's users know them."""

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from kmeans_module import (
    InvalidParameter,
    InvalidPoints,
    KMeans,
    NonFinitePoint,
    NotFitted,
    RowSource,
    ZeroPoint,
    fit,
)
from tests.forked_calls import refused_in_a_fork

from .problems import blobs

POINTS: NDArray[np.float32] = np.random.default_rng(3).normal(size=(300, 4)).astype(
    np.float32
) + 8 * np.repeat(np.eye(3, 4, dtype=np.float32), 100, axis=0)

#: Checks that fail on purpose, and why.
ON_PURPOSE = {
    "check_all_zero_sample_weights_error": "the message says 0, not zero",
    "check_sample_weight_equivalence_on_dense_data": "starts are drawn by the number of a row",
    "check_complex_data": "the message names the dtype in words of our own",
    "check_dtype_object": "an object that is no number is a ValueError, not a TypeError",
    "check_estimators_empty_data_messages": "the message names the shape in words of our own",
}


@pytest.fixture(scope="module")
def fitted() -> KMeans:
    return KMeans(3, random_state=1).fit(POINTS)


@pytest.mark.filterwarnings("ignore:Estimator KMeans does not inherit")
def test_it_passes_the_checks_of_scikit_learn() -> None:
    outcomes = check_estimator(
        KMeans(n_clusters=2), on_fail=None, on_skip=None, expected_failed_checks=ON_PURPOSE
    )
    assert len(outcomes) > 40
    assert [each["check_name"] for each in outcomes if each["status"] == "failed"] == []
    failed = {each["check_name"] for each in outcomes if each["status"] == "xfail"}
    assert failed == set(ON_PURPOSE)


def test_a_fit_has_the_attributes_of_the_same_call_of_fit(fitted: KMeans) -> None:
    result = fit(POINTS, 3, seed=1)
    np.testing.assert_array_equal(fitted.cluster_centers_, result.centroids)
    assert result.assignments is not None
    np.testing.assert_array_equal(fitted.labels_, result.assignments)
    assert (fitted.inertia_, fitted.n_iter_) == (result.inertia, result.n_iter)
    assert fitted.n_features_in_ == 4


def test_its_parameters_are_those_of_fit_that_are_not_of_one_call() -> None:
    of_one_call = {"points", "sample_weight", "checkpoint", "on_iteration", "reducer"}
    # All engines give the same bits, and scikit-learn has one name for the seed.
    not_offered = {"engine", "seed"}
    of_fit = set(inspect.signature(fit).parameters)
    assert set(KMeans().get_params()) == of_fit - of_one_call - not_offered


def test_it_finds_the_clusters_that_scikit_learn_finds(fitted: KMeans) -> None:
    theirs = SklearnKMeans(3, random_state=0, n_init=10).fit(POINTS)
    assert fitted.inertia_ == pytest.approx(theirs.inertia_, rel=1e-4)
    assert adjusted_rand_score(fitted.labels_, theirs.labels_) == 1
    assert fitted.score(POINTS) == pytest.approx(theirs.score(POINTS), rel=1e-4)
    assert fitted.transform(POINTS).shape == (300, 3)


def test_predict_transform_and_score_agree_with_each_other(fitted: KMeans) -> None:
    distances = fitted.transform(POINTS)
    np.testing.assert_array_equal(fitted.predict(POINTS), distances.argmin(1))
    np.testing.assert_array_equal(fitted.predict(POINTS), fitted.labels_)
    nearest = distances.min(1).astype(np.float64) ** 2
    assert fitted.score(POINTS) == pytest.approx(-nearest.sum(), rel=1e-5)
    weight = np.arange(300)
    assert fitted.score(POINTS, None, weight) == pytest.approx(-nearest @ weight, rel=1e-5)
    assert -fitted.score(POINTS) == pytest.approx(fitted.inertia_, rel=1e-5)
    assert fitted.get_feature_names_out().tolist() == ["kmeans0", "kmeans1", "kmeans2"]


def test_fit_predict_and_fit_transform_are_fit_and_then_the_other(fitted: KMeans) -> None:
    np.testing.assert_array_equal(KMeans(3, random_state=1).fit_predict(POINTS), fitted.labels_)
    np.testing.assert_array_equal(
        KMeans(3, random_state=1).fit_transform(POINTS), fitted.transform(POINTS)
    )


def test_no_seed_gives_the_same_bits_each_time() -> None:
    one, two = (KMeans(5).fit(POINTS) for _ in range(2))
    assert one.cluster_centers_.tobytes() == two.cluster_centers_.tobytes()


def test_it_works_in_a_pipeline_and_a_grid_search() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), KMeans(random_state=0)),
        {"kmeans__n_clusters": [2, 3], "kmeans__distance": ["euclidean", "cosine"]},
        cv=2,
    ).fit(POINTS)
    assert search.predict(POINTS).shape == (300,)
    assert set(search.best_params_) == {"kmeans__n_clusters", "kmeans__distance"}


@pytest.mark.parametrize("duplicate", [clone, copy.deepcopy, pickle.dumps])
def test_it_can_be_cloned_copied_and_pickled(fitted: KMeans, duplicate: Any) -> None:
    made = duplicate(fitted)
    if isinstance(made, bytes):
        made = pickle.loads(made)
    assert made.get_params() == fitted.get_params()
    if duplicate is clone:
        assert not hasattr(made, "labels_")
        made.fit(POINTS)
    np.testing.assert_array_equal(made.predict(POINTS), fitted.predict(POINTS))
    np.testing.assert_array_equal(made.cluster_centers_, fitted.cluster_centers_)


def test_columns_of_a_frame_are_matched_by_name(fitted: KMeans) -> None:
    frame = pd.DataFrame(POINTS, columns=list("abcd"))
    model = KMeans(3, random_state=1).fit(frame)
    assert model.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(model.predict(frame[list("dcba")]), fitted.labels_)
    np.testing.assert_array_equal(model.predict(POINTS), fitted.labels_)
    with pytest.raises(InvalidPoints, match="no column 'd', which the model takes"):
        model.predict(frame[list("abc")])
    assert not hasattr(model.fit(POINTS), "feature_names_in_")


def test_columns_that_the_fit_did_not_have_are_named_once() -> None:
    frame = pd.DataFrame(POINTS, columns=list("abcd"))
    model = KMeans(3, random_state=1).fit(frame)
    with pytest.warns(UserWarning, match="^KMeans ignores the columns id, town$") as warned:
        index = model.predict(frame.assign(id=1, town="here"))
    assert warned[0].filename == __file__
    np.testing.assert_array_equal(index, model.labels_)
    model.predict(frame.assign(id=2))
    vectors = pd.Series(list(POINTS), name="embedding")
    KMeans(3).fit(vectors).predict(vectors.to_frame())


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 4)), pd.DataFrame(columns=list("abcd"), dtype=float)]
)
def test_of_no_rows_there_are_no_answers(fitted: KMeans, rows: Any) -> None:
    index = fitted.predict(rows)
    assert index.shape == (0,)
    assert index.dtype == np.int32
    assert fitted.transform(rows).shape == (0, 3)
    assert fitted.score(rows) == 0


def test_a_random_state_of_numpy_draws_the_seed_of_each_fit() -> None:
    state = np.random.RandomState(5)
    first, second = np.random.RandomState(5).randint(2**31, size=2)
    model = KMeans(3, random_state=state)
    for seed in (first, second):
        assert model.fit(POINTS).result_.parameters.seed == seed
    assert clone(model).fit(POINTS).n_iter_ >= 1


def test_a_text_for_the_number_of_starts_is_told_of_the_one_that_there_is() -> None:
    with pytest.raises(InvalidParameter, match=r"^n_init is 'aut'; give 'auto', or a whole number"):
        KMeans(3, n_init="aut").fit(POINTS)  # type: ignore[arg-type]


def test_what_asks_for_a_fit_before_there_was_one_is_told(fitted: KMeans) -> None:
    model = KMeans()
    for call in (model.predict, model.transform, model.score):
        with pytest.raises(NotFitted, match=r"call fit\(X\) first"):
            call(POINTS)
    with pytest.raises(NotFittedError):
        model.predict(POINTS)
    with pytest.raises(AttributeError, match="no labels_ yet"):
        _ = model.labels_
    with pytest.raises(AttributeError, match="no attribute 'label'"):
        _ = model.label
    with pytest.raises(NotFitted):
        _ = model.result_


def test_what_cannot_be_answered_is_named(fitted: KMeans) -> None:
    with pytest.raises(InvalidPoints, match="X has 3 features, but KMeans is expecting 4"):
        fitted.predict(POINTS[:, :3])
    with pytest.raises(InvalidPoints, match=r"Reshape your data: X.reshape\(-1, 1\)"):
        fitted.predict(POINTS[0])
    with pytest.raises(NonFinitePoint, match="NaN in row 1, column 0"):
        fitted.predict(np.where(np.arange(1200).reshape(300, 4) == 4, np.nan, POINTS))
    with pytest.raises(NonFinitePoint, match="row 0 of X is outside float32"):
        fitted.predict(POINTS.astype(np.float64) * 1e200)
    with pytest.raises(ZeroPoint, match="row 2 of X has only zeros"):
        KMeans(2, distance="cosine").fit(POINTS).predict(np.vstack([POINTS[:2], np.zeros(4)]))
    with pytest.raises(InvalidParameter, match="no parameter 'k'; it has n_clusters, init"):
        fitted.set_params(k=3)


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_an_answer_in_a_fork_is_refused_and_does_not_hang(fitted: KMeans, method: str) -> None:
    assert "'spawn'" in refused_in_a_fork(lambda: getattr(fitted, method)(POINTS))


def test_a_pickle_in_a_fork_is_refused_and_does_not_hang(fitted: KMeans) -> None:
    pickled = pickle.dumps(fitted)
    assert "'spawn'" in refused_in_a_fork(lambda: pickle.loads(pickled))


def test_many_models_are_no_news_for_the_log_of_tensorflow(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for seed in range(6):
        model = KMeans(2, init=POINTS[seed : seed + 2]).fit(POINTS)
        model.score(POINTS), model.predict(POINTS), model.transform(POINTS)
        model.result_.module.decode(np.array([0], np.int32))
    assert caplog.messages == []


def test_a_source_is_fitted_without_labels() -> None:
    model = KMeans(3).fit(RowSource.from_array(POINTS))
    assert model.labels_ is None
    assert model.predict(POINTS).shape == (300,)
    with pytest.raises(InvalidPoints, match="a RowSource has no labels in memory"):
        model.fit_predict(RowSource.from_array(POINTS))


def test_its_repr_is_a_line_of_what_is_not_the_default() -> None:
    assert repr(KMeans()) == "KMeans()"
    assert repr(KMeans(3, init=POINTS[:3], standardize=True)) == (
        "KMeans(n_clusters=3, init=array(3, 4), standardize=True)"
    )


def test_it_takes_its_steps_on_the_device_that_it_is_told() -> None:
    points = blobs(300, 3, 4)
    there, here = KMeans(4, n_init=1, device="/CPU:0").fit(points), KMeans(4, n_init=1).fit(points)
    assert (there.result_.device, here.result_.device) == ("/CPU:0", "cpu")
    assert there.cluster_centers_.tobytes() == here.cluster_centers_.tobytes()
