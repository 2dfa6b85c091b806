"""Structured nonsense over both protocols: never a fault of the server, and never no answer.

A tenth of the examples by default, from a fixed seed; all of them, random, with TFKMEANS_SOAK=1.
"""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.embedded import EmbeddedServer
from tests.conformance.fixture_models import write_fixture_models

pytestmark = pytest.mark.slow

_IS_WHOLE = os.environ.get("TFKMEANS_SOAK") == "1"
_fuzzed = settings(
    max_examples=3000 if _IS_WHOLE else 300,
    derandomize=not _IS_WHOLE,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_TIMEOUT = 30
_ANSWERS = {200, 400, 404, 501}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of the two fixture models."""
    root: Path = tmp_path_factory.mktemp("fuzz")
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
def connection(server: EmbeddedServer) -> Iterator[http.client.HTTPConnection]:
    """A connection that stays open over all requests."""
    opened = http.client.HTTPConnection(str(server.rest_address), timeout=_TIMEOUT)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def stub(server: EmbeddedServer) -> Iterator[Any]:
    """A stub of the PredictionService."""
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


# What is asked

_SIGNATURES = [
    "assign",
    "score",
    "transform",
    "decode",
    "fit_step",
    "two",
    "scalar",
    "odd",
    "raw_bytes",
    "classify",
    "regress",
    *(f"echo_{dtype}" for dtype in ("float16", "float32", "float64", "int8", "int64", "uint8")),
    *(f"echo_{dtype}" for dtype in ("uint32", "uint64", "bool", "string")),
]
_signatures = st.one_of(st.sampled_from(_SIGNATURES), st.text(max_size=8))
_names = st.sampled_from(["points", "x", "a", "b", "x_bytes", "cluster_index", "inputs", "b64"])
_numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([2**31, -(2**31) - 1, 2**63, 2**64, 1e39, 1e-45, 0.1]),
)
_leaves = st.one_of(
    _numbers,
    st.booleans(),
    st.none(),
    st.text(max_size=8),
    st.binary(max_size=6).map(lambda raw: {"b64": raw.hex()}),
)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(_names | st.text(max_size=4), inner, max_size=3),
    ),
    max_leaves=12,
)
_rectangles = st.tuples(st.integers(0, 4), st.integers(0, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(_numbers, min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)
_documents = st.dictionaries(
    st.sampled_from(["instances", "inputs", "examples", "context", "signature_name", "more"]),
    st.one_of(_values, _rectangles),
    max_size=4,
)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    document: Any = draw(st.one_of(_documents, _values))
    if isinstance(document, dict) and draw(st.booleans()):
        document["signature_name"] = draw(_signatures)
    body = bytearray(
        json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):  # bytes changed, put in or taken out
        at = draw(st.integers(0, len(body)))
        new = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b"NaN", b"Inf", b'"', b"]", b"\\u", b"e9999", b"\xff"]),
            )
        )
        body[at : at + draw(st.integers(0, 2))] = new
    return bytes(body)


_pieces = st.one_of(
    st.sampled_from(["v1", "V1", "models", "kmeans", "types", "versions", "labels", "metadata"]),
    st.sampled_from(
        ["1", "2", "01", "-1", "99999999999999999999", "x", "", "%", "%00", "%ff", "?", "#"]
    ),
    st.text(max_size=5).map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=5),
)
_paths = st.one_of(
    st.builds(
        "/v1/models/{}{}{}".format,
        st.sampled_from(["kmeans", "types", "KMEANS", "nope", "k%6deans"]),
        st.sampled_from(["", "/versions/1", "/versions/2", "/labels/x", "/metadata", "/"]),
        st.sampled_from(
            [":predict", ":classify", ":regress", ":PREDICT", "", "?", "?x", ":predict?"]
        ),
    ),
    st.lists(_pieces, max_size=7).map(lambda pieces: "/" + "/".join(pieces)),
)
_methods = st.sampled_from(["GET", "POST", "POST", "POST", "PUT", "HEAD", "OPTIONS", "TRACE", "X"])


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, **headers: str
) -> tuple[int, bytes]:
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    except BaseException:
        connection.close()
        raise


def _check(status: int, text: bytes) -> None:
    assert status in _ANSWERS, (status, text)
    assert b"Traceback" not in text
    assert b'File "' not in text


@_fuzzed
@given(
    place=st.sampled_from(["kmeans:predict", "types:predict", "types:classify", "types:regress"]),
    body=_bodies(),
)
def test_any_body_is_answered(
    connection: http.client.HTTPConnection, place: str, body: bytes
) -> None:
    status, text = _answer(connection, "POST", f"/v1/models/{place}", body)
    _check(status, text)
    document = json.loads(
        text.decode("utf-8", "backslashreplace").replace("\\x", "\\\\x"), strict=False
    )
    assert ("error" in document) == (status != 200)


@_fuzzed
@given(method=_methods, path=_paths, body=st.sampled_from([b"", b"{}", b'{"instances": [[1, 2]]}']))
def test_any_path_is_answered(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes
) -> None:
    _check(*_answer(connection, method, path, body))


@_fuzzed
@given(raw=st.binary(max_size=200), encoding=st.sampled_from(["gzip", "x-gzip", "identity", ""]))
def test_any_bytes_are_answered(
    connection: http.client.HTTPConnection, raw: bytes, encoding: str
) -> None:
    headers = {"Content-Encoding": encoding} if encoding else {}
    _check(*_answer(connection, "POST", "/v1/models/kmeans:predict", raw, **headers))


# gRPC

_dtypes = st.one_of(st.integers(0, 24), st.sampled_from([1, 1, 1, 2, 3, 7, 9, 10, 101, 999]))


@st.composite
def _tensors(draw: st.DrawFn) -> Any:
    tensor = tensor_pb2.TensorProto(dtype=draw(_dtypes))
    tensor.tensor_shape.unknown_rank = draw(st.sampled_from([False] * 9 + [True]))
    sizes = st.one_of(st.integers(0, 4), st.integers(-2, 2**63 - 1))
    for size in draw(st.lists(sizes, max_size=4)):
        tensor.tensor_shape.dim.add(size=size)
    small = st.lists(st.integers(0, 1), max_size=8)
    tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=8)))
    for field in draw(st.sets(st.sampled_from(_INTEGER_FIELDS), max_size=2)):
        getattr(tensor, field).extend(draw(small))
    tensor.string_val.extend(draw(st.lists(st.binary(max_size=4), max_size=3)))
    if draw(st.sampled_from([False, False, True])):
        tensor.tensor_content = draw(st.binary(max_size=32))
    tensor.version_number = draw(st.integers(-1, 1))
    return tensor


_INTEGER_FIELDS = [
    "int_val",
    "int64_val",
    "uint32_val",
    "uint64_val",
    "half_val",
    "bool_val",
    "double_val",
    "scomplex_val",
    "dcomplex_val",
]


@st.composite
def _tensors_with_content(draw: st.DrawFn) -> Any:
    """A tensor of one dimension, its content of about the right size for it."""
    size = draw(st.integers(0, 3))
    tensor = tensor_pb2.TensorProto(dtype=draw(_dtypes | st.just(7)))
    tensor.tensor_shape.dim.add(size=size)
    length = size * draw(st.sampled_from([1, 2, 4, 8, 16]))
    strings = st.lists(st.binary(max_size=7), min_size=size, max_size=size).map(
        lambda values: bytes(map(len, values)) + b"".join(values)
    )
    tensor.tensor_content = draw(st.binary(min_size=length, max_size=length) | strings)
    return tensor


_any_tensors = _tensors() | _tensors_with_content()
# A request of the one input that echo signatures have gets as far as the graph.
_inputs = st.one_of(
    st.dictionaries(_names, _any_tensors, max_size=3), st.fixed_dictionaries({"x": _any_tensors})
)


@st.composite
def _predict_requests(draw: st.DrawFn) -> Any:
    request = predict_pb2.PredictRequest()
    _fill_spec(draw, request.model_spec)
    for name, tensor in draw(_inputs).items():
        request.inputs[name].CopyFrom(tensor)
    request.output_filter.extend(draw(st.lists(_names, max_size=1)))
    return request


def _fill_spec(draw: st.DrawFn, spec: Any) -> None:
    spec.name = draw(st.sampled_from(["kmeans", "types", "types", "nope", ""]))
    spec.signature_name = draw(st.sampled_from([*_SIGNATURES, "", "nope"]))
    match draw(st.sampled_from(["", "", "", "version", "label"])):
        case "version":
            spec.version.value = draw(st.integers(-(2**63), 2**63 - 1) | st.just(2))
        case "label":
            spec.version_label = draw(st.text(st.characters(codec="utf-8"), max_size=4))


def _check_call(call: Any, request: Any) -> None:
    try:
        call(request, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        refused: Any = error
        known = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
        assert refused.code().name in {*known, "RESOURCE_EXHAUSTED"}, refused
        assert "Traceback" not in refused.details()


@_fuzzed
@given(content=st.binary(max_size=4) | st.integers(0, 2).map(lambda n: b"\7aaaaaaa" * n))
def test_any_content_of_strings_is_answered(stub: Any, content: bytes) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "types", "echo_string"
    tensor = request.inputs["x"]
    tensor.dtype, tensor.tensor_content = types_pb2.DT_STRING, content
    tensor.tensor_shape.dim.add(size=1)
    _check_call(stub.Predict, request)


@_fuzzed
@given(request=_predict_requests())
def test_any_predict_is_answered(stub: Any, request: Any) -> None:
    _check_call(stub.Predict, request)


_features = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["float_list", "int64_list", "bytes_list", ""]),
    max_size=3,
)


@st.composite
def _example_requests(draw: st.DrawFn) -> tuple[str, Any]:
    rpc = draw(st.sampled_from(["Classify", "Regress", "MultiInference"]))
    kinds = {
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "MultiInference": inference_pb2.MultiInferenceRequest,
    }
    request = kinds[rpc]()
    if rpc == "MultiInference":
        for _ in range(draw(st.integers(0, 3))):
            task = request.tasks.add()
            _fill_spec(draw, task.model_spec)
            method = draw(st.sampled_from(["classify", "regress", "predict", ""]))
            task.method_name = f"tensorflow/serving/{method}"
    else:
        _fill_spec(draw, request.model_spec)
    _fill_examples(draw, request.input)
    return rpc, request


def _fill_examples(draw: st.DrawFn, message: Any) -> None:
    kind = draw(st.sampled_from(["example_list", "example_list_with_context", ""]))
    if not kind:
        return
    for features in draw(st.lists(_features, max_size=3)):
        example = getattr(message, kind).examples.add()
        for name, values in features.items():
            feature = example.features.feature[name]
            if values:
                value = b"x" if values == "bytes_list" else 1
                getattr(feature, values).value.extend([value] * draw(st.integers(0, 2)))


@_fuzzed
@given(asked=_example_requests())
def test_any_examples_are_answered(stub: Any, asked: tuple[str, Any]) -> None:
    rpc, request = asked
    _check_call(getattr(stub, rpc), request)


@_fuzzed
@given(
    rpc=st.sampled_from(["Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"]),
    raw=st.binary(max_size=60),
)
def test_any_message_is_answered(server: EmbeddedServer, stub: Any, rpc: str, raw: bytes) -> None:
    kinds: dict[str, Any] = {
        "Predict": predict_pb2.PredictRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "Classify": get_model_status_pb2.GetModelStatusRequest,
    }
    kind = kinds.get(rpc, regression_pb2.RegressionRequest)
    try:
        message = kind.FromString(raw)
    except Exception:  # noqa: BLE001 - no message at all; what is said of those is told elsewhere
        return
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        call: Any = channel.unary_unary(f"/tensorflow.serving.PredictionService/{rpc}")
        _check_call(call, message.SerializeToString())
