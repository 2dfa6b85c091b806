"""A published model in a folder as ``publish`` leaves it, and a server of its models.config."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import make_card, repository, write_candidate
from export.repository import publish
from kmeans_module import fit
from serving.embedded import EmbeddedServer

DOCKER = Path(__file__).resolve().parents[2] / "docker"
_FIT: dict[str, Any] = {
    "init": "k-means++",
    "n_init": 1,
    "max_iter": 20,
    "tol": 1e-4,
    "standardize": False,
    "seed": 1,
}


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model ``people``: version 1 is live, beside a models.config."""
    folder = tmp_path_factory.mktemp("published")
    rows = np.random.default_rng(3).normal(size=(90, 2)).astype(np.float32)
    result = fit(rows, 3, **_FIT)
    card = make_card(result, rows, feature_names=("height", "weight"), model="people", **_FIT)
    write_candidate(folder / "candidate", result, card, rows)
    base = folder / "models" / "people"
    with pytest.MonkeyPatch.context() as patch:
        # What it validates is not in question here, and takes a process with TensorFlow.
        patch.setattr(repository, "validate", lambda *_arguments, **_keywords: None)
        publish(folder / "candidate", base)
    return base


@pytest.fixture(scope="session")
def docker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of docker/, beside which there is neither a ``.env`` nor a folder of models."""
    copy = tmp_path_factory.mktemp("compose") / "docker"
    shutil.copytree(DOCKER, copy)
    return copy


@pytest.fixture(scope="session")
def server(published: Path) -> Iterator[EmbeddedServer]:
    """Serves what the models.config says, with the metrics that Compose's config turns on."""
    with EmbeddedServer(
        model_config_file=published.parent / "models.config",
        port="auto",
        rest_api_port="auto",
        file_system_poll_wait_seconds=0.05,
        allow_version_labels_for_unavailable_models=True,
        monitoring_config_file=DOCKER / "config" / "monitoring.config",
    ) as running:
        yield running
