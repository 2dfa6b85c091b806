"""Every status of gRPC and of HTTP leads to one class, and the same thing to the same class."""

import pickle
from http import HTTPStatus

import grpc
import pytest

import serving
from serving import errors
from serving.errors import (
    AccessDenied,
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    ResourceExhausted,
    ServerError,
    ServerUnavailable,
    ServingError,
    SignatureNotFound,
    error_of_code,
    error_of_status,
)

CLASSES = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, ServingError)
]

# TensorFlow Serving's model_servers/http_server.cc: the HTTP status of each code.
HTTP_STATUS_OF_CODE = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


def test_every_grpc_code_but_ok_is_mapped() -> None:
    assert set(errors.ERROR_OF_CODE) == {code.name for code in grpc.StatusCode} - {"OK"}


@pytest.mark.parametrize("status", [*HTTPStatus, 499, 599])
def test_every_http_status_is_a_class_of_ours(status: int) -> None:
    assert error_of_status(int(status), "") in CLASSES


@pytest.mark.parametrize(("code", "status"), HTTP_STATUS_OF_CODE.items())
def test_a_code_is_the_same_class_over_grpc_and_rest(code: str, status: int) -> None:
    assert error_of_code(code, "text") is error_of_status(status, "text")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, InvalidInput),
        (404, ModelNotFound),
        (408, DeadlineExceeded),
        (413, ResourceExhausted),
        (429, ResourceExhausted),
        (502, ServerUnavailable),
        (503, ServerUnavailable),
        (504, DeadlineExceeded),
        (302, ServerError),
        (401, AccessDenied),
        (403, AccessDenied),
        (500, ServerError),
    ],
)
def test_http_statuses_mean_what_a_caller_can_do(status: int, expected: type[ServingError]) -> None:
    assert error_of_status(status, "") is expected


@pytest.mark.parametrize(
    ("code", "grpc_text", "rest_text", "expected"),
    [
        (
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
            'Serving signature name: "nope" not found in signature def',
            SignatureNotFound,
        ),
        (
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: nope",
            "Unrecognized servable version label: nope",
            ModelNotFound,
        ),
        (
            "UNAVAILABLE",
            "Model labels does not init yet.stable",
            "Model labels does not init yet.stable",
            ServerUnavailable,
        ),
        (
            "NOT_FOUND",
            "Servable not found for request: Latest(nope)",
            "Servable not found for request: Latest(nope)",
            ModelNotFound,
        ),
        (
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
            "JSON Value: Serving signature key",
            InvalidInput,
        ),
    ],
)
def test_tensorflow_servings_words_lead_to_one_class(
    code: str, grpc_text: str, rest_text: str, expected: type[ServingError]
) -> None:
    assert error_of_code(code, grpc_text) is expected
    assert error_of_status(HTTP_STATUS_OF_CODE[code], rest_text) is expected


def test_the_text_is_one_line_with_model_and_address() -> None:
    error = InvalidInput("indices[0] = 7\n\t [[{{node Gather}}]]", "customers", "host:8500")
    assert str(error) == "indices[0] = 7 [[{{node Gather}}]] (model 'customers' at host:8500)"
    assert error.message == "indices[0] = 7\n\t [[{{node Gather}}]]"
    assert str(ServerError("text")) == "text"


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_survives_pickling_and_is_public(kind: type[ServingError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("text", "customers", "host:8500")))
    assert type(copy) is kind
    assert (copy.message, copy.model, copy.address) == ("text", "customers", "host:8500")
    assert getattr(serving, kind.__name__) is kind


def test_the_tree_at_the_top_of_the_module_is_complete() -> None:
    for kind in CLASSES:
        assert kind.__name__ in (errors.__doc__ or "")
