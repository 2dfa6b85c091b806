"""A published model in a folder as ``publish`` leaves it, and a server of its models.config."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.embedded import EmbeddedServer

from ..published_models import publish_unvalidated

DOCKER = Path(__file__).resolve().parents[2] / "docker"


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model ``people``: version 1 is live, beside a models.config."""
    folder = tmp_path_factory.mktemp("published")
    publish_unvalidated(folder, "people", ("height", "weight"), rows=90, versions=1)
    return folder / "models" / "people"


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
