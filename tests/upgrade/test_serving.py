"""Models published by 0.1.0 are served, verified, asked, monitored and moved by labels."""

import json
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_module.contract import SIGNATURES
from serving import GrpcClient
from serving.embedded import EmbeddedServer
from serving.golden_check import check_server

from .conftest import MODELS, PUBLISHED, clusters_and_distances

ROWS = PUBLISHED / "rows.csv"


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[EmbeddedServer]:
    """One server of the four models, on their models.config."""
    with EmbeddedServer(
        model_config_file=models / "models.config",
        rest_api_port="auto",
        file_system_poll_wait_seconds=0.05,
        allow_version_labels_for_unavailable_models=True,
    ) as running:
        yield running


@pytest.mark.parametrize("name", MODELS)
def test_the_golden_requests_are_answered_as_recorded_over_grpc_and_rest(
    server: EmbeddedServer, models: Path, name: str
) -> None:
    assert server.grpc_address is not None
    assert server.rest_address is not None
    checks = list(check_server(server.grpc_address, server.rest_address, models / name, name))
    assert [str(check) for check in checks if not check.passed] == []
    # Status, metadata and every signature, by each protocol.
    assert len(checks) == 2 * (2 + len(SIGNATURES))


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="verify compares bits, which were recorded on x86-64"
)
@pytest.mark.parametrize("name", MODELS)
def test_verify_finds_hashes_and_answers_as_they_were_exported_here_and_on_a_server(
    server: EmbeddedServer, models: Path, name: str, run_json: Callable[..., Any]
) -> None:
    said = run_json("verify", models / name, 1, "--server", server.grpc_address)
    assert said["versions"] == [{"version": 1, "ok": True, "findings": []}]


@pytest.mark.parametrize("name", MODELS)
def test_rows_get_the_same_answers_in_process_from_the_server_and_in_batch(
    server: EmbeddedServer, models: Path, name: str, tmp_path: Path, run: Callable[..., str]
) -> None:
    model, address = ("--model", models / name), ("--server", server.grpc_address)
    found = [run("assign", ROWS, *model), run("assign", ROWS, *model, *address)]
    for out, options in ((tmp_path / "here", ()), (tmp_path / "served", address)):
        run("batch-score", ROWS, out, *model, *options, "--format", "csv")
        (part,) = (out / "scored").iterdir()
        found.append(part.read_text())
    (clusters, distances), *others = (clusters_and_distances(text.splitlines()) for text in found)
    assert len(clusters) == 342
    assert set(clusters) == {0, 1, 2}
    for other_clusters, other_distances in others:
        assert other_clusters == clusters
        np.testing.assert_allclose(other_distances, distances, rtol=1e-5)
    # The sizes that 0.1.0 wrote into the card.
    card = json.loads((models / name / "1/assets.extra/model_card.json").read_text())
    assert np.bincount(clusters).tolist() == [each["size"] for each in card["clusters"]]


@pytest.mark.parametrize("name", MODELS)
def test_monitor_finds_no_drift_in_the_training_rows_scored_or_asked(
    server: EmbeddedServer, models: Path, name: str, tmp_path: Path, run_json: Callable[..., Any]
) -> None:
    model = ("--model", models / name)
    run_json("batch-score", ROWS, tmp_path / "out", *model)
    for source in ([tmp_path / "out"], [ROWS, "--server", server.grpc_address]):
        said = run_json("monitor", *source, *model)
        assert (said["version"], said["rows"], said["drift"]) == (1, 342, False)


@pytest.mark.parametrize("name", MODELS)
def test_a_server_follows_the_labels_to_another_version_and_back(
    server: EmbeddedServer, models: Path, name: str, run_json: Callable[..., Any]
) -> None:
    base, address = models / name, server.grpc_address
    assert address is not None
    shutil.copytree(base / "1", base / "2")

    def answering(label: str | None = None) -> int | None:
        with GrpcClient(address, name, label=label) as client:
            return client.assign(np.zeros((1, 4), np.float32)).version

    run_json("canary", base, 2, "--server", address)
    assert [answering("stable"), answering("canary"), answering()] == [1, 2, 2]
    moved = run_json("promote", base, 2, "--server", address)["moves"]
    assert {"label": "stable", "from": 1, "to": 2} in moved
    assert [answering("stable"), answering()] == [2, 2]
    rows = run_json("versions", base, "--server", address)["versions"]
    assert [(row["version"], row["k"], "stable" in row["labels"]) for row in rows] == [
        (1, 3, False),
        (2, 3, True),
    ]
    # The history that 0.1.0 began says where to go back to.
    run_json("rollback", base, "--server", address)
    assert [answering("stable"), answering()] == [1, 1]
    steps = [json.loads(line) for line in (base / "history.jsonl").read_text().splitlines()]
    assert [step["to"] for step in steps if step["label"] == "stable"] == [1, 2, 1]
