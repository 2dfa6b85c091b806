"""What a check of a server asks it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from export import golden_requests
from kmeans_module.contract import SIGNATURES
from serving import ModelMetadata, Prediction, VersionStatus
from serving.clients.client import Client
from serving.golden_check import check_version, probe
from tests.published_models import publish_unvalidated


class _Recorded:
    """A client whose server answers golden requests as recorded, but none without rows."""

    def __init__(self, directory: Path) -> None:
        self.asked: list[str] = []
        self._requests = golden_requests.read(directory)

    def metadata(self, *, version: int) -> ModelMetadata:
        return ModelMetadata(version, {})

    def predict(
        self, signature: str, inputs: Mapping[str, NDArray[Any]], *, version: int
    ) -> Prediction:
        assert all(array.size for array in inputs.values())
        self.asked.append(signature)
        (found,) = [
            each
            for each in self._requests
            if each.signature == signature
            and all(np.array_equal(each.inputs[k], inputs[k], equal_nan=True) for k in inputs)
        ]
        return Prediction(found.outputs, version=version)


def test_a_server_is_never_asked_a_golden_request_without_rows(tmp_path: Path) -> None:
    publish_unvalidated(tmp_path, "people", ("height", "weight"), rows=90, versions=1)
    directory = tmp_path / "models" / "people" / "1"
    client = _Recorded(directory)
    checks = list(check_version({"gRPC": cast(Client, client)}, directory, 1))
    answered = {check.subject.split()[1]: check for check in checks if check.passed}
    assert set(answered) == set(SIGNATURES)
    assert set(client.asked) == set(SIGNATURES)
    assert answered["assign"].detail.endswith("; 1 without rows not asked")


class _Unloaded:
    """A client whose server has unloaded version 2."""

    def status(self, *, version: int | None, label: str | None) -> list[VersionStatus]:
        assert (version, label) == (2, None)
        return [VersionStatus(2, "END", "OK", "")]


def test_a_probe_of_a_version_that_is_unloaded_says_so() -> None:
    check = probe(cast(Client, _Unloaded()), lambda _: [], among=(1, 2, 3), version=2)
    assert not check.passed
    assert check.detail == "expected version 2 AVAILABLE, got version 2 END"
