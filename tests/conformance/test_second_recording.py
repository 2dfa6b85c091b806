"""The embedded server gives the answers of a second recording, whole requests as bytes.

What it answers otherwise on purpose is listed here by name, with its own answer.
"""

import base64
import http.client
import json
import socket
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
    predict_pb2,
    regression_pb2,
)

from serving.embedded import EmbeddedServer
from tests.conformance.comparison import comparable

Case = dict[str, Any]
_CASES: list[Case] = json.loads(Path(__file__).with_name("recorded_second.json").read_text())
_TIMEOUT = 30
#: A request without its end is waited for by the server, and so here for a moment alone.
_TIMEOUT_WITHOUT_END = 2
_RESPONSES = {
    "Predict": predict_pb2.PredictResponse,
    "Classify": classification_pb2.ClassificationResponse,
    "Regress": regression_pb2.RegressionResponse,
    "MultiInference": inference_pb2.MultiInferenceResponse,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    "GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
}
#: Our status where it is another on purpose: docs/embedded-server.md says why.
_DIFFERENT: dict[str, int | str] = {
    # CONNECT; there no answer ever comes.
    **dict.fromkeys([f"REST method {number:03}" for number in (49, 50, 51, 54, 55, 56)], 501),
    "REST http 002": 200,  # an extension of a chunk; 413 there
    "REST http 011": 400,  # Content-Length: +34
    "REST http 035": 400,  # a header without a name
    "REST http 036": 400,  # a header with a space in its name
    # 254 dimensions.
    "REST structure 219": 501,
    **dict.fromkeys(["gRPC tensor 039", "gRPC tensor 257"], "UNIMPLEMENTED"),
}


def _ask_rest(address: str, name: str, request: Case) -> Case:
    host, port = address.rsplit(":", 1)
    is_broken = name.startswith("REST http")
    timeout = _TIMEOUT_WITHOUT_END if is_broken else _TIMEOUT
    sent = request["sent"].encode() if "sent" in request else None
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as connection:
            connection.sendall(sent or base64.b64decode(request["sent_base64"]))
            method = "HEAD" if request.get("is_head") else "GET"
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            body = response.read().decode("utf-8", "backslashreplace")
    except TimeoutError:
        return {"status": None, "body": "no answer"}
    except (ConnectionError, http.client.HTTPException):
        return {"status": None, "body": "closed without a whole answer"}
    content_type = response.getheader("Content-Type")
    return {"status": response.status, "content_type": content_type, "body": body}


def _ask_grpc(address: str, request: Case) -> Case:
    with grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        call: Any = channel.unary_unary(request["rpc"])
        try:
            answer = call(base64.b64decode(request["sent_base64"]), timeout=_TIMEOUT)
        except grpc.RpcError as error:
            call_error: Any = error  # the stubs do not say that it is a grpc.Call too
            return {"code": call_error.code().name, "message": call_error.details()}
    response: Any = _RESPONSES[request["rpc"].rsplit("/", 1)[1]]
    return {"code": "OK", "response": json_format.MessageToDict(response.FromString(answer))}


def _ask(server: EmbeddedServer, case: Case) -> Case:
    if "rpc" in case["request"]:
        assert server.grpc_address is not None
        return _ask_grpc(server.grpc_address, case["request"])
    assert server.rest_address is not None
    return _ask_rest(server.rest_address, case["name"], case["request"])


@pytest.mark.parametrize(
    "case",
    [case for case in _CASES if case["name"] not in _DIFFERENT],
    ids=lambda case: case["name"],
)
def test_answers_as_the_real_server_did(server: EmbeddedServer, case: Case) -> None:
    answer = comparable(_ask(server, case))
    # The real server gave one answer in nearly all cases.
    assert answer in [comparable(recorded) for recorded in case["answers"]]


@pytest.mark.parametrize("name", _DIFFERENT)
def test_what_differs_on_purpose_has_an_answer_of_its_own(
    server: EmbeddedServer, name: str
) -> None:
    (case,) = (case for case in _CASES if case["name"] == name)
    answer = _ask(server, case)
    assert answer.get("status", answer.get("code")) == _DIFFERENT[name]
    assert comparable(answer) not in [comparable(recorded) for recorded in case["answers"]]


def test_99_of_100_recorded_answers_agree() -> None:
    assert len(_CASES) == 1663
    assert len(_DIFFERENT) / len(_CASES) < 0.01
