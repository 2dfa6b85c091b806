"""One small fit and its candidate, made once for these tests; and a stand-in that needs no fit."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from export import ModelCard, file_hashes, golden_requests, make_card, write_candidate
from export.model_card import (
    CardIteration,
    ClusterProfile,
    Parameters,
    Silhouette,
    TrainingData,
)
from kmeans_module import FitResult, fit
from tests.validation_in_process import validation_in_process

__all__ = ["validation_in_process"]

FEATURE_NAMES: Final = ("length", "width", "depth")
PARAMETERS: Final[dict[str, Any]] = {
    "init": "k-means++",
    "n_init": 3,
    "max_iter": 100,
    "tol": 1e-4,
    "standardize": True,
    "seed": 5,
}


@pytest.fixture(scope="session")
def points() -> NDArray[np.float32]:
    """Four blobs of 150 rows, their columns in different units and far from the origin."""
    rng = np.random.default_rng(11)
    centers = rng.uniform(-8, 8, (4, 3))
    rows = np.concatenate([rng.normal(center, 1.0, (150, 3)) for center in centers])
    return (rows * [1, 100, 0.01] + [0, 3000, 1]).astype(np.float32)


@pytest.fixture(scope="session")
def fitted(points: NDArray[np.float32]) -> FitResult:
    return fit(points, 4, **PARAMETERS)


@pytest.fixture(scope="session")
def card(fitted: FitResult, points: NDArray[np.float32]) -> ModelCard:
    return make_card(
        fitted,
        points,
        feature_names=FEATURE_NAMES,
        model="blobs",
        files=("blobs.csv",),
        rows_left_out=2,
    )


@pytest.fixture(scope="session")
def candidate(
    tmp_path_factory: pytest.TempPathFactory,
    fitted: FitResult,
    card: ModelCard,
    points: NDArray[np.float32],
) -> Path:
    """A candidate that tests only read."""
    directory = tmp_path_factory.mktemp("candidate") / "candidate"
    write_candidate(directory, fitted, card, points)
    return directory


@pytest.fixture
def spoilable(candidate: Path, tmp_path: Path) -> Path:
    """A copy of the candidate that a test may break."""
    return Path(shutil.copytree(candidate, tmp_path / "spoilable"))


@pytest.fixture
def plain_card() -> ModelCard:
    """A card made by hand: two clusters of two features."""
    quantiles = {"0": 0.0, "0.25": 0.5, "0.5": 1.0, "0.75": 1.5, "0.95": 2.0, "1": 2.5}
    return ModelCard(
        model=None,
        created="2026-01-31T12:00:00+00:00",
        package_version="0.1.0",
        tensorflow_version="2.21.0",
        n_clusters=2,
        n_features=2,
        feature_names=("höhe", "breite"),
        standardize=False,
        shift=(0.1, -3.0),
        scale=(1.0, 1.0),
        data=TrainingData("ab" * 32, ("a.csv", "b.csv"), 12, 10, 2),
        parameters=Parameters("random", 1, 300, 1e-4, 0),
        n_iter=2,
        converged=True,
        inertia=7.25,
        silhouette=Silhouette(0.5, 10),
        distance_quantiles=quantiles,
        clusters=(ClusterProfile(0, 10, 1.0, quantiles), ClusterProfile(1, 0, 0.0, {})),
        history=(CardIteration(9.0, 1.5), CardIteration(7.25, 0.0)),
    )


TWO_ROWS: Final = np.array([[0.0, 1.0], [1.0, 0.0]])


def _answer_alike(signature: str, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Answers that look like those of a model, for what is not replayed."""
    if signature == "decode":
        return {"centroid": TWO_ROWS[inputs["cluster_index"]].astype(np.float32)}
    return {"all_distances": inputs["points"][..., :2]}


def seal(version: Path) -> None:
    """Write the hashes of a version's files, as they now are, into its card."""
    replace(ModelCard.read(version), files_sha256=file_hashes.hash_files(version)).write(version)


@pytest.fixture
def make_stand_in(tmp_path: Path, plain_card: ModelCard) -> Callable[[str], Path]:
    """Makes directories that look like candidates, for tests that do not validate."""

    def make(name: str) -> Path:
        directory = tmp_path / name
        (directory / "variables").mkdir(parents=True)
        (directory / "saved_model.pb").write_text(f"the graph of {name}")
        (directory / "variables" / "variables.index").write_text(name)
        plain_card.write(directory)
        golden_requests.write(directory, golden_requests.choose(TWO_ROWS, 2, _answer_alike))
        seal(directory)
        return directory

    return make
