"""Paths and JSON of the REST API of TensorFlow Serving. Does not import TensorFlow.

Values are sent as columns (``inputs``, answered by ``outputs``): one list for each tensor, which
NumPy reads directly; rows of several outputs would repeat every name in every row. For a signature
with one output, values are sent as rows (``instances``, answered by ``predictions``): the lists are
the same, but the server writes a row per line instead of a number per line.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, Final
from urllib.parse import quote

import httpx
import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from export.wire import tensor_pb2
from kmeans_module.contract import SignatureContract, TensorContract

from ..errors import InvalidInput, ServerError, ServingError, error_of_status
from .grpc_messages import read_signatures
from .operations import GetMetadata, GetStatus, Operation, Predict
from .options import RestOptions, WireFormat
from .results import ModelMetadata, Prediction, VersionStatus
from .target import Target, without_password
from .tensor_sizes import Arrays, input_sizes
from .validation import check_output

#: A float32 has up to 20 decimal digits.
WIRE_FORMAT: Final = WireFormat(
    "REST", RestOptions.__optional_keys__, value_bytes=22, tells_version=False
)


_JSON_NAMES: Final = {
    type(None): "null",
    bool: "true or false",
    str: "text",
    float: "fractions",
    dict: "objects",
}


@dataclass(frozen=True)
class HttpRequest:
    """One request, without the server's address."""

    method: str
    path: str
    body: bytes | None
    target: Target


def base_url(address: str, scheme: str, target: Target) -> str:
    """Return the URL before the path of a request, for ``host:port`` or ``http://host:port``.

    Raises:
        InvalidInput: the address has another form, or its scheme contradicts ``scheme``.
    """
    url = address if "://" in address else f"{scheme}://{address}"
    shown = without_password(address)
    try:
        parts = httpx.URL(url)
        in_range = parts.port is None or 0 < parts.port < 65536
        valid = parts.scheme in ("http", "https") and parts.host and in_range
    except httpx.InvalidURL:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise target.error(
            InvalidInput,
            f"{shown!r} is not an address of a REST server; give host:port or http://host:port",
        )
    if scheme == "https" and parts.scheme == "http":
        raise target.error(
            InvalidInput, f"{shown!r} is in plain text, and tls= was given; give host:port"
        )
    return url.rstrip("/")


def parse_proxy(proxy: str | None, target: Target) -> httpx.Proxy | None:
    """Parse a proxy address ``http://host:port`` or ``https://host:port``.

    Raises:
        InvalidInput: the address has another form.
    """
    if proxy is None:
        return None
    try:
        url = httpx.URL(proxy)
        if url.scheme in ("http", "https") and url.host:
            return httpx.Proxy(url)
    except (TypeError, httpx.InvalidURL):
        pass
    # If the value is not text, the message omits it: it may contain a password.
    shown = repr(without_password(proxy)) if isinstance(proxy, str) else type(proxy).__name__
    raise target.error(
        InvalidInput, f"proxy={shown} is not a proxy; give http://host:port or https://host:port"
    )


def build_request(operation: Operation) -> HttpRequest:
    """Build the request for an operation."""
    target = operation.target
    match operation:
        case Predict(target, signature, inputs):
            body = predict_body(signature, inputs)
            return HttpRequest("POST", request_path(target, ":predict"), body, target)
        case GetStatus():
            return HttpRequest("GET", request_path(target), None, target)
        case GetMetadata():
            return HttpRequest("GET", request_path(target, "/metadata"), None, target)


def read_answer(operation: Operation, body: bytes) -> Any:
    """Read the answer to an operation from the body of the response.

    Raises:
        ServerError: the body is not an answer to the operation.
    """
    target = operation.target
    match operation:
        case Predict(target, signature, inputs):
            outputs = read_prediction(signature, body, target)
            known = input_sizes(signature, inputs)
            for tensor in signature.outputs:
                array = outputs[tensor.name]
                check_output(signature, tensor, array.dtype.name, array.shape, known, target)
            return Prediction(outputs, target.version)
        case GetStatus():
            return read_status(body, target)
        case GetMetadata():
            return read_metadata(body, target)


