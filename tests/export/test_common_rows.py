"""Which versions can be compared, and what is compared where they take columns by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import make_card, sample_rows, write_candidate
from export.column_rows import ColumnRows
from export.common_rows import CommonRows, find_difference
from export.model_card import ModelCard
from export.replay import measure
from kmeans_module import fit, fit_columns
from kmeans_module.column_training import encode_arrays

Table = dict[str, Any]


def shop(plans: tuple[str, ...] = ("free", "paid"), n: int = 300) -> Table:
    """Rows in two groups: two numbers, of which one has gaps, and a category."""
    rng = np.random.default_rng(4)
    group = np.arange(n) % 2
    income = rng.normal(40 + 40 * group, 3.0)
    income[5::50] = np.nan
    return {
        "income": income,
        "age": rng.normal(30 + 20 * group, 2.0),
        "plan": np.array(plans, object)[(group + 2 * (np.arange(n) % 41 == 0)) % len(plans)],
    }


def numbers(table: Table) -> Table:
    return {name: table[name] for name in ("income", "age")}


@dataclass(frozen=True)
class Versions:
    """Versions in a folder, written without the gate."""

    live: Path
    new_value: Path
    turned: Path
    imputed: Path
    plain: Path


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    folder = tmp_path_factory.mktemp("shop")
    table = shop()
    return Versions(
        live=write_columns(folder / "1", table),
        new_value=write_columns(folder / "2", shop(("free", "paid", "new"))),
        turned=write_columns(folder / "3", {name: table[name] for name in reversed(table)}),
        imputed=write_columns(folder / "4", numbers(table)),
        plain=write_points(folder / "5", ("income", "age"), complete(table)),
    )


def write_columns(place: Path, table: Table) -> Path:
    categories = [name for name in table if name == "plan"]
    result = fit_columns(table, 2, categories=categories, impute="mean", seed=1)
    encoder = result.module.encoder
    assert encoder is not None
    rows = ColumnRows.read(encoder.columns, table)
    points = encode_arrays(encoder, list(rows.tensors.values()))
    card = make_card(result, points, feature_names=encoder.feature_names, model="shop")
    write_candidate(place, result, card, points, rows)
    return place


def write_points(place: Path, names: tuple[str, ...], points: Any) -> Path:
    result = fit(points, 2, seed=1)
    card = make_card(result, points, feature_names=names, model="shop")
    write_candidate(place, result, card, points)
    return place


def complete(table: Table) -> Any:
    points = np.column_stack(list(numbers(table).values())).astype("f4")
    return points[~np.isnan(points).any(axis=1)]


def test_a_new_value_of_a_category_is_compared_in_the_features_that_the_live_version_has(
    versions: Versions,
) -> None:
    found = measure(versions.new_value, versions.live)["comparison"]
    assert found["rows_kept"] > 0.99
    assert abs(found["inertia_rise"]) < 0.1
    # And the other way: of the value that is gone, the centroids are 0.
    assert measure(versions.live, versions.new_value)["comparison"]["rows_kept"] > 0.99


def test_a_feature_that_the_candidate_lacks_is_zero_in_its_centroids(versions: Versions) -> None:
    live, later = ModelCard.read(versions.new_value), ModelCard.read(versions.live)
    rows = CommonRows.of(live, later, ColumnRows.read(later.columns, shop()))
    assert live.feature_names == ("income", "age", "plan=free", "plan=new", "plan=paid")
    np.testing.assert_array_equal(
        rows.align(np.array([[1.0, 2.0, 3.0, 4.0]])), [[1.0, 2.0, 3.0, 0.0, 4.0]]
    )


def test_a_version_that_imputes_is_compared_with_a_plain_one_of_the_same_features(
    versions: Versions,
) -> None:
    found = measure(versions.imputed, versions.plain)["comparison"]
    assert found["rows"] == 294  # the plain one has no answer where a number is missing
    assert found["rows_kept"] > 0.99
    assert abs(found["inertia_rise"]) < 0.1


def test_a_plain_version_does_not_take_the_place_of_one_that_takes_columns_by_name(
    versions: Versions,
) -> None:
    assert measure(versions.plain, versions.imputed) == {
        "incomparable": "it takes no columns by name, and version 4 does: clients that send "
        "tables would be refused"
    }
    # They are alike all the same, as `compare` shows.
    cards = ModelCard.read(versions.imputed), ModelCard.read(versions.plain)
    assert find_difference(*cards) is None


def test_one_that_takes_columns_more_than_a_plain_one_is_another_model(versions: Versions) -> None:
    assert measure(versions.live, versions.plain)["incomparable"] == (
        "it takes by name the columns income (number), age (number), plan (category), and version "
        "5 takes the columns income, age"
    )


def test_the_order_of_the_columns_is_no_difference(versions: Versions) -> None:
    assert measure(versions.turned, versions.live)["comparison"]["rows_kept"] > 0.99


def test_missing_numbers_of_plain_rows_are_filled_for_a_version_that_fills_them(
    versions: Versions,
) -> None:
    before, after = ModelCard.read(versions.imputed), ModelCard.read(versions.plain)
    rows = CommonRows.of(before, after, np.array([[np.nan, 30.0], [1.0, np.nan]], "f4"))
    assert before.encoder is not None
    fills = [column.fill for column in before.encoder.columns]
    np.testing.assert_array_equal(rows.before, np.array([[fills[0], 30.0], [1.0, fills[1]]], "f4"))
    assert np.isnan(rows.after).sum() == 2


def test_rows_of_a_file_are_compared_as_columns(versions: Versions, tmp_path: Path) -> None:
    columns = ModelCard.read(versions.turned).columns
    sample_rows.write_columns(tmp_path / "some.npz", ColumnRows.read(columns, shop(n=40)))
    found = measure(versions.turned, versions.live, tmp_path / "some.npz")
    assert found["comparison"]["rows"] == 40


@pytest.mark.parametrize("content", [None, b"no archive"])
def test_without_rows_of_columns_nothing_is_compared(
    versions: Versions, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "some.npz").write_bytes(content)
    found = measure(versions.turned, versions.live, tmp_path / "some.npz")
    assert ("no rows" if content is None else "unreadable") in found["incomparable"]
