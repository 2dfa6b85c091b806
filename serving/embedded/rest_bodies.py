"""Receive, inflate and parse the body of a REST request, each step with its limit."""

import zlib
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request

from serving.embedded.json_parser import JsonObject, NestedTooBig, RapidJsonError, read_json
from serving.embedded.json_writer import value_error
from serving.embedded.limits import ServerLimits
from serving.embedded.status import invalid_argument

_CONTINUE = "100-continue"


class BodyRefused(Exception):
    """The request is answered without its body.

    Attributes:
        status: the status of the answer.
    """

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


async def receive_body(request: Request, limits: ServerLimits) -> bytes:
    """Receive the body as sent.

    Raises:
        BodyRefused: the body is too long, or the sender expects an unsupported feature.
        ClientDisconnect: the sender disconnected.
    """
    if request.headers.get("expect", _CONTINUE).lower() != _CONTINUE:
        raise BodyRefused(HTTPStatus.EXPECTATION_FAILED)
    limit = limits.rest_api_max_body_bytes
    if int(request.headers.get("content-length", 0)) > limit:
        raise BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return bytes(body)


def inflate(body: bytes, encoding: str, limits: ServerLimits) -> bytes:
    """Decompress the body; an invalid body becomes an empty one.

    Raises:
        StatusError: the decompressed body is too long.
    """
    if "gzip" not in encoding:
        return body
    limit = limits.rest_api_max_inflated_bytes
    inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error:
        return b""
    if len(inflated) > limit:
        raise invalid_argument(
            f"The body has more than {limit} bytes when it is inflated "
            "(rest_api_max_inflated_bytes)"
        )
    return inflated if inflater.eof and not inflater.unused_data else b""


def read_document(body: bytes, check_time: Callable[[], None], limits: ServerLimits) -> JsonObject:
    """Parse a body that is a JSON object.

    Args:
        body: JSON.
        check_time: called repeatedly during long parsing; its exceptions end the parsing.
        limits: the limits on deeply nested bodies.

    Raises:
        StatusError: with the message of TF Serving; or the body is nested too deeply for its size.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    limit = limits.rest_api_max_nested_bytes
    try:
        document = read_json(body, check_time, limit)
    except RapidJsonError as error:
        raise invalid_argument(f"JSON Parse error: {error} at offset: {error.offset}") from error
    except NestedTooBig as error:
        raise invalid_argument(
            f"{error}; a body that is so may have {limit} (rest_api_max_nested_bytes)"
        ) from error
    if not isinstance(document, JsonObject):
        raise value_error(document, "Is not object")
    return document
