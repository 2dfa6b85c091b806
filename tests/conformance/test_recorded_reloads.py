"""Reloads in the order of the recording have the recorded answers, states and labels.

The requests run once, in their order, each on what the ones before it left; then each is a test.
"""

import json
import operator
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2, json_format  # noqa: F401 - a request holds an Empty
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from tests.conformance.comparison import comparable
from tests.conformance.conftest import serve_fixture_models
from tests.serving.embedded.tiny_models import eventually

Case = dict[str, Any]
_CASES: list[Case] = json.loads(Path(__file__).with_name("recorded_reloads.json").read_text())
_TIMEOUT = 30


class _Asker:
    """What is asked of one server."""

    def __init__(self, channel: grpc.Channel, models: Path) -> None:
        self._predictions: Any = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._models: Any = model_service_pb2_grpc.ModelServiceStub(channel)
        self._folder = models

    def reload(self, request: Case) -> Case:
        text = json.dumps(request).replace("MODELS", str(self._folder))
        message = json_format.Parse(text, model_management_pb2.ReloadConfigRequest())
        return _answer(self._models.HandleReloadConfigRequest, message)

    def states(self) -> Case:
        """The states of the models' versions."""
        states = {}
        for name in ("kmeans", "types", "types2"):
            request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
            states[name] = _answer(self._models.GetModelStatus, request)
        return states

    def labels(self) -> Case:
        """The version that each label, or none, leads to."""
        labels = {}
        for label in ("", "stable", "canary", "new"):
            request = get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec={"name": "kmeans"}, metadata_field=["signature_def"]
            )
            if label:
                request.model_spec.version_label = label
            labels[label] = _answer(self._predictions.GetModelMetadata, request)
            labels[label].get("response", {}).pop("metadata", None)
        return labels


def _answer(call: Any, request: Any) -> Case:
    try:
        return {
            "code": "OK",
            "response": json_format.MessageToDict(call(request, timeout=_TIMEOUT)),
        }
    except grpc.RpcError as error:
        call_error: Any = error  # the stubs do not say that it is a grpc.Call too
        return {"code": call_error.code().name, "message": call_error.details()}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """What the server answered to each request, and what was so after it, by the case's name."""
    root = tmp_path_factory.mktemp("reloads")
    found = {}
    with serve_fixture_models(root) as server:
        assert server.grpc_address is not None
        with grpc.insecure_channel(server.grpc_address) as channel:
            asker = _Asker(channel, root)
            for case in _CASES:
                answer = asker.reload(case["request"])
                # A version may be unloading still when the reload is answered.
                states = eventually(asker.states, partial(operator.eq, case["states"]))
                found[case["name"]] = {"answer": answer, "states": states, "labels": asker.labels()}
        yield found


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_a_reload_is_answered_as_by_the_real_server(answers: dict[str, Case], case: Case) -> None:
    found = answers[case["name"]]
    assert comparable(found["answer"]) == comparable(case["answer"])
    assert found["states"] == case["states"]
    assert found["labels"] == case["labels"]
