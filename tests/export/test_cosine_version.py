"""A version of cosine distance: its card, its golden requests, and the gate beside another."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from export import ModelCard, make_card, write_candidate
from export.replay import collect_findings, measure
from kmeans_module import fit

from .conftest import FEATURE_NAMES, PARAMETERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, points: NDArray[np.float32]) -> Path:
    directory = tmp_path_factory.mktemp("cosine") / "2"
    fitted = fit(points, 4, distance="cosine", **PARAMETERS)
    card = make_card(fitted, points, feature_names=FEATURE_NAMES)
    write_candidate(directory, fitted, card, points)
    return directory


def test_the_card_says_which_distance_it_is(version: Path, points: NDArray[np.float32]) -> None:
    card = ModelCard.read(version)
    assert card.distance == "cosine"
    assert "chord" in card.distance_space
    entered = card.to_model_space(points)
    np.testing.assert_allclose(np.linalg.norm(entered, axis=1), 1)
    assert card.distance_quantiles["1"] <= 2
    assert card.silhouette.value is not None
    assert -1 < card.silhouette.value < 1
    labels = fit(points, 4, distance="cosine", **PARAMETERS).assignments
    assert card.silhouette.value == pytest.approx(silhouette_score(entered, labels), abs=1e-5)


def test_its_golden_requests_are_answered_by_the_loaded_graph_also_as_examples(
    version: Path,
) -> None:
    assert collect_findings(version) == []


def test_the_gate_measures_it_and_another_in_the_space_of_the_live_one(
    version: Path, candidate: Path, tmp_path: Path
) -> None:
    live = tmp_path / "1"
    live.symlink_to(candidate)
    of_the_live = measure(version, live)["comparison"]
    assert of_the_live["live_inertia"] == pytest.approx(
        ModelCard.read(candidate).inertia / of_the_live["rows"], rel=1e-4
    )
    the_other_way = measure(live, version)["comparison"]
    assert the_other_way["live_inertia"] == pytest.approx(
        ModelCard.read(version).inertia / the_other_way["rows"], rel=1e-4
    )
    assert measure(version, version)["comparison"]["rows_kept"] == 1
