"""What the recorded answers do not show of the two protocols, over sockets."""

import gzip
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.embedded import EmbeddedServer
from serving.embedded.tensor_proto import ndarray_of, proto_of
from tests.conformance.fixture_models import write_fixture_models
from tests.serving.embedded.tiny_models import ask

_KMEANS = "/v1/models/kmeans"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of the two fixture models, kmeans in its latest version."""
    root: Path = tmp_path_factory.mktemp("protocols")
    write_fixture_models(root)
    config = root / "models.config"
    config.write_text(
        "model_config_list {"
        f'config {{ name: "kmeans" base_path: "{root}/kmeans" model_platform: "tensorflow" }}'
        f'config {{ name: "types" base_path: "{root}/types" model_platform: "tensorflow" }} }}'
    )
    with EmbeddedServer(model_config_file=config) as running:
        yield running


@pytest.fixture(scope="module")
def predictions(server: EmbeddedServer) -> Iterator[Any]:
    """A stub of the PredictionService without a limit on messages."""
    assert server.grpc_address is not None
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


_BODY = {"instances": [[10, -3]]}


def test_a_compressed_body_is_inflated(server: EmbeddedServer) -> None:
    body = gzip.compress(json.dumps(_BODY).encode())
    headers = {"Content-Encoding": "gzip"}
    status, text = ask(server.rest_address, "POST", f"{_KMEANS}:predict", body, headers)
    assert (status, text) == ask(server.rest_address, "POST", f"{_KMEANS}:predict", _BODY)
    assert status == 200


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"{}" * 99)[:-9], gzip.compress(b"{}") + b"more"],
    ids=["no gzip", "cut short", "more behind"],
)
def test_a_broken_compressed_body_is_an_empty_one(server: EmbeddedServer, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip"}
    status, text = ask(server.rest_address, "POST", f"{_KMEANS}:predict", body, headers)
    assert status == 400
    assert json.loads(text)["error"] == "JSON Parse error: The document is empty"


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/", 404, "<H1>Not Found</H1>"),
        ("GET", "/metrics", 404, "<H1>Not Found</H1>"),
        ("GET", "//v1/models/kmeans", 404, "<H1>Not Found</H1>"),
        ("GET", "/v1/models/%zz", 400, "<H1>Bad Request</H1>"),
        ("GET", "/v1/models/{x}", 400, "<H1>Bad Request</H1>"),
        ("TRACE", _KMEANS, 501, "<H1>Not Implemented</H1>"),
        ("GET", f"{_KMEANS}/METADATA", 200, "model_version_status"),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
        ("GET", "/v1/models/metadata", 404, "Could not find any versions of model metadata"),
        ("GET", "/v1/models/none/versions/1", 404, "Could not find version 1 of model none"),
        ("GET", f"{_KMEANS}/versions/0002", 200, '"version": "2"'),
        ("GET", f"{_KMEANS}/versions/1", 404, "Could not find version 1 of model kmeans"),
        ("GET", "/v1/models/k%6deans%3fx", 404, "of model kmeans?x"),
        # The query belongs to the path, though it is empty.
        ("GET", f"{_KMEANS}?", 404, "of model kmeans?"),
        ("GET", f"{_KMEANS}#", 404, "of model kmeans#"),
        ("GET", f"{_KMEANS}/?", 400, "Malformed request: GET /v1/models/kmeans/?"),
        ("GET", "/v1/models?", 400, "Malformed request: GET /v1/models?"),
        ("POST", f"{_KMEANS}:predict?", 400, "Malformed request: POST /v1/models/kmeans:predict?"),
        ("GET", "//anywhere/v1/models/kmeans", 200, "model_version_status"),
        ("POST", "/v1//x/models/kmeans:predict", 400, "POST /v1//x/models/kmeans:predict"),
        ("GET", "/v1/models//x/kmeans", 400, "Malformed request: GET /v1/models//x/kmeans"),
        ("GET", "/x//y/v1/models/kmeans", 404, "<H1>Not Found</H1>"),
        ("GET", "http://anywhere/v1/models/kmeans", 200, "model_version_status"),
        ("POST", "/V1/MODELS/nope:predict", 404, "Servable not found for request: Latest(nope)"),
    ],
)
def test_routes(server: EmbeddedServer, method: str, path: str, status: int, said: str) -> None:
    answer = ask(server.rest_address, method, path, _BODY if method == "POST" else None)
    assert answer[0] == status
    assert said in answer[1]


def test_a_name_that_is_no_utf_8_comes_back_byte_for_byte(server: EmbeddedServer) -> None:
    connection = http.client.HTTPConnection(str(server.rest_address), timeout=20)
    connection.request("GET", "/v1/models/%ff%41")
    response = connection.getresponse()
    assert (response.status, response.read()) == (
        404,
        b'{\n    "error": "Could not find any versions of model \xffA"\n}',
    )
    connection.close()


def test_the_log_escapes_what_a_terminal_would_obey(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    ask(server.rest_address, "GET", "/v1/models/a%1b%5b31m%c2%9b%7f")
    (failed,) = (r for r in caplog.records if getattr(r, "event", "") == "request_failed")
    assert failed.__dict__["model"] == r"a\x1b[31m\x9b\x7f"
    assert failed.getMessage().isprintable()


def test_head_is_no_get(server: EmbeddedServer) -> None:
    assert ask(server.rest_address, "HEAD", _KMEANS) == (400, "")


@pytest.mark.parametrize(
    ("origin", "status"), [("http://a.example", 200), ("https://a.example", 200), ("", 400)]
)
def test_a_preflight_is_answered_by_its_origin(
    server: EmbeddedServer, origin: str, status: int
) -> None:
    headers = {"Origin": origin} if origin else {}
    answer = ask(server.rest_address, "OPTIONS", f"{_KMEANS}:predict", None, headers)
    assert answer == (status, "")


def test_more_dimensions_than_numpy_has_get_the_graphs_answer(server: EmbeddedServer) -> None:
    body = b'{"inputs": ' + b"[" * 70 + b"]" * 70 + b"}"
    status, text = ask(server.rest_address, "POST", f"{_KMEANS}:predict", body)
    assert status == 400
    shape = ",".join(["1"] * 69 + ["0"])
    assert json.loads(text)["error"] == (
        f"Shape of tensor _arg_serving_default_points_0_0 [{shape}] is not compatible with "
        "expected shape [?,2]."
    )


def test_doubles_of_a_double_signature_are_read_by_rapidjsons_arithmetic(
    server: EmbeddedServer,
) -> None:
    body = b'{"signature_name": "echo_float64", "inputs": [0.12345678901234568]}'
    _, text = ask(server.rest_address, "POST", "/v1/models/types:predict", body)
    # 12345678901234568 / 1e17, which is one bit beside the nearest double.
    assert json.loads(text)["outputs"] == [12345678901234568 / 1e17]


@pytest.mark.parametrize(
    ("place", "body", "status"),
    [
        ("types:classify", b'{"signature_name": "classify", "examples": [{"\xff": 1.5}]}', 400),
        ("types:classify", b'{"signature_name": "\xff", "examples": [{"a": 1.5}]}', 400),
        ("kmeans:predict", b'{"instances": [{"\xff": [1, 2]}]}', 400),
        ("kmeans:predict", b'{"inputs": {"\xff": [1, 2]}}', 400),
        ("kmeans:predict", b'{"inputs": [[1, 2]], "\xff": 1}', 200),
    ],
)
def test_names_that_are_no_utf_8_are_answered(
    server: EmbeddedServer, place: str, body: bytes, status: int
) -> None:
    assert server.rest_address is not None
    connection = http.client.HTTPConnection(server.rest_address, timeout=20)
    connection.request("POST", f"/v1/models/{place}", body)
    assert connection.getresponse().status == status
    connection.close()


def _request(name: str, signature: str = "", **arrays: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for alias, array in arrays.items():
        request.inputs[alias].CopyFrom(proto_of(array))
    return request


def _echoed(predictions: Any, signature: str, tensor: Any) -> Any:
    request = _request("types", f"echo_{signature}")
    request.inputs["x"].CopyFrom(tensor)
    return predictions.Predict(request, timeout=20).outputs["y"]


def _echo_refusal(predictions: Any, signature: str, tensor: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        _echoed(predictions, signature, tensor)
    error: Any = caught.value
    return error.code().name, error.details()


def _tensor(dtype: str, *shape: int, unknown_rank: bool = False, **fields: Any) -> Any:
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DataType.Value(f"DT_{dtype}"), **fields)
    tensor.tensor_shape.unknown_rank = unknown_rank
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def test_strings_in_tensor_content_are_answered(predictions: Any) -> None:
    content = b"\1\2abb"
    echoed = _echoed(predictions, "string", _tensor("STRING", 2, tensor_content=content))
    assert echoed.string_val == [b"a", b"bb"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ('"inputs": []', {"outputs": []}),
        ('"inputs": [[], []]', {"outputs": [[], []]}),
        ('"instances": [[]]', {"predictions": [[]]}),
        ('"instances": [[], []]', {"predictions": [[], []]}),
    ],
)
def test_a_dtype_without_json_is_written_while_it_has_no_values(
    server: EmbeddedServer, body: str, answer: Any
) -> None:
    text = f'{{"signature_name": "echo_float16", {body}}}'.encode()
    status, answered = ask(server.rest_address, "POST", "/v1/models/types:predict", text)
    assert (status, json.loads(answered)) == (200, answer)


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("kmeans:predict", rb'{"instances": [{"points\u0000x": [1, 2]}]}'),
        ("types:classify", rb'{"signature_name": "classify", "examples": [{"a\u0000x": 1.5}]}'),
    ],
)
def test_a_name_ends_at_its_first_zero(server: EmbeddedServer, place: str, body: bytes) -> None:
    with_zero = ask(server.rest_address, "POST", f"/v1/models/{place}", body)
    without = body.replace(rb"\u0000x", b"")
    assert with_zero == ask(server.rest_address, "POST", f"/v1/models/{place}", without)
    assert with_zero[0] == 200


def test_a_zero_ends_no_name_that_is_looked_up(server: EmbeddedServer) -> None:
    for body in (rb'{"instances\u0000": [[1, 2]]}', rb'{"inputs": {"points\u0000": [[1, 2]]}}'):
        assert ask(server.rest_address, "POST", f"{_KMEANS}:predict", body)[0] == 400


@pytest.mark.parametrize(
    ("tensor", "shape", "values"),
    [
        (_tensor("FLOAT", 0, tensor_content=bytes(4)), (0,), []),
        (_tensor("FLOAT", unknown_rank=True, float_val=[2]), (), [2]),
        (_tensor("FLOAT", 2, unknown_rank=True, float_val=[2]), (2,), [2, 2]),
    ],
)
def test_odd_tensors_that_tensorflow_takes_are_answered(
    predictions: Any, tensor: Any, shape: tuple[int, ...], values: list[float]
) -> None:
    echoed = _echoed(predictions, "float32", tensor)
    assert tuple(dim.size for dim in echoed.tensor_shape.dim) == shape
    assert list(echoed.float_val) == values


@pytest.mark.parametrize("dtype", ["QINT8", "QUINT16", "RESOURCE", "VARIANT", "INT4", "HALF"])
def test_a_tensor_of_another_dtype_is_refused_by_it(predictions: Any, dtype: str) -> None:
    said = f"Expects arg[0] to be float but {dtype.lower()} is provided"
    for size in (0, 1):
        refusal = _echo_refusal(predictions, "float32", _tensor(dtype, size))
        assert refusal == ("INVALID_ARGUMENT", said)


def test_a_big_tensor_of_another_dtype_is_refused_before_it_is_filled(predictions: Any) -> None:
    tensor = _tensor("INT8", 2**36, int_val=[1])
    said = "Expects arg[0] to be float but int8 is provided"
    assert _echo_refusal(predictions, "float32", tensor) == ("INVALID_ARGUMENT", said)


def test_a_bool_is_0_or_1_in_tensor_content(predictions: Any) -> None:
    tensor = _tensor("BOOL", 2, tensor_content=b"\2\0")
    refusal = _echo_refusal(predictions, "bool", tensor)
    assert refusal == ("INVALID_ARGUMENT", "tensor parsing error: x")


def test_a_message_over_4_mib_is_answered(predictions: Any) -> None:
    points = np.zeros((2**20, 2), np.float32)
    response = predictions.Predict(_request("kmeans", points=points), timeout=60)
    assert ndarray_of(response.outputs["cluster_index"]).shape == (2**20,)


def test_a_long_message_is_cut_over_grpc(predictions: Any) -> None:
    request = _request("types", "echo_float32", **{"n" * 2000: np.zeros(1, np.float32)})
    request.inputs["x"].CopyFrom(proto_of(np.zeros(1, np.float32)))
    with pytest.raises(grpc.RpcError) as caught:
        predictions.Predict(request, timeout=20)
    details = str(caught.value.details())
    assert details.endswith("...TRUNCATED")
    assert len(details) == 1024 + len("...TRUNCATED")


@pytest.mark.parametrize(
    ("tasks", "code", "said"),
    [
        ([("types", "nope", "classify")], "INVALID_ARGUMENT", "signature not found"),
        ([("types", "classify", "classify")] * 2, "INVALID_ARGUMENT", "Duplicate evaluation"),
        (
            [("types", "classify", "classify"), ("kmeans", "", "regress")],
            "INVALID_ARGUMENT",
            "same model name",
        ),
        ([("types", "classify", "predict")], "UNIMPLEMENTED", "Unsupported signature method"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(
    predictions: Any, tasks: list[tuple[str, str, str]], code: str, said: str
) -> None:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = model, signature
    with pytest.raises(grpc.RpcError) as caught:
        predictions.MultiInference(request, timeout=20)
    error: Any = caught.value
    assert error.code().name == code
    assert said in error.details()


def test_a_reload_of_another_kind_of_config_is_refused(server: EmbeddedServer) -> None:
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=20)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("ServerModelConfig type not supported")
