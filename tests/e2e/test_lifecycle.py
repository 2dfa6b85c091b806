"""A running server follows promote, canary and rollback, and goes back when one goes wrong."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, prediction_service_pb2_grpc, regression_pb2

from serving import GrpcClient
from serving.cli import main
from serving.embedded import EmbeddedServer
from tests.published_models import publish_unvalidated

pytestmark = pytest.mark.slow

NAMES = ("height", "weight")


@dataclass(frozen=True)
class Running:
    """A server on a models.config of one model with the versions 1 to 3, of which 1 is stable."""

    base: Path
    address: str

    def run(self, *arguments: object) -> int:
        command, *rest = map(str, arguments)
        return main([command, str(self.base), *rest, "--server", self.address])

    def answers(self, label: str | None = None) -> int | None:
        with GrpcClient(self.address, "people", label=label) as client:
            return client.assign(np.zeros((1, 2), np.float32)).version


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    publish_unvalidated(tmp_path, "people", NAMES, rows=90, versions=3)
    base = tmp_path / "models" / "people"
    with EmbeddedServer(
        model_config_file=base.parent / "models.config",
        rest_api_port=0,
        file_system_poll_wait_seconds=0.1,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        assert server.grpc_address is not None
        yield Running(base, server.grpc_address)


def test_a_server_follows_each_move(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert (running.answers(), running.answers("stable")) == (1, 1)
    assert running.run("promote", 2, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["moves"] == [{"label": "stable", "from": 1, "to": 2}]
    assert (running.answers(), running.answers("stable")) == (2, 2)

    assert running.run("canary", 3) == 0
    assert "requests without version or label go to version 3, the canary" in (
        capsys.readouterr().out
    )
    assert [running.answers(label) for label in ("stable", "canary", None)] == [2, 3, 3]

    assert running.run("versions", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["versions"]
    assert [(row["labels"], row["state"]) for row in rows] == [
        ([], "END"),
        (["stable"], "AVAILABLE"),
        (["canary"], "AVAILABLE"),
    ]

    assert running.run("canary", "--off") == 0
    assert running.run("rollback") == 0
    assert (running.answers(), running.answers("stable")) == (1, 1)
    assert running.run("promote", 1) == 0  # a second time
    assert running.run("rollback") == 2
    assert "no version before 1" in capsys.readouterr().err


def test_a_version_that_does_not_load_leaves_file_and_server_as_they_were(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    config = running.base.parent / "models.config"
    before = config.read_bytes()
    shutil.rmtree(running.base / "2" / "variables")
    assert running.run("promote", 2, "--timeout", 3) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "did not apply the config" in line  # like TensorFlow Serving, it retries for minutes
    assert "version 2 is LOADING; if it stays so, read the server's log" in line
    assert line.count("models.config is as before") == 1
    assert config.read_bytes() == before
    assert (running.answers(), running.answers("stable")) == (1, 1)


def test_where_no_server_answers_nothing_is_moved(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    config = running.base.parent / "models.config"
    before = config.read_bytes()
    assert main(["promote", str(running.base), "2", "--server", "127.0.0.1:1"]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err
    assert config.read_bytes() == before


def test_a_server_is_verified_against_what_was_exported(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running.run("verify", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    # Only what it has loaded is asked.
    assert said["versions"] == [{"version": 1, "ok": True, "findings": []}]
    assert said["not_loaded"] == [2, 3]
    assert running.run("verify", 2, "--json") == 3
    (found,) = json.loads(capsys.readouterr().out)["versions"]
    assert found["findings"] == [f"{running.address} has not loaded version 2"]


def test_tf_examples_are_classified_and_regressed(running: Running) -> None:
    rows = np.array([[0.5, 1.0], [-2.0, 0.25]], np.float32)
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
                    for name, value in zip(NAMES, row, strict=True)
                }
            )
        )
        for row in rows
    ]
    examples.append(tf.train.Example())  # without its features: a bad row
    classify = classification_pb2.ClassificationRequest()
    regress = regression_pb2.RegressionRequest()
    for name, request in (("classify", classify), ("regress", regress)):
        request.model_spec.name = "people"
        request.model_spec.signature_name = name
        request.input.example_list.examples.extend(examples)
    with GrpcClient(running.address, "people") as client:
        expected = client.assign(rows)
    with grpc.insecure_channel(running.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        classified = stub.Classify(classify).result.classifications
        regressed = [each.value for each in stub.Regress(regress).result.regressions]
    best = [each.classes[0] for each in classified]
    assert [each.label for each in best] == [*map(str, expected.cluster_index), "-1"]
    np.testing.assert_allclose([each.score for each in best], [*expected.distance, -1], rtol=1e-6)
    np.testing.assert_allclose(regressed, [*expected.distance, -1], rtol=1e-6)
