"""What can go wrong when a client asks a server.

::

    ServingError
     ├── InvalidInput         what was asked cannot be answered: mend the call
     ├── ModelNotFound        the server has no such model, version or label
     ├── SignatureNotFound    the model has no such signature: it is not one of this package
     ├── AccessDenied         the server, or a proxy before it, does not let us in: mend the headers
     ├── ServerUnavailable    no connection, or the server cannot answer now; retries are used up
     ├── DeadlineExceeded     no answer in time
     ├── ResourceExhausted    too large or too many: send fewer rows, or less often
     └── ServerError          anything else: a fault of the server, or an answer nobody can read

gRPC and REST lead to the same class for the same thing. The text of an error is one line: the
server's own message, the model and the address. ``message`` keeps the server's words as they came.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class ServingError(Exception):
    """Base of every error of the clients.

    Attributes:
        message: what went wrong, in the server's own words where it spoke.
        model: the name of the model that was asked.
        address: the server that was asked.

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
    """What was asked cannot be answered; the text says what is wrong with it.

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
    """There is no connection, or the server cannot answer now, and all attempts are used up.

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
    """The request or the answer is too large, or the server has too much to do.

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
    """A fault of the server, or an answer that cannot be read.

    Example:
        >>> from tfkmeans import GrpcClient, ServerError
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     try:
        ...         answer = client.assign([[20.0, 1.0]])
        ...     except ServerError as error:
        ...         print(error.message)
    """


#: What each status code of gRPC means to a caller; OK is no error.
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
        # TensorFlow Serving's REST gives 400 for these two as well, and does not say which it was.
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

#: What each HTTP status means to a caller: first TensorFlow Serving's own table of codes, read
#: backwards, then what proxies in front of it answer. Any other is ServerError.
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
    """The class for a gRPC status: the name of its code, and the server's message."""
    return _refine(ERROR_OF_CODE.get(code, ServerError), message)


def error_of_status(status: int, message: str) -> type[ServingError]:
    """The class for an HTTP status and the server's message."""
    return _refine(ERROR_OF_STATUS.get(status, ServerError), message)


def _refine(error: type[ServingError], message: str) -> type[ServingError]:
    """What the code alone does not say: TensorFlow Serving has one code for several things."""
    if error is InvalidInput and _UNKNOWN_SIGNATURE.match(message):
        return SignatureNotFound
    if error is InvalidInput and _UNKNOWN_LABEL.match(message):
        return ModelNotFound
    return error