def request_path(target: Target, ending: str = "") -> str:
    """Return the path of a request: a model, its version or label, and ``:predict`` or
    ``/metadata``.
    """
    place = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        place += f"/versions/{target.version}"
    elif target.label is not None:
        place += f"/labels/{quote(target.label, safe='')}"
    return place + ending


def predict_body(signature: SignatureContract, inputs: Arrays) -> bytes:
    """Build the body of a predict request; NaN and infinity are bare tokens."""
    values = {name: array.tolist() for name, array in inputs.items()}
    request: dict[str, Any] = {"signature_name": signature.name}
    if _has_row_format(signature):
        (request["instances"],) = values.values()
    else:
        request["inputs"] = values
    return json.dumps(request, separators=(",", ":")).encode()


def read_prediction(signature: SignatureContract, body: bytes, target: Target) -> Arrays:
    """The outputs of a signature."""
    answer = _parse_object(body, target)
    try:
        if _has_row_format(signature):
            values = {signature.outputs[0].name: answer["predictions"]}
        elif len(signature.outputs) == 1:
            values = {signature.outputs[0].name: answer["outputs"]}
        else:
            values = answer["outputs"]
        return {each.name: _read_array(each, values[each.name]) for each in signature.outputs}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable_error(signature.name, error, target) from error


def _read_array(tensor: TensorContract, values: Any) -> NDArray[Any]:
    """The array of nested lists of numbers; rejects other values that NumPy would convert."""
    flat = values
    for _ in tensor.shape[1:]:
        flat = chain.from_iterable(flat)
    # The shape is checked later.
    kinds = {int, list} if tensor.dtype.startswith("int") else {int, float, list}
    if wrong := set(map(type, flat)) - kinds:
        found = ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in wrong))
        raise TypeError(f"{tensor.name} holds {found}, not {tensor.dtype}")
    with np.errstate(over="ignore"):
        return np.array(values, dtype=tensor.dtype)


def _has_row_format(signature: SignatureContract) -> bool:
    return len(signature.inputs) == len(signature.outputs) == 1


def read_status(body: bytes, target: Target) -> list[VersionStatus]:
    """The states of a model's versions, in the server's order."""
    answer = _parse_object(body, target)
    try:
        return [
            VersionStatus(
                version=int(each["version"]),
                state=each["state"],
                error_code=each["status"]["error_code"],
                error_message=each["status"]["error_message"],
            )
            # protobuf leaves an empty list out of its JSON
            for each in answer.get("model_version_status", [])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable_error("status", error, target) from error


def read_metadata(body: bytes, target: Target) -> ModelMetadata:
    """The version that answered, and its signatures."""
    answer = _parse_object(body, target)
    try:
        version = int(answer["model_spec"]["version"])
        found = tensor_pb2.SignatureDefMap()
        declared = {"signature_def": answer["metadata"]["signature_def"]["signature_def"]}
        json_format.ParseDict(declared, found, ignore_unknown_fields=True)
    except (KeyError, TypeError, ValueError, json_format.ParseError) as error:
        raise _unreadable_error("metadata", error, target) from error
    return ModelMetadata(version, read_signatures(found))


def error_of(status: int, reason: str, body: bytes, target: Target) -> ServingError:
    """Return the error for an HTTP status that is not a success."""
    try:
        message = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):  # not from TensorFlow Serving
        message = None
    if not isinstance(message, str) or not message:
        message = f"HTTP {status} {reason}".rstrip()
    return target.error(error_of_status(status, message), message)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds to wait before the next attempt, from Retry-After; None without the header."""
    asked = headers.get("retry-after", "")
    try:
        seconds = int(asked) if asked.isdecimal() else _seconds_until(asked)
    except ValueError:  # neither a number nor a date
        return None
    return max(0.0, seconds)


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def _parse_object(body: bytes, target: Target) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise target.error(ServerError, f"the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise target.error(ServerError, "the answer is not a JSON object")
    return answer


def _unreadable_error(what: str, error: Exception, target: Target) -> ServingError:
    message = f"the answer to {what} cannot be read: {type(error).__name__}: {error}"
    return target.error(ServerError, message)
