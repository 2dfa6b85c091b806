"""A run is stopped when the client's deadline or the server's own ends."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.embedded import EmbeddedServer, ServerLimits
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable
from serving.embedded.status import Code, StatusError
from serving.embedded.tensor_proto import proto_of
from tests.serving.embedded.tiny_models import ask, eventually, write_gate

pytestmark = pytest.mark.slow


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of a model that answers when a file is there, which never comes."""
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    return base


@pytest.fixture
def server(base: Path) -> Iterator[EmbeddedServer]:
    """A server that stops a REST request's run after 0.3 s, and reads what is nested deep."""
    limits = ServerLimits(rest_api_max_nested_bytes=10_000_000)
    with EmbeddedServer(
        model_name="m", model_base_path=base, rest_api_timeout_in_ms=300, limits=limits
    ) as running:
        yield running


def test_a_rest_request_is_stopped_with_504(server: EmbeddedServer, tmp_path: Path) -> None:
    body = {"instances": [{"started": str(tmp_path / "started"), "gate": str(tmp_path / "gate")}]}
    status, text = ask(server.rest_address, "POST", "/v1/models/m:predict", body)
    assert (status, json.loads(text)["error"]) == (504, "Timed out waiting for notification")


def test_a_grpc_deadline_stops_the_run(server: EmbeddedServer, tmp_path: Path) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    for name in ("started", "gate"):
        value = np.array([str(tmp_path / name).encode()], np.object_)
        request.inputs[name].CopyFrom(proto_of(value))
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=0.3)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The run has ended as well: its thread is free, and the version can be unloaded.
    ended = threading.Thread(target=server.stop)
    ended.start()
    ended.join(20)
    assert not ended.is_alive()


def test_a_deadline_that_has_passed_runs_nothing(base: Path) -> None:
    servable = Servable("m", 1, str(base / "1"))
    try:
        signature = servable.signatures["serving_default"]
        with pytest.raises(StatusError) as caught:
            Request("Predict", deadline=0.0).run("Predict", servable, signature, {}, ["rounds"])
    finally:
        servable.close()
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_a_timeout_of_0_is_none(base: Path, tmp_path: Path) -> None:
    started, gate = tmp_path / "started", tmp_path / "gate"
    answers = []
    with EmbeddedServer(model_name="m", model_base_path=base, rest_api_timeout_in_ms=0) as server:
        body = {"instances": [{"started": str(started), "gate": str(gate)}]}
        asking = threading.Thread(
            target=lambda: answers.append(
                ask(server.rest_address, "POST", "/v1/models/m:predict", body)
            )
        )
        asking.start()
        assert eventually(started.exists, bool)
        gate.touch()
        asking.join()
    assert [status for status, _ in answers] == [200]


@pytest.mark.parametrize("end", ["", "]}"])
def test_a_body_that_is_long_to_read_is_stopped_with_504(server: EmbeddedServer, end: str) -> None:
    """Of brackets alone, nested too deep for the library."""
    body = b'{"instances": ' + b"[" * 4_000_000 + end.encode()
    status, text = ask(server.rest_address, "POST", "/v1/models/m:predict", body)
    assert (status, json.loads(text)["error"]) == (504, "Timed out waiting for notification")


def test_the_reading_of_a_body_ends_with_the_waiting_for_it() -> None:
    abandoned: Future[None] = Future()
    request = Request("predict", abandoned=abandoned)
    request.check_time()
    abandoned.set_result(None)
    with pytest.raises(StatusError) as caught:
        request.check_time()
    assert caught.value.code is Code.CANCELLED
