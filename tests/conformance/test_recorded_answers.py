"""The embedded server gives the answers that a real TensorFlow Serving gave; see README.md."""

import base64
import http.client
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.embedded import EmbeddedServer
from tests.conformance.comparison import comparable

Case = dict[str, Any]
_FOLDER = Path(__file__).parent
_CASES: list[Case] = json.loads((_FOLDER / "recorded.json").read_text())
_TIMEOUT = 30
_STUBS = {
    "PredictionService": prediction_service_pb2_grpc.PredictionServiceStub,
    "ModelService": model_service_pb2_grpc.ModelServiceStub,
}
_REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
    "MultiInference": inference_pb2.MultiInferenceRequest,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}


def _ask_rest(address: str, request: Case) -> Case:
    body = request.get("body")
    data = body.encode() if body is not None else None
    if "body_base64" in request:
        data = base64.b64decode(request["body_base64"])
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(request["method"], request["path"], body=data, headers=headers)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "backslashreplace")
        content_type = response.getheader("Content-Type")
        return {"status": response.status, "content_type": content_type, "body": text}
    finally:
        connection.close()


def _ask_grpc(address: str, request: Case) -> Case:
    message = json_format.ParseDict(request["message"], _REQUESTS[request["rpc"]]())
    with grpc.insecure_channel(address) as channel:
        call = getattr(_STUBS[request["service"]](channel), request["rpc"])
        try:
            response = call(message, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            call_error: Any = error  # the stubs do not say that it is a grpc.Call too
            return {"code": call_error.code().name, "message": call_error.details()}
        return {"code": "OK", "response": json_format.MessageToDict(response)}


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case["name"])
def test_answers_as_the_real_server_did(server: EmbeddedServer, case: Case) -> None:
    if "rpc" in case["request"]:
        assert server.grpc_address is not None
        answer = _ask_grpc(server.grpc_address, case["request"])
    else:
        assert server.rest_address is not None
        answer = _ask_rest(server.rest_address, case["request"])
    assert comparable(answer) == comparable(case["answer"])


@pytest.mark.parametrize(
    "name",
    [
        "REST row",  # objects, one a line
        "REST row of transform",  # lists in one line
        "REST column of transform",  # a value a line
        "REST bytes",  # objects within a list in one line
        "REST bytes column",
        "REST classify: two",
        "REST regress: two",
        "REST status",
        "REST unknown model",
        "REST GET /v1",
    ],
)
def test_lays_the_body_out_as_the_real_server_did(server: EmbeddedServer, name: str) -> None:
    (case,) = (case for case in _CASES if case["name"] == name)
    assert server.rest_address is not None
    answer = _ask_rest(server.rest_address, case["request"])
    assert _lines(answer["body"]) == _lines(case["answer"]["body"])


def _lines(body: str) -> list[str]:
    """The lines of a body without the commas at their ends, in an order that names do not set."""
    return sorted(line.removesuffix(",") for line in body.split("\n"))


def test_every_recorded_case_is_asked() -> None:
    assert len({case["name"] for case in _CASES}) == 285
