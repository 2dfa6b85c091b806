"""A scikit-learn Pipeline is imported with its steps, and answers as its predict, or is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from export import load, publish, write_candidate
from export.column_rows import ColumnRows
from export.common_rows import find_difference
from export.errors import UnsupportedEstimator
from export.replay import collect_findings
from export.sklearn_import import SklearnImport, from_sklearn

KMEANS = KMeans(4, n_init=2, random_state=1)


def _wine() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows = load_wine().data.astype(np.float32)
    train, test = train_test_split(rows, test_size=0.4, random_state=0)
    return train, test


def _with_gaps(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    gaps = rows.copy()
    gaps[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    return gaps


def _assign(imported: SklearnImport, table: Any) -> dict[str, NDArray[Any]]:
    encoder = imported.module.encoder
    assert encoder is not None
    rows = ColumnRows.read(encoder.columns, table)
    answer = imported.module.column_signatures()["assign_columns"](
        *(tf.constant(array) for array in rows.tensors.values())
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


@pytest.mark.parametrize(
    "scalers",
    [
        [MinMaxScaler()],
        [RobustScaler()],
        [MaxAbsScaler()],
        [MinMaxScaler((-3, 2)), StandardScaler()],
    ],
    ids=["min-max", "robust", "max-abs", "two"],
)
def test_scalers_become_the_scale_of_the_model_which_takes_points_as_before(
    scalers: list[Any],
) -> None:
    train, test = _wine()
    pipeline = make_pipeline(*scalers, KMEANS).fit(train)
    imported = from_sklearn(pipeline)
    assert imported.module.encoder is None
    assert imported.card.format == 1
    answer = imported.module.assign(tf.constant(test))
    np.testing.assert_array_equal(answer["cluster_index"].numpy(), pipeline.predict(test))
    nearest = pipeline.transform(test).min(axis=1)
    np.testing.assert_allclose(answer["distance"].numpy(), nearest, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "steps",
    [
        [SimpleImputer()],
        [SimpleImputer(strategy="median"), StandardScaler()],
        [SimpleImputer(strategy="constant", fill_value=7), RobustScaler(), PCA(3)],
        [SimpleImputer(), StandardScaler(), PCA(5, whiten=True), Normalizer()],
        [SimpleImputer(), Normalizer("l1"), MinMaxScaler()],
        [SimpleImputer(), Normalizer("max"), PCA(2), StandardScaler()],
    ],
    ids=lambda steps: "-".join(type(step).__name__ for step in steps),
)
def test_steps_that_impute_or_mix_columns_are_encoded_by_the_model(steps: list[Any]) -> None:
    train, test = map(_with_gaps, _wine())
    pipeline = make_pipeline(*steps, KMEANS).fit(train)
    imported = from_sklearn(pipeline)
    answer = _assign(imported, {f"x{i}": test[:, i] for i in range(test.shape[1])})
    np.testing.assert_array_equal(answer["cluster_index"], pipeline.predict(test))
    nearest = pipeline.transform(test).min(axis=1)
    np.testing.assert_allclose(answer["distance"], nearest, rtol=1e-4, atol=1e-4)


def _people() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 300
    return pd.DataFrame(
        {
            "annual income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n)).astype(
                "f4"
            ),
            "plan": rng.choice(["free", "paid", "größer"], n),
            "region": rng.choice([1, 2, 30], n),
            "age": rng.integers(18, 90, n).astype("f4"),
            "unused": rng.normal(size=n),
        }
    )


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("remainder", ["drop", "passthrough"])
@pytest.mark.parametrize("drop", [None, "first"])
@pytest.mark.parametrize("after", [[], [PCA(3)], [StandardScaler(with_mean=False)]])
def test_a_column_transformer_takes_its_columns_by_name(
    remainder: str, drop: str | None, after: list[Any]
) -> None:
    people = _people()
    if remainder == "passthrough":
        people = people.drop(columns="unused")
    transformer = ColumnTransformer(
        [
            ("income", make_pipeline(SimpleImputer(), StandardScaler()), ["annual income"]),
            ("kinds", OneHotEncoder(drop=drop, handle_unknown="ignore"), ["plan", "region"]),
        ],
        remainder=remainder,
        sparse_threshold=0,
    )
    pipeline = make_pipeline(transformer, *after, KMEANS).fit(people[:200])
    imported = from_sklearn(pipeline)
    test = people[200:].copy()
    test.loc[test.index[:5], "plan"] = "never seen"
    shuffled = test[list(reversed(test.columns))]
    answer = _assign(imported, shuffled)
    np.testing.assert_array_equal(answer["cluster_index"], pipeline.predict(test))


NUMBERS = ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["annual income"])


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        ([NUMBERS, ("kinds", OneHotEncoder(drop="if_binary"), ["plan", "member"])], {}),
        ([NUMBERS, ("kinds", OneHotEncoder(drop=["paid"]), ["plan"])], {}),
        ([NUMBERS, ("kinds", OneHotEncoder(sparse_output=False), ["region", "share"])], {}),
        ([NUMBERS, ("kinds", OneHotEncoder(handle_unknown="infrequent_if_exist"), ["plan"])], {}),
        ([NUMBERS, ("kinds", OneHotEncoder(min_frequency=2), ["plan"])], {}),
        (
            [NUMBERS, ("kinds", OneHotEncoder(categories=[["z", "paid", "größer", "free"]]), [1])],
            {},
        ),
        ([("kinds", make_pipeline(OneHotEncoder(), MaxAbsScaler()), ["plan"]), NUMBERS], {}),
        ([("kinds", OneHotEncoder(), slice("plan", "region"))], {"remainder": SimpleImputer()}),
        ([("none", StandardScaler(), []), NUMBERS, ("left", "drop", ["plan"])], {}),
        ([("same", "passthrough", [3]), ("last", SimpleImputer(), [-1]), NUMBERS], {}),
        ([("mask", SimpleImputer(), [True, False, False, True, False, False])], {}),
        (
            [NUMBERS, ("kinds", OneHotEncoder(), ["plan"])],
            {"transformer_weights": {"numbers": 0.5, "kinds": 2.0}},
        ),
    ],
)
def test_parts_of_a_column_transformer_are_taken_as_they_were_fitted(
    parts: list[Any], options: dict[str, Any]
) -> None:
    people = _people().drop(columns="unused")
    people["member"] = people["age"] > 40
    people["share"] = np.where(people["region"] == 1, 1.0, 2.5)
    pipeline = make_pipeline(ColumnTransformer(parts, **options), KMEANS).fit(people[:200])
    answer = _assign(from_sklearn(pipeline), people[200:])
    np.testing.assert_array_equal(answer["cluster_index"], pipeline.predict(people[200:]))


def test_pipelines_in_pipelines_and_steps_that_do_nothing_are_read_through() -> None:
    people = _people()[["annual income", "age"]]
    inner = make_pipeline(SimpleImputer(), "passthrough", make_pipeline(StandardScaler(), PCA(1)))
    pipeline = make_pipeline("passthrough", FunctionTransformer(), inner, KMEANS).fit(people)
    answer = _assign(from_sklearn(pipeline), people[["age", "annual income"]])
    np.testing.assert_array_equal(answer["cluster_index"], pipeline.predict(people))


def test_an_import_with_columns_is_published_and_asked_by_name(tmp_path: Path) -> None:
    people = _people()
    transformer = ColumnTransformer(
        [("kinds", OneHotEncoder(), ["plan"]), ("numbers", MinMaxScaler(), ["age"])]
    )
    pipeline = make_pipeline(transformer, KMEANS).fit(people)
    imported = from_sklearn(pipeline)
    candidate = tmp_path / "candidate"
    write_candidate(candidate, imported.module, imported.card, imported.rows, imported.columns)
    assert collect_findings(candidate) == []
    publish(candidate, tmp_path / "people")
    answer = load(tmp_path / "people").assign(people[["age", "plan"]])
    np.testing.assert_array_equal(answer.cluster_index, pipeline.predict(people))


def test_names_that_contradict_the_fit_are_refused() -> None:
    people = _people()[["age", "region"]]
    kmeans = KMeans(2, n_init=1).fit(people)
    assert from_sklearn(kmeans).card.feature_names == ("age", "region")
    with pytest.raises(UnsupportedEstimator, match="was fitted to the columns age, region"):
        from_sklearn(kmeans, feature_names=["region", "age"])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([PolynomialFeatures()], "cannot import PolynomialFeatures; the steps before the k-means"),
        ([MinMaxScaler(clip=True)], "MinMaxScaler clips, which is not linear"),
        ([MaxAbsScaler(clip=True)], "MaxAbsScaler clips, which is not linear"),
        ([FunctionTransformer(np.log1p)], "cannot import FunctionTransformer"),
        ([StandardScaler(), SimpleImputer()], "SimpleImputer must be the first step"),
        (
            [SimpleImputer(add_indicator=True)],
            "SimpleImputer adds indicators of filled values for the columns x0, x1,",
        ),
    ],
)
def test_steps_that_an_encoder_cannot_say_are_refused_by_name(
    steps: list[Any], message: str
) -> None:
    train, _ = map(_with_gaps, _wine())
    train = train if isinstance(steps[0], SimpleImputer) else np.nan_to_num(train)
    pipeline = make_pipeline(*steps, KMEANS).fit(train)
    with pytest.raises(UnsupportedEstimator, match=re.escape(message)):
        from_sklearn(pipeline)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize(
    ("imputer", "message"),
    [
        (
            SimpleImputer(missing_values=-1),
            "SimpleImputer fills -1 in the columns age, height,",
        ),
        (
            SimpleImputer(keep_empty_features=False),
            "SimpleImputer has no value for column 'height', which had no value in the fit",
        ),
    ],
)
def test_an_imputer_is_refused_for_what_it_does_and_by_its_columns(
    imputer: SimpleImputer, message: str
) -> None:
    frame = pd.DataFrame({"age": np.arange(9.0), "height": np.arange(9.0)})
    if np.isnan(imputer.missing_values):
        frame["height"] = np.nan
    pipeline = make_pipeline(imputer, KMeans(2, n_init=1)).fit(frame)
    with pytest.raises(UnsupportedEstimator, match=re.escape(message)):
        from_sklearn(pipeline)


def test_two_versions_with_a_map_of_their_own_say_once_why_they_are_not_compared() -> None:
    train = np.nan_to_num(_wine()[0])
    card = from_sklearn(make_pipeline(PCA(3), KMEANS).fit(train)).card
    before, after = find_difference(card, card) or ("", "")
    assert after == (
        f"maps its features (a linear map of {train.shape[1]} features to 3) to a space of its "
        "own, so its distances cannot be compared with those of any other version"
    )
    assert before == "does so too"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (OneHotEncoder(min_frequency=40), "OneHotEncoder merges infrequent categories"),
        (OneHotEncoder(max_categories=2), "OneHotEncoder merges infrequent categories"),
        (
            make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()),
            "SimpleImputer fills column 'plan' with ",
        ),
        (OrdinalEncoder(), "cannot import OrdinalEncoder; the steps before the k-means may be"),
    ],
)
def test_parts_that_an_encoder_cannot_say_are_refused_by_name(part: Any, message: str) -> None:
    people = _people()[["plan", "age"]]
    people.loc[:5, "plan"] = "rare"
    transformer = ColumnTransformer([("kinds", part, ["plan"])], remainder="passthrough")
    pipeline = make_pipeline(transformer, KMEANS).fit(people)
    with pytest.raises(UnsupportedEstimator, match=re.escape(message)):
        from_sklearn(pipeline)


def test_categories_that_are_spelled_alike_are_refused_by_name() -> None:
    frame = pd.DataFrame({"code": ["1", "1.0", "2", "2"], "x": np.arange(4.0)})
    transformer = ColumnTransformer([("kinds", OneHotEncoder(), ["code"])], remainder="passthrough")
    pipeline = make_pipeline(transformer, KMeans(2, n_init=1)).fit(frame)
    with pytest.raises(UnsupportedEstimator, match="two features are named 'code=1'; rename a col"):
        from_sklearn(pipeline)


def test_a_missing_category_is_taken_where_unseen_ones_are_errors() -> None:
    plans = np.array([["a"], ["b"], [None], ["a"], ["b"], [None]], object)
    frame = pd.DataFrame({"plan": plans[:, 0], "x": np.arange(6.0)})

    def importing(handle_unknown: str) -> tuple[Any, SklearnImport]:
        transformer = ColumnTransformer(
            [("kinds", OneHotEncoder(handle_unknown=handle_unknown), ["plan"])],
            remainder="passthrough",
        )
        pipeline = make_pipeline(transformer, KMeans(3, n_init=1, random_state=0)).fit(frame)
        return pipeline, from_sklearn(pipeline)

    pipeline, imported = importing("error")
    answer = _assign(imported, frame)
    np.testing.assert_array_equal(answer["cluster_index"], pipeline.predict(frame))
    with pytest.raises(UnsupportedEstimator, match="in 'plan' a missing value is a category"):
        importing("ignore")
