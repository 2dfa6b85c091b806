"""A fit of columns becomes a version that takes its columns by their own names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export import golden_requests, load, publish_fit
from export.category_changes import describe_category_changes
from export.column_rows import ColumnRows
from export.comparison import Thresholds
from export.errors import InvalidCandidate, PublishRefused
from export.model_card import CardColumn, CardEncoder, ModelCard
from export.published_version import PublishedVersion
from export.replay import measure
from kmeans_module import FitResult, fit_columns
from kmeans_module.columns import CategoryColumn
from kmeans_module.contract import COLUMN_SIGNATURES
from kmeans_module.errors import InvalidColumns


def customers(seed: int, plans: tuple[str, ...] = ("free", "paid", "größer")) -> dict[str, Any]:
    """Rows in three groups, of columns of every kind, with odd names and missing values."""
    rng = np.random.default_rng(seed)
    n = 400
    group = rng.integers(0, 3, n)
    income = rng.normal(10.0 * group, 1.0)
    income[::17] = np.nan
    plan = np.array(plans, object)[group % len(plans)]
    plan[::13] = None
    return {
        "annual income": income,
        "class": plan,
        "1st/embedding": list(rng.normal(5.0 * group[:, None], 1.0, (n, 3))),
        "größe": rng.random(n) < 0.5,
    }


def fit_customers(table: dict[str, Any]) -> FitResult:
    return fit_columns(table, 3, categories=["class"], impute="mean", seed=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "customers"


@pytest.fixture(scope="module")
def version(base: Path) -> PublishedVersion:
    table = customers(0)
    return publish_fit(fit_customers(table), table, base)


def test_a_version_answers_a_table_by_its_columns_whatever_their_order(
    version: PublishedVersion,
) -> None:
    table = customers(0)
    expected = fit_customers(table).assignments
    shuffled = {name: table[name] for name in reversed(table)}
    answer = version.assign(shuffled)
    np.testing.assert_array_equal(answer.cluster_index, expected)
    scored = version.score(shuffled)
    np.testing.assert_allclose(scored.squared_distance, np.square(answer.distance), rtol=1e-5)
    assert version.transform(shuffled).all_distances.shape == (400, 3)


def test_columns_that_the_version_does_not_take_are_named_once(
    base: Path, version: PublishedVersion
) -> None:
    again = load(base, version.version)
    table = customers(0) | {"zz": np.zeros(400)}
    with pytest.warns(UserWarning, match="ignores the columns zz") as caught:
        again.assign(table)
    assert [each.filename for each in caught] == [__file__]
    again.score(table)


def test_a_table_that_lacks_a_column_is_refused_with_the_near_miss(
    version: PublishedVersion,
) -> None:
    table = customers(0)
    table["annual_income"] = table.pop("annual income")
    with pytest.raises(InvalidColumns, match=r"no column 'annual income'.*mean 'annual_income'"):
        version.assign(table)


def test_the_signatures_take_the_columns_by_their_own_names(version: PublishedVersion) -> None:
    signatures = tf.saved_model.load(str(version.directory)).signatures
    names = {"annual income", "class", "1st/embedding", "größe"}
    inputs = {
        "annual income": tf.constant([1.0, np.nan]),
        "class": tf.constant(["free", ""]),
        "1st/embedding": tf.ones([2, 3]),
        "größe": tf.constant([0.0, 1.0]),
    }
    assert inputs.keys() == names
    for name in COLUMN_SIGNATURES:
        assert all(len(output) == 2 for output in signatures[name](**inputs).values())


def test_the_card_says_the_columns_in_a_format_that_older_readers_refuse(
    version: PublishedVersion,
) -> None:
    card = version.card
    assert card.format == 2
    assert [column.name for column in card.columns] == list(customers(0))
    assert card.feature_names == (
        "annual income",
        *("class=free", "class=größer", "class=paid"),
        *(f"1st/embedding[{place}]" for place in range(3)),
        "größe",
    )
    assert ModelCard.from_json(card.to_json()) == card


def test_golden_requests_ask_columns_with_and_without_missing_values(
    version: PublishedVersion,
) -> None:
    asked = golden_requests.read(Path(version.directory))
    for name in COLUMN_SIGNATURES:
        sizes = [len(each.inputs["class"]) for each in asked if each.signature == name]
        assert sizes[:2] == [0, 1]
        assert max(sizes) > 100
    last = [each for each in asked if each.signature == "assign_columns"][-1]
    assert last.inputs["class"][-1] == b""
    assert np.isnan(last.inputs["1st/embedding"][-1]).all()


@pytest.mark.parametrize(
    ("is_left_out", "finding"),
    [
        (lambda rows: len(rows) == 0, "assign_columns of no row"),
        (lambda rows: len(rows) == 1, "assign_columns of one row"),
        (
            lambda rows: rows.find_missing().any(),
            "assign_columns of a row in which every value is missing",
        ),
    ],
)
def test_what_a_new_version_is_not_asked_of_columns_is_found(
    version: PublishedVersion, is_left_out: Callable[[ColumnRows], bool], finding: str
) -> None:
    asked = golden_requests.read(Path(version.directory))
    signatures = version.card.column_signatures
    assert golden_requests.find_missing(asked, 3, signatures) == []
    left = [
        each
        for each in asked
        if each.signature != "assign_columns" or not is_left_out(ColumnRows(each.inputs))
    ]
    lacking = f"the golden requests lack {finding}"
    assert golden_requests.find_missing(left, 3, signatures) == [lacking]


def test_a_new_value_of_a_category_does_not_block_a_retrain(
    base: Path, version: PublishedVersion
) -> None:
    table = customers(0)
    table["class"] = np.where(np.arange(400) % 29 == 0, "new", table["class"])
    later = publish_fit(fit_customers(table), table, base)
    assert "class=new" in later.card.feature_names
    found = measure(Path(later.directory), Path(version.directory))
    assert found["comparison"]["rows_kept"] > 0.95


def test_lost_and_new_values_of_a_category_are_told_where_the_gate_lets_them_through(
    base: Path, version: PublishedVersion
) -> None:
    table = customers(0, ("basic", "paid", "größer"))
    told: list[str] = []
    later = publish_fit(fit_customers(table), table, base, tell=told.append)
    assert later.card.forced == ()
    assert told == [
        "category values, compared with version 1: class lost 'free' and has the new 'basic'"
    ]
    assert describe_category_changes(later.card, later.card) == ""


def test_a_refusal_names_the_lost_and_the_new_values_and_force_tells_them(
    base: Path, version: PublishedVersion
) -> None:
    table = customers(0, ("0", "1", "2"))
    fitted = fit_customers(table)
    never = Thresholds(max_inertia_rise=-2.0)
    changes = "class lost 'free', 'größer', 'paid' and has the new '0', '1', '2' (no common value)"
    with pytest.raises(PublishRefused) as refusal:
        publish_fit(fitted, table, base, thresholds=never)
    assert f"; other category values: {changes}; --force" in str(refusal.value)
    told: list[str] = []
    publish_fit(fitted, table, base, thresholds=never, force=True, tell=told.append)
    assert told == [f"category values, compared with version 1: {changes}"]


def test_of_many_lost_values_the_first_are_named_and_long_ones_cut(
    version: PublishedVersion,
) -> None:
    before, after = (
        replace(
            version.card,
            encoder=CardEncoder((CardColumn.of(CategoryColumn("postcode", values)),)),
        )
        for values in ((*(f"{i}" for i in range(9)), "x" * 99), ("8", "\x1b[1m" + "y" * 99))
    )
    said = describe_category_changes(before, after)
    assert said.startswith("postcode lost '0', '1', '2', '3', '4' and 4 more and has the new '")
    assert said.isprintable()
    assert len(said) < 130


def test_a_version_of_other_columns_is_refused(base: Path, version: PublishedVersion) -> None:
    table = customers(0)
    del table["größe"]
    with pytest.raises(PublishRefused, match=r"takes by name the columns größe \(number\), annual"):
        publish_fit(fit_customers(table), table, base)
    with pytest.raises(InvalidCandidate, match="no column 'größe'"):
        publish_fit(fit_customers(customers(0)), table, base)
    assert load(base).version == version.version
