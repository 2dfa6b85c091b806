"""A server for the recorded requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.embedded import EmbeddedServer
from tests.conformance.fixture_models import write_fixture_models

_MODELS_CONFIG = """
model_config_list {
  config {
    name: "kmeans" base_path: "%(root)s/kmeans" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
  config { name: "types" base_path: "%(root)s/types" model_platform: "tensorflow" }
}
"""


@contextmanager
def serve_fixture_models(root: Path) -> Iterator[EmbeddedServer]:
    """A server of the recording's models, written to ``root``, under its config."""
    write_fixture_models(root)
    config = root / "models.config"
    config.write_text(_MODELS_CONFIG % {"root": root})
    with EmbeddedServer(
        model_config_file=config, allow_version_labels_for_unavailable_models=True
    ) as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server with the models and the config of the recording."""
    with serve_fixture_models(tmp_path_factory.mktemp("conformance")) as running:
        yield running
