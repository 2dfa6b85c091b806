"""Requests to and answers of TensorFlow Serving's REST, as paths and JSON. Imports no TensorFlow.

Values go as columns (``inputs``, answered by ``outputs``): one list a tensor, which NumPy reads as
it is, where rows of several outputs would repeat every name in every row. A signature of one output
goes as rows (``instances``, answered by ``predictions``): the same lists there, and the server
writes a row of them on a line, where it writes a column one number a line.

JSON cannot carry the shape of an array without elements; ``padded`` and ``cut`` go around that.
"""

import json
from dataclasses import dataclass
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
from .grpc_messages import signatures
from .operations import GetMetadata, GetStatus, Predict, Question
from .results import ModelMetadata, VersionStatus
from .target import Target
from .validation import Arrays, checked_outputs, dimensions

#: The bytes of a number in a request, about: a float32 is a decimal number of up to 20 digits.
VALUE_BYTES: Final = 22


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
    """The URL before the path of a request, of an address ``host:port`` or ``http://host:port``.

    Raises:
        InvalidInput: the address is of another kind, or has another scheme than is meant.
    """
    url = address if "://" in address else f"{scheme}://{address}"
    try:
        parts = httpx.URL(url)
        in_range = parts.port is None or 0 < parts.port < 65536
        valid = parts.scheme in ("http", "https") and parts.host and in_range
    except httpx.InvalidURL:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise target.error(
            InvalidInput,
            f"{address!r} is no address of a REST server; give host:port or http://host:port",
        )
    if scheme == "https" and parts.scheme == "http":
        raise target.error(
            InvalidInput, f"{address!r} is in plain text, and tls= was given; give host:port"
        )
    return url.rstrip("/")


def request_of(question: Question) -> HttpRequest:
    """The request that a question takes."""
    target = question.target
    match question:
        case Predict(target, signature, inputs):
            body = predict_body(signature, padded(signature, inputs))
            return HttpRequest("POST", path(target, ":predict"), body, target)
        case GetStatus():
            return HttpRequest("GET", path(target), None, target)
        case GetMetadata():
            return HttpRequest("GET", path(target, "/metadata"), None, target)


def answer_of(question: Question, body: bytes) -> Any:
    """The answer to a question, of the body that answered its request.

    Raises:
        ServerError: it cannot be read.
    """
    target = question.target
    match question:
        case Predict(target, signature, inputs):
            outputs = cut(signature, inputs, predicted(signature, body, target))
            return checked_outputs(signature, inputs, outputs, target), target.version
        case GetStatus():
            return versions(body, target)
        case GetMetadata():
            return metadata(body, target)


def path(target: Target, ending: str = "") -> str:
    """The path of a request: a model, its version or label, and ``:predict`` or ``/metadata``."""
    place = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        place += f"/versions/{target.version}"
    elif target.label is not None:
        place += f"/labels/{quote(target.label, safe='')}"
    return place + ending


def predict_body(signature: SignatureContract, inputs: Arrays) -> bytes:
    """The body that asks for all outputs of a signature; NaN and infinity as bare tokens."""
    values = {name: array.tolist() for name, array in inputs.items()}
    asked: dict[str, Any] = {"signature_name": signature.name}
    if _by_row(signature):
        (asked["instances"],) = values.values()
    else:
        asked["inputs"] = values
    return json.dumps(asked, separators=(",", ":")).encode()


def predicted(signature: SignatureContract, body: bytes, target: Target) -> Arrays:
    """The outputs of a signature.

    Raises:
        ServerError: the body is no such answer.
    """
    answer = _parsed(body, target)
    try:
        if _by_row(signature):
            values = {signature.outputs[0].name: answer["predictions"]}
        else:
            values = answer["outputs"]
        return {tensor.name: _array(tensor, values[tensor.name]) for tensor in signature.outputs}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _unreadable(signature.name, error, target) from error


def _array(tensor: TensorContract, values: Any) -> NDArray[Any]:
    """The array of nested lists of numbers, and of nothing that NumPy only takes for numbers."""
    flat = values
    for _ in tensor.shape[1:]:
        flat = chain.from_iterable(flat)
    # A list too many is a matter of shape, which is looked at later.
    kinds = {int, list} if tensor.dtype.startswith("int") else {int, float, list}
    if wrong := set(map(type, flat)) - kinds:
        found = ", ".join(sorted(_JSON_NAMES.get(kind, kind.__name__) for kind in wrong))
        raise TypeError(f"{tensor.name} holds {found}, no {tensor.dtype}")
    with np.errstate(over="ignore"):
        return np.array(values, dtype=tensor.dtype)


def _by_row(signature: SignatureContract) -> bool:
    return len(signature.inputs) == len(signature.outputs) == 1


def padded(signature: SignatureContract, inputs: Arrays) -> Arrays:
    """The inputs with one row of zeros where they have none, so that JSON carries their shape.

    In ``fit_step`` it is a row of weight 0, which changes nothing; elsewhere ``cut`` takes the
    answer for it away.
    """
    if dimensions(signature.inputs, inputs).get("n") != 0:
        return inputs
    return {
        tensor.name: np.pad(
            inputs[tensor.name], [(0, 1 if letter == "n" else 0) for letter in tensor.shape]
        )
        for tensor in signature.inputs
    }


def cut(signature: SignatureContract, inputs: Arrays, outputs: Arrays) -> Arrays:
    """The outputs for the inputs as they were before ``padded``."""
    if dimensions(signature.inputs, inputs).get("n") != 0:
        return outputs
    return {
        tensor.name: outputs[tensor.name][:0] if tensor.shape[0] == "n" else outputs[tensor.name]
        for tensor in signature.outputs
    }


def versions(body: bytes, target: Target) -> list[VersionStatus]:
    """The states of a model's versions, in the server's order.

    Raises:
        ServerError: the body is no such answer.
    """
    answer = _parsed(body, target)
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
        raise _unreadable("status", error, target) from error


def metadata(body: bytes, target: Target) -> ModelMetadata:
    """The version that answered, and its signatures.

    Raises:
        ServerError: the body is no such answer.
    """
    answer = _parsed(body, target)
    try:
        version = int(answer["model_spec"]["version"])
        found = tensor_pb2.SignatureDefMap()
        declared = {"signature_def": answer["metadata"]["signature_def"]["signature_def"]}
        json_format.ParseDict(declared, found, ignore_unknown_fields=True)
    except (KeyError, TypeError, ValueError, json_format.ParseError) as error:
        raise _unreadable("metadata", error, target) from error
    return ModelMetadata(version, signatures(found))


def error_of(status: int, reason: str, body: bytes, target: Target) -> ServingError:
    """The error for an HTTP status that is no success."""
    try:
        message = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):  # not TensorFlow Serving's own error
        message = None
    if not isinstance(message, str) or not message:
        message = f"HTTP {status} {reason}".rstrip()
    return target.error(error_of_status(status, message), message)


def _parsed(body: bytes, target: Target) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise target.error(ServerError, f"the answer is no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise target.error(ServerError, "the answer is no JSON object")
    return answer


def _unreadable(what: str, error: Exception, target: Target) -> ServingError:
    message = f"the answer to {what} cannot be read: {type(error).__name__}: {error}"
    return target.error(ServerError, message)
