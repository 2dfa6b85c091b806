"""Errors of the clients.

::

    ServingError
     ├── InvalidInput         the request is not valid: correct the call
     ├── ModelNotFound        the server has no such model, version or label
     ├── SignatureNotFound    the model has no such signature: tfkmeans did not export it
     ├── AccessDenied         authentication failed at the server or a proxy: correct the headers
     ├── ServerUnavailable    no connection, or the server cannot answer now; retries are used up
     ├── DeadlineExceeded     no answer in time
     ├── ResourceExhausted    too large or too many: send fewer rows, or less often
     └── ServerError          any other failure: a server fault, or an unreadable answer

gRPC and REST give the same class for the same failure. The text of an error is one line: the
message of the server, the model and the address. ``message`` has the unchanged words of the server.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class ServingError(Exception):
    """Base of every error of the clients.

    Attributes:
        message: the cause, in the words of the server if it answered.
        model: the name of the requested model.
        address: the address of the server.

    Example:
        >>> from tfkmeans import GrpcClient, ServingError
        >>> with GrpcClient("localhost:8500", "nobody") as client:
        ...     try:
        ...         client.assign([[20.0, 1.0]])
        ...     except ServingError as error:
        ...         print(type(error).__name__, error.model)
        ModelNotFound nobody
    """

    def __init__(self, message: str, model: str | None = None, address: str | None = None) -> None:
        super().__init__(message, model, address)
        self.message = message
        self.model = model
        self.address = address

    def __str__(self) -> str:
        place = [f"model {self.model!r}"] if self.model is not None else []
        place += [f"at {self.address}"] if self.address is not None else []
        text = " ".join(self.message.split())
        return f"{text} ({' '.join(place)})" if place else text


class InvalidInput(ServingError):
    """The request is not valid; the message gives the reason.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     client.assign([[20.0, 1.0, 3.0]])
        Traceback (most recent call last):
            ...
        serving.errors.InvalidInput: points is float32 [1, 3], and assign of version 1 takes...
    """


class ModelNotFound(ServingError):
    """The server has no such model, version or label.

    Example:
        >>> from tfkmeans import GrpcClient
        >>> with GrpcClient("localhost:8500", "customers", version=7) as client:
        ...     client.assign([[20.0, 1.0]])
        Traceback (most recent call last):
            ...
        serving.errors.ModelNotFound: Servable not found for request: Specific(customers, 7)...
    """


class SignatureNotFound(ServingError):
    """The model has no such signature.

    Example:
        >>> from tfkmeans import GrpcClient, SignatureNotFound
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     try:
        ...         answer = client.assign([[20.0, 1.0]])
        ...     except SignatureNotFound:
        ...         print("the model was not exported by tfkmeans")
    """


class AccessDenied(ServingError):
    """Authentication or authorisation failed at the server, or at a proxy in front of it.

    Example:
        >>> from tfkmeans import AccessDenied, GrpcClient
        >>> headers = {"authorization": "Bearer TOKEN"}
        >>> with GrpcClient("localhost:8500", "customers", headers=headers) as client:
        ...     try:
        ...         answer = client.assign([[20.0, 1.0]])
        ...     except AccessDenied:
        ...         print("the token is not valid")
    """


class ServerUnavailable(ServingError):
    """There is no connection, or the server cannot answer now, and all attempts failed.

    Example:
        >>> from tfkmeans import GrpcClient, ServerUnavailable
        >>> with GrpcClient("localhost:1", "customers", timeout=1) as client:
        ...     try:
        ...         client.assign([[20.0, 1.0]])
        ...     except ServerUnavailable:
        ...         print("no server there")
        no server there
    """


class DeadlineExceeded(ServingError):
    """No answer came in time.

    Example:
        >>> from tfkmeans import DeadlineExceeded, GrpcClient
        >>> with GrpcClient("localhost:8500", "customers", version=7) as client:
        ...     try:
        ...         client.wait_until_ready(timeout=0.1)
        ...     except DeadlineExceeded:
        ...         print("version 7 is not ready")
        version 7 is not ready
    """


class ResourceExhausted(ServingError):
    """The request or the answer is too large, or the server is overloaded.

    Example:
        >>> from tfkmeans import GrpcClient, Limits, ResourceExhausted
        >>> limits = Limits(answer_bytes=10)
        >>> with GrpcClient("localhost:8500", "customers", limits=limits) as client:
        ...     try:
        ...         client.assign([[20.0, 1.0]])
        ...     except ResourceExhausted:
        ...         print("the answer has more than 10 bytes")
        the answer has more than 10 bytes
    """


class ServerError(ServingError):
    """A fault of the server, or an unreadable answer.

    Example:
        >>> from tfkmeans import GrpcClient, ServerError
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     try:
        ...         answer = client.assign([[20.0, 1.0]])
        ...     except ServerError as error:
        ...         print(error.message)
    """


#: The error class of each status code of gRPC; OK is not an error.
ERROR_OF_CODE: Final[Mapping[str, type[ServingError]]] = MappingProxyType(
    {
        "CANCELLED": ServerError,
        "UNKNOWN": ServerError,
        "INVALID_ARGUMENT": InvalidInput,
        "DEADLINE_EXCEEDED": DeadlineExceeded,
        "NOT_FOUND": ModelNotFound,
        "ALREADY_EXISTS": ServerError,
        "PERMISSION_DENIED": AccessDenied,
        "RESOURCE_EXHAUSTED": ResourceExhausted,
        # TensorFlow Serving's REST gives 400 for these two as well, and does not distinguish them.
        "FAILED_PRECONDITION": InvalidInput,
        "OUT_OF_RANGE": InvalidInput,
        "ABORTED": ServerError,
        "UNIMPLEMENTED": ServerError,
        "INTERNAL": ServerError,
        "UNAVAILABLE": ServerUnavailable,
        "DATA_LOSS": ServerError,
        "UNAUTHENTICATED": AccessDenied,
    }
)

#: The error class of each HTTP status: first the inverse of TensorFlow Serving's own table of
#: codes, then the answers of proxies in front of it. All others are ServerError.
ERROR_OF_STATUS: Final[Mapping[int, type[ServingError]]] = MappingProxyType(
    {
        400: InvalidInput,
        401: AccessDenied,
        403: AccessDenied,
        404: ModelNotFound,
        429: ResourceExhausted,
        503: ServerUnavailable,
        504: DeadlineExceeded,
        408: DeadlineExceeded,
        413: ResourceExhausted,
        502: ServerUnavailable,
    }
)

# gRPC: Serving signature key "x" not found.
# REST: Serving signature name: "x" not found in signature def
_UNKNOWN_SIGNATURE = re.compile(r'Serving signature (key|name:) ".*" not found', re.DOTALL)
_UNKNOWN_LABEL = re.compile(r"Unrecognized servable version label")


def error_of_code(code: str, message: str) -> type[ServingError]:
    """Return the class for a gRPC status: the name of its code, and the server's message."""
    return _refine(ERROR_OF_CODE.get(code, ServerError), message)


def error_of_status(status: int, message: str) -> type[ServingError]:
    """Return the class for an HTTP status and the server's message."""
    return _refine(ERROR_OF_STATUS.get(status, ServerError), message)


def _refine(error: type[ServingError], message: str) -> type[ServingError]:
    """Refine the class by the message: TensorFlow Serving has one code for several causes."""
    if error is InvalidInput and _UNKNOWN_SIGNATURE.match(message):
        return SignatureNotFound
    if error is InvalidInput and _UNKNOWN_LABEL.match(message):
        return ModelNotFound
    return error
