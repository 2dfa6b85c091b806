"""The routes of TF Serving: from method and path to request."""

import re
from urllib.parse import unquote_to_bytes

from serving.embedded.model_reference import ModelReference
from serving.embedded.status import Code, StatusError, invalid_argument

_VERSION_OR_LABEL = rb"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE = re.compile(
    rb"(?i:/v1/models/(?P<model>[^/:]+)"
    + _VERSION_OR_LABEL
    + rb":(?P<method>classify|regress|predict))"
)
_ABOUT_MODEL = re.compile(
    rb"(?i:/v1/models(?:/(?P<model>[^/:]+))?"
    + _VERSION_OR_LABEL
    + rb"(?:/(?P<metadata>metadata))?)"
)
_API = re.compile(rb"(?i:/v1/.*)")
_CHARACTER = rb"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_URI = re.compile(
    rb"(?:%(c)s)*(?:\?(?:%(c)s|\?)*)?(?:#(?:%(c)s|\?)*)?" % {b"c": _CHARACTER}  # libevent's
)
_MAX_VERSION = 2**63 - 1


class VersionNotNumeric(StatusError):
    """A version that is not a 64-bit number; TF Serving answers without a body."""


def is_uri(target: bytes) -> bool:
    """Whether a request target is a URI; if not, the HTTP server refuses it."""
    return _URI.fullmatch(target) is not None


def is_api(target: bytes) -> bool:
    """Whether a request target belongs to the API, valid or not."""
    return _API.fullmatch(target) is not None


def route(method: str, target: bytes) -> tuple[str, ModelReference]:
    """Return the method and the model of a request.

    The method is ``predict``, ``classify``, ``regress``, ``status`` or ``metadata``.

    Args:
        method: the HTTP method.
        target: path and query; the query counts as part of the path, and so of a name in it.

    Raises:
        StatusError: INVALID_ARGUMENT; the route does not exist.
    """
    match = None
    if method == "POST":
        match = _INFERENCE.fullmatch(target)
    elif method == "GET":
        match = _ABOUT_MODEL.fullmatch(target)
    malformed = invalid_argument(f"Malformed request: {method} {_text(target)}")
    if match is None:
        raise malformed
    model = _read_reference(match)
    if method == "GET":
        if not model.name:
            raise invalid_argument("Missing model name in request.")
        return ("metadata" if match["metadata"] == b"metadata" else "status"), model
    action = match["method"].decode()
    if action not in {
        "predict",
        "classify",
        "regress",
    }:  # the path is matched without regard to case
        raise malformed
    return action, model


def _read_reference(match: re.Match[bytes]) -> ModelReference:
    name = _text(unquote_to_bytes(match["model"] or b""))
    if match["version"] is not None:
        version = match["version"].lstrip(b"0") or b"0"
        if len(version) > 19 or int(version) > _MAX_VERSION:
            raise VersionNotNumeric(
                Code.INVALID_ARGUMENT,
                f"Failed to convert version: {match['version'].decode()} to numeric.",
            )
        return ModelReference(name, version=int(version))
    label = match["label"]
    return ModelReference(name, label=None if label is None else _text(unquote_to_bytes(label)))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
