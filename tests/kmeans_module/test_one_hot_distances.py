"""What docs/columns.md says of one-hot features and distances holds."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from kmeans_module import fit_columns
from kmeans_module.column_training import encode_arrays, fit_encoder

PENGUINS = pd.read_csv(Path(__file__).resolve().parents[2] / "examples" / "penguins.csv")
SIZES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]


def test_rows_of_different_values_are_equally_far_apart_whatever_the_values_are() -> None:
    encoder, arrays = fit_encoder({"plan": ["a", "b", "c", "a"]}, categories=["plan"])
    points = encode_arrays(encoder, arrays)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.testing.assert_allclose(distances[np.triu_indices(3, 1)], np.sqrt(2), rtol=1e-6)
    assert distances[0, 3] == 0


@pytest.mark.parametrize(("in_100", "apart"), [(2, 7.1), (50, 2.0)])
def test_standardised_a_rare_value_weighs_more_than_a_common_one(in_100: int, apart: float) -> None:
    plan = ["rare"] * in_100 + ["b"] * (100 - in_100)
    table = {"plan": plan, "x": np.arange(100.0)}
    result = fit_columns(table, 2, categories=["plan"], standardize=True, seed=0)
    assert result.module.encoder is not None
    place = result.module.encoder.feature_names.index("plan=rare")
    assert 1 / result.module.scale.numpy()[place] == pytest.approx(apart, abs=0.05)


def _in_a_cluster_of_their_species(assignments: NDArray[Any]) -> int:
    return int(pd.crosstab(PENGUINS["species"], assignments).max(axis=0).sum())


@pytest.mark.parametrize(
    ("categories", "options", "same"),
    [
        ([], {}, 313),
        (["sex"], {}, 275),
        (["island", "sex"], {}, 276),
        (["island", "sex"], {"feature_weight": {"sex": 0.3, "island": 0.3}}, 308),
    ],
)
def test_categories_move_the_clusters_of_the_penguins_away_from_their_species(
    categories: list[str], options: dict[str, Any], same: int
) -> None:
    result = fit_columns(
        PENGUINS[[*SIZES, *categories]],
        3,
        categories=categories,
        impute="mean",
        standardize=True,
        seed=0,
        **options,
    )
    # Where a group lies between two clusters, another processor's rounding may move a few.
    assert result.assignments is not None
    assert _in_a_cluster_of_their_species(result.assignments) == pytest.approx(same, abs=3)
    if categories == ["sex"]:
        sexes = pd.crosstab(PENGUINS["sex"], result.assignments)
        assert sorted((sexes == 0).sum(axis=0)) == [0, 1, 1]  # two have one sex alone


def test_a_category_by_chance_hides_the_groups_of_two_columns() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 600)
    table: dict[str, Any] = {
        "x": rng.normal(4.0 * group, 1),
        "y": rng.normal(4.0 * (group == 1), 1),
    }

    def agreement(categories: list[str]) -> float:
        result = fit_columns(table, 3, categories=categories, standardize=True, seed=0)
        return float(adjusted_rand_score(group, result.assignments))

    assert agreement([]) > 0.97
    table["code"] = [f"c{place}" for place in rng.integers(0, 30, 600)]
    assert agreement(["code"]) < 0.05
