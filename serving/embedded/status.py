"""The canonical error codes, with their gRPC and HTTP statuses."""

from enum import Enum

import grpc

#: The most bytes of a message in a gRPC answer; REST answers contain the whole message.
_GRPC_MESSAGE_LIMIT = 1024


class Code(Enum):
    """A canonical error code: its number, its gRPC status and its HTTP status."""

    OK = (0, grpc.StatusCode.OK, 200)
    CANCELLED = (1, grpc.StatusCode.CANCELLED, 499)
    UNKNOWN = (2, grpc.StatusCode.UNKNOWN, 500)
    INVALID_ARGUMENT = (3, grpc.StatusCode.INVALID_ARGUMENT, 400)
    DEADLINE_EXCEEDED = (4, grpc.StatusCode.DEADLINE_EXCEEDED, 504)
    NOT_FOUND = (5, grpc.StatusCode.NOT_FOUND, 404)
    ALREADY_EXISTS = (6, grpc.StatusCode.ALREADY_EXISTS, 409)
    PERMISSION_DENIED = (7, grpc.StatusCode.PERMISSION_DENIED, 403)
    RESOURCE_EXHAUSTED = (8, grpc.StatusCode.RESOURCE_EXHAUSTED, 429)
    FAILED_PRECONDITION = (9, grpc.StatusCode.FAILED_PRECONDITION, 400)
    ABORTED = (10, grpc.StatusCode.ABORTED, 409)
    OUT_OF_RANGE = (11, grpc.StatusCode.OUT_OF_RANGE, 400)
    UNIMPLEMENTED = (12, grpc.StatusCode.UNIMPLEMENTED, 501)
    INTERNAL = (13, grpc.StatusCode.INTERNAL, 500)
    UNAVAILABLE = (14, grpc.StatusCode.UNAVAILABLE, 503)
    DATA_LOSS = (15, grpc.StatusCode.DATA_LOSS, 500)
    UNAUTHENTICATED = (16, grpc.StatusCode.UNAUTHENTICATED, 401)

    def __init__(self, number: int, grpc_code: grpc.StatusCode, http_status: int) -> None:
        self.number = number
        self.grpc_code = grpc_code
        self.http_status = http_status


_BY_NUMBER = {code.number: code for code in Code}


class StatusError(Exception):
    """An error answer to a request: a code and a message."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """Return code and message, as TF Serving quotes an error within another one."""
        return f"{self.code.name}: {self.message}"

    @property
    def grpc_message(self) -> str:
        """The message, cut to the limit of gRPC."""
        encoded = self.message.encode("utf-8", "surrogateescape")
        is_long = len(encoded) > _GRPC_MESSAGE_LIMIT
        text = encoded[:_GRPC_MESSAGE_LIMIT].decode("utf-8", "replace")
        return f"{text}...TRUNCATED" if is_long else text


def code_of(number: int) -> Code:
    """Return the code of a number; UNKNOWN for an unknown number."""
    return _BY_NUMBER.get(number, Code.UNKNOWN)


def invalid_argument(message: str) -> StatusError:
    """Make the most frequent error: the request is invalid."""
    return StatusError(Code.INVALID_ARGUMENT, message)
