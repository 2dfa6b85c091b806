"""A server that computes: patience with its absence, none with another version."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from export.golden_requests import GoldenRequest
from serving.batch import assignments, score_files
from serving.batch.errors import NoAnswer, OtherModel
from serving.batch.output_folder import OutputFolder
from serving.batch.server_scorer import ServerScorer
from serving.cli.client_options import ConnectionOptions
from serving.clients.grpc_client import GrpcClient
from serving.errors import ServingError
from tests.serving.cli.command import COMMAND, environment
from tests.serving.fake_servers import Failure, FakeGrpcServer, NumpyModel

from .scorers import CARD, expected, job_of

pytestmark = pytest.mark.slow

POINTS = np.random.default_rng(8).uniform(-3, 13, (400, 2)).astype(np.float32)


@pytest.fixture
def server() -> Iterator[FakeGrpcServer]:
    with FakeGrpcServer() as running:
        yield running


def scorer_of(server: FakeGrpcServer, **wishes: Any) -> ServerScorer:
    client = GrpcClient(server.address, server.model.name, timeout=5)
    return ServerScorer(client, wishes.pop("version", 2), server.address, **wishes)


def check_answers(scorer: ServerScorer) -> None:
    found, wanted = scorer.assign(POINTS), expected(POINTS)
    np.testing.assert_array_equal(found.cluster_index, wanted.cluster_index)
    np.testing.assert_array_equal(found.distance, wanted.distance)


def test_the_version_of_the_card_is_asked_whichever_is_the_latest(server: FakeGrpcServer) -> None:
    for version in (1, 2):
        scorer = scorer_of(server, version=version)
        scorer.check(CARD, ())
        check_answers(scorer)
        assert server.versions[-1] == version
    assert scorer.score(POINTS).silhouette.shape == (400,)
    assert scorer.transform(POINTS).all_distances.shape == (400, 3)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"])
def test_trouble_that_passes_is_waited_for_and_told(server: FakeGrpcServer, code: str) -> None:
    told: list[ServingError] = []
    scorer = scorer_of(server, on_trouble=told.append)
    scorer.check(CARD, ())
    # More than the client itself tries again.
    server.failures.extend([Failure(code, "not now")] * 6)
    check_answers(scorer)
    assert told


def test_a_version_that_is_unloaded_and_comes_back_is_waited_for(server: FakeGrpcServer) -> None:
    server.model.states = {2: "LOADING"}

    def told(_error: ServingError) -> None:
        server.model.states = {2: "AVAILABLE"}

    check_answers(scorer_of(server, on_trouble=told))


def test_patience_has_an_end_and_then_the_servers_own_words_are_said(
    server: FakeGrpcServer,
) -> None:
    scorer = scorer_of(server, patience=0.6)
    server.failures.extend([Failure("UNAVAILABLE", "gone for good")] * 100)
    with pytest.raises(NoAnswer) as caught:
        scorer.assign(POINTS)
    assert str(caught.value).startswith(
        f"{server.address}: has not answered for 0.6 s: gone for good; the same command resumes"
    )


def test_without_patience_a_server_that_is_there_answers_and_another_is_not_waited_for(
    server: FakeGrpcServer,
) -> None:
    scorer = scorer_of(server, patience=0.0)
    scorer.check(CARD, golden())
    check_answers(scorer)
    server.failures.append(Failure("CANCELLED", "restarting"))
    with pytest.raises(NoAnswer, match="has not answered for 0 s: restarting"):
        scorer.assign(POINTS)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2"])
def test_where_nothing_answers_one_line_says_so_and_what_to_do(address: str) -> None:
    with GrpcClient(address.split(","), "customers", timeout=5) as client:
        scorer = ServerScorer(client, 2, address, patience=0.1)
        with pytest.raises(NoAnswer) as caught:
            scorer.check(CARD, ())
    assert str(caught.value) == (
        f"{address}: server unreachable: no connection to 127.0.0.1:1: connection refused; nothing "
        "listens there; start it, or give another with --server HOST:PORT"
    )


def test_another_version_another_model_or_another_size_stops_before_any_row(
    server: FakeGrpcServer,
) -> None:
    with pytest.raises(OtherModel, match=r"not serve version 7 as in its card: it has version 2"):
        scorer_of(server, version=7).check(CARD, ())
    server.model.states = {2: "LOADING", 3: "AVAILABLE"}
    del server.model.states[2]
    with pytest.raises(OtherModel, match=r"it has version 3"):
        scorer_of(server).check(CARD, ())
    # It has happened in the middle.
    with pytest.raises(OtherModel, match=r"it has version 3"):
        scorer_of(server).assign(POINTS)
    server.model.states = {2: "AVAILABLE"}
    server.width = 5
    with pytest.raises(OtherModel, match=r"points? float32 \[\*, 5\]|float32 \[\*, 5\]"):
        scorer_of(server).check(CARD, ())
    server.width = 2
    server.model.name = "other"
    with pytest.raises(OtherModel):
        ServerScorer(GrpcClient(server.address, "customers"), 2, "s").check(CARD, ())
    assert server.predicts() == 0


def golden() -> list[GoldenRequest]:
    points = POINTS[:20]
    return [GoldenRequest("assign", {"points": points}, _answers(points))]


def _answers(points: Any) -> dict[str, Any]:
    return NumpyModel().answer("assign", {"points": points})


def test_a_server_that_does_not_answer_as_the_version_did_is_refused(
    server: FakeGrpcServer,
) -> None:
    scorer_of(server).check(CARD, golden())
    server.model.centroids = server.model.centroids[::-1]
    with pytest.raises(OtherModel, match="expected cluster_index"):
        scorer_of(server).check(CARD, golden())


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "NOT_FOUND", "DEADLINE_EXCEEDED"])
def test_after_trouble_another_model_of_the_same_name_and_version_is_sent_no_row(
    server: FakeGrpcServer, code: str
) -> None:
    scorer = scorer_of(server)
    scorer.check(CARD, golden())
    # More than the client itself tries again.
    failures = [Failure(code, "restarting")] * (5 if code == "UNAVAILABLE" else 1)
    server.model.centroids = server.model.centroids[::-1]
    server.failures.extend(failures)
    server.rows.clear()
    with pytest.raises(OtherModel, match="does not serve version 2 as in its card: expected"):
        scorer.assign(POINTS)
    assert server.rows == [20]


def test_trouble_in_the_middle_of_a_golden_request_is_waited_for(server: FakeGrpcServer) -> None:
    scorer = scorer_of(server)
    scorer.check(CARD, golden())
    codes = ["CANCELLED", "NOT_FOUND", "RESOURCE_EXHAUSTED"]

    def trouble(outputs: dict[str, Any]) -> dict[str, Any]:
        if codes and len(outputs["distance"]) == 20:
            raise Failure(codes.pop(), "again")
        return outputs

    server.change_answer = trouble
    server.failures.append(Failure("CANCELLED", "restarting"))
    check_answers(scorer)
    assert codes == []


def test_another_model_that_came_without_any_trouble_is_found_before_a_part_counts(
    tmp_path: Path, server: FakeGrpcServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "_BATCH_ROWS", 10)
    np.save(tmp_path / "rows.npy", POINTS)
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out", part_rows=100)
    scorer = scorer_of(server)
    scorer.check(CARD, golden())
    scored = 0

    def on_rows(count: int) -> None:
        nonlocal scored
        scored += count
        if scored == 150:
            server.model.centroids = server.model.centroids[::-1]

    with pytest.raises(OtherModel, match="expected cluster_index"):
        score_files(job, tables, scorer, at_a_time=2, on_rows=on_rows)
    assert [record.name for record in OutputFolder(job).records()] == ["part-00000-00000"]


def test_a_server_that_restarts_in_the_middle_loses_no_row_and_repeats_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignments, "_BATCH_ROWS", 10)
    np.save(tmp_path / "rows.npy", POINTS)
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out", part_rows=100)
    first = FakeGrpcServer()
    port = int(first.address.rpartition(":")[2])
    second: list[FakeGrpcServer] = []

    def restart(_error: ServingError) -> None:
        with lock:
            if not second:
                second.append(FakeGrpcServer(port))

    lock = threading.Lock()
    scored = 0

    def on_rows(count: int) -> None:
        nonlocal scored
        scored += count
        if scored == 150:
            first.stop()

    try:
        scorer = scorer_of(first, on_trouble=restart)
        summary = score_files(job, tables, scorer, at_a_time=4, on_rows=on_rows)
    finally:
        for each in (first, *second):
            each.stop()
    assert second
    assert summary["rows"] == scored == 400
    found = pq.read_table(tmp_path / "out" / "scored")
    wanted = expected(POINTS)
    assert found["cluster_index"].to_pylist() == wanted.cluster_index.tolist()
    np.testing.assert_array_equal(found["distance"].to_numpy(), wanted.distance)
    assert first.most_at_once <= 4


def test_a_server_that_refuses_what_is_above_its_threads_scores_every_row(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", POINTS)
    job, tables = job_of([tmp_path / "rows.npy"], tmp_path / "out", part_rows=10)
    told: list[ServingError] = []
    with FakeGrpcServer(threads=32) as server:
        server.allowed_at_once = 2

        def hold_until_one_is_refused(outputs: dict[str, Any]) -> dict[str, Any]:
            server.wait_until(lambda: server.refused > 0)
            return outputs

        server.change_answer = hold_until_one_is_refused
        scorer = scorer_of(server, on_trouble=told.append)
        assert score_files(job, tables, scorer, at_a_time=8)["rows"] == 400
    assert told == []
    found = pq.read_table(tmp_path / "out" / "scored")
    assert found["cluster_index"].to_pylist() == expected(POINTS).cluster_index.tolist()


def test_as_many_requests_are_under_way_as_the_command_is_told() -> None:
    with (
        FakeGrpcServer(threads=32) as server,
        ConnectionOptions().client(server.address, "customers", 60, in_flight=12) as client,
        ThreadPoolExecutor(16) as callers,
    ):
        client.assign(POINTS)
        server.gate.clear()
        answers = [callers.submit(client.assign, POINTS) for _ in range(16)]
        server.wait_until(lambda: server.at_once == 12)
        server.gate.set()
        for each in answers:
            each.result(60)
        assert server.most_at_once == 12


def test_the_command_asks_a_server_without_tensorflow_by_a_card_alone(
    tmp_path: Path, server: FakeGrpcServer
) -> None:
    np.save(tmp_path / "rows.npy", POINTS)
    card = tmp_path / "card.json"
    card.write_text(_card_json())
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from serving.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["batch-score", tmp_path / "rows.npy", tmp_path / "out", "--server", server.address]

    def run(*more: object) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, [*words, "--card", card, *more])],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert "add --version N" in run().stderr
    process = run("--version", 2, "--json")
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)["rows"] == 400
    assert set(server.versions) == {2}


def test_ctrl_c_ends_a_job_that_waits_for_a_server_at_once(
    tmp_path: Path, server: FakeGrpcServer
) -> None:
    np.save(tmp_path / "rows.npy", POINTS)
    card = tmp_path / "card.json"
    card.write_text(_card_json())
    words = ["batch-score", tmp_path / "rows.npy", tmp_path / "out", "--server", server.address]
    words += ["--card", card, "--version", 2, "--part-rows", 1, "--patience", 1000]
    with (
        subprocess.Popen(
            [*COMMAND, *map(str, words)], env=environment(), stderr=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)  # when a step fails, nobody waits for it
        assert process.stderr is not None
        until = time.monotonic() + 30
        while server.predicts() < 20:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        server.stop()
        # gRPC has words of its own for a connection that ends.
        assert any(line.startswith("waiting for the server: ") for line in process.stderr)
        process.send_signal(signal.SIGINT)
        *_, said, last = process.communicate(timeout=30)[1].splitlines()
    assert process.returncode == 130
    assert said.endswith("the same command resumes")
    assert last == "interrupted"


def _card_json() -> str:
    from export.model_card import (
        ClusterProfile,
        ModelCard,
        Parameters,
        Silhouette,
        TrainingData,
    )

    return ModelCard(
        model="customers",
        created="2026-01-31T12:00:00+00:00",
        package_version="0.1.0",
        tensorflow_version="2.21.0",
        n_clusters=3,
        n_features=2,
        feature_names=("feature_0", "feature_1"),
        standardize=False,
        shift=(0.0, 0.0),
        scale=(1.0, 1.0),
        data=TrainingData("ab" * 32, (), 3, 3, 0),
        parameters=Parameters("random", 1, 300, 1e-4, 0),
        n_iter=1,
        converged=True,
        inertia=0.0,
        silhouette=Silhouette(None, 0),
        distance_quantiles={},
        clusters=tuple(ClusterProfile(index, 1, 1 / 3, {}) for index in range(3)),
        history=(),
    ).to_json()
