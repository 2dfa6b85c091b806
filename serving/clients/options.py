"""Options of a client: version and time limit of its calls, message sizes, TLS, headers."""

import math
import os
import ssl
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict

from ..errors import InvalidInput

#: Treatment of a row with NaN or infinity: "answer" answers it with -1, "raise" refuses it before
#: the call.
OnBadRow = Literal["answer", "raise"]

#: Seconds that a call may take, including all attempts and pauses.
DEFAULT_TIMEOUT: Final = 5.0

#: The largest message that protobuf writes, in bytes.
MAX_MESSAGE_BYTES: Final = 2**31 - 1

#: Headers that give the end and the content of a body in HTTP.
_RESERVED_HEADERS: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})

#: Names of certificate files in a folder of OpenSSL: a hash and a number.
_HASHED_NAME: Final = "????????.[0-9]"

#: Room in a message for the names, the shapes and the model's name.
_OVERHEAD_BYTES: Final = 4096


@dataclass(frozen=True)
class Limits:
    """Limits of requests, answers and concurrency.

    A call beyond ``rows`` or ``message_bytes`` is sent in parts, at most ``in_flight`` at a time;
    their answers are joined.

    Attributes:
        rows: the most rows of a request; the default is the limit in the batching settings of a
            published version.
        message_bytes: the most bytes of a request, and of its expected answer. Every gRPC server
            and proxy accepts the default.
        answer_bytes: the most bytes of an answer; a larger answer raises ResourceExhausted.
        in_flight: the most concurrent requests of one call.
        connection_in_flight: the most concurrent requests to one address, from all calls, clients,
            threads and tasks of the process; further requests wait. TensorFlow Serving refuses
            requests above ``--grpc_max_threads``, by default four per core.

    Example:
        >>> from tfkmeans import GrpcClient, Limits
        >>> limits = Limits(rows=1000)  # a server with batching, whose max_batch_size is 1000
        >>> with GrpcClient("localhost:8500", "customers", limits=limits) as client:
        ...     client.assign([[20.0, 1.0]] * 3000)
        Assignment(cluster_index=int32[3000], distance=float32[3000], version=1)
    """

    rows: int = 65_536
    message_bytes: int = 4 * 2**20
    answer_bytes: int = MAX_MESSAGE_BYTES
    in_flight: int = 4
    connection_in_flight: int = 8

    def __post_init__(self) -> None:
        least = {"message_bytes": 2 * _OVERHEAD_BYTES}
        for name, value in vars(self).items():
            most = math.inf if name == "rows" else MAX_MESSAGE_BYTES
            is_number = isinstance(value, int) and not isinstance(value, bool)
            if not is_number or not least.get(name, 1) <= value <= most:
                raise InvalidInput(
                    f"{name}={value!r} is not a limit; give a whole number "
                    f"of at least {least.get(name, 1)}"
                )

    def rows_per_message(self, row_bytes: int) -> int:
        """Return the number of rows per message; at least one.

        Args:
            row_bytes: the bytes of a row.

        Returns:
            The number of rows.

        Example:
            >>> from tfkmeans import Limits
            >>> Limits(message_bytes=2**20).rows_per_message(1024)
            1020
        """
        room = self.message_bytes - _OVERHEAD_BYTES
        return max(1, min(self.rows, room // max(1, row_bytes)))


@dataclass(frozen=True)
class Tls:
    """Settings of an encrypted connection; files are PEM.

    ::

        Tls()                                                 # the authorities of the system
        Tls(ca="ca.pem")                                      # your own authority
        Tls(ca="ca.pem", certificate="me.pem", key="me.key")  # with a client certificate

    Attributes:
        ca: file of the certificate authorities to trust. None, the default, trusts those of
            Python's ``ssl``: from ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, else those of the system.
        certificate: the client certificate with its chain, for servers that require one.
        key: the private key of the client certificate.
        server_name: the name in the server's certificate, if it differs from the address.

    Example:
        >>> from tfkmeans import GrpcClient, Tls
        >>> tls = Tls(server_name="models.example")  # the authorities of the system
        >>> GrpcClient("localhost:8500", "customers", tls=tls).close()
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise InvalidInput(f"{missing} is missing; a certificate and its key go together")
        for name in ("ca", "certificate", "key"):
            if not isinstance(getattr(self, name), str | Path | None):
                kind = type(getattr(self, name)).__name__
                raise InvalidInput(f"{name} has type {kind}; give the path of a PEM file")
        if not isinstance(self.server_name, str | None):
            kind = type(self.server_name).__name__
            raise InvalidInput(f"server_name has type {kind}; give a name as text")

    def context(self) -> ssl.SSLContext:
        """Return these settings as a context of Python's ``ssl``.

        Returns:
            A context for client connections.

        Raises:
            InvalidInput: a file cannot be read, or is not PEM.

        Example:
            >>> from tfkmeans import Tls
            >>> Tls().context().check_hostname
            True
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(map(str, filter(None, (self.ca, self.certificate, self.key))))
            cause = getattr(error, "strerror", None) or error
            raise InvalidInput(f"{names} cannot be used: {cause}") from error
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return the contents of ``ca``, ``key`` and ``certificate``, for gRPC.

        Returns:
            PEM as bytes; None for a key and a certificate that were not given.

        Raises:
            InvalidInput: a file cannot be read, or is not PEM, or there is no authority to trust.

        Example:
            >>> import certifi
            >>> from tfkmeans import Tls
            >>> ca, key, certificate = Tls(ca=certifi.where()).pem()
            >>> b"BEGIN CERTIFICATE" in ca, key, certificate
            (True, None, None)
        """
        context = self.context()  # gRPC would only log that a file is not PEM
        key, certificate = (
            None if file is None else Path(file).read_bytes()
            for file in (self.key, self.certificate)
        )
        # By default gRPC trusts its own list.
        ca = _trusted(context) if self.ca is None else Path(self.ca).read_bytes()
        return ca, key, certificate


def _trusted(context: ssl.SSLContext) -> bytes:
    """The default authorities of a context of Python's ``ssl``, as PEM."""
    found = dict.fromkeys(context.get_ca_certs(binary_form=True))
    # OpenSSL reads the authorities in folders only when a server presents a certificate of one.
    paths = ssl.get_default_verify_paths()
    folders = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    for folder in filter(None, folders.split(os.pathsep)):
        for file in sorted(Path(folder).glob(_HASHED_NAME)):
            with suppress(OSError, ValueError):  # OpenSSL skips them too
                found[ssl.PEM_cert_to_DER_cert(file.read_text("ascii"))] = None
    if not found:
        raise InvalidInput(
            "neither SSL_CERT_FILE nor the system has an authority to trust; give Tls(ca=...)"
        )
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode()


class CallOptions(TypedDict, total=False):
    """Options of a call; given to a client, they are the defaults of its calls.

    Attributes:
        version: the version to use; None, the default, is the latest loaded version.
        label: the label to use, instead of a version.
        timeout: seconds that a call may take; 5 if neither the call nor the client gives it.

    Example:
        >>> from tfkmeans import CallOptions, GrpcClient
        >>> options: CallOptions = {"version": 1, "timeout": 2}
        >>> with GrpcClient("localhost:8500", "customers") as client:
        ...     client.assign([[20.0, 1.0]], **options).version
        1
    """

    version: int | None
    label: str | None
    timeout: float | None


class ClientOptions(CallOptions, total=False):
    """Options of a client, besides the address and the model: `CallOptions`, and these.

    Attributes:
        tls: settings of an encrypted connection. None, the default, is plain text; over REST with
            an address ``https://host:port`` it is TLS with the authorities of the system.
        headers: headers of every request, for example for authentication; metadata in gRPC.
        limits: limits of requests; a call beyond them is sent in parts.
        on_bad_row: ``"answer"``, the default, sends rows with NaN or infinity, and their answer is
            -1; ``"raise"`` refuses them before anything is sent.

    Example:
        >>> from tfkmeans import ClientOptions, GrpcClient
        >>> options: ClientOptions = {"timeout": 30, "on_bad_row": "raise"}
        >>> GrpcClient("localhost:8500", "customers", **options).close()
    """

    tls: Tls | None
    headers: Mapping[str, str] | None
    limits: Limits | None
    on_bad_row: OnBadRow


class RestOptions(ClientOptions, total=False):
    """Options of a client over REST: ``ClientOptions``, and these.

    Attributes:
        gzip: send compressed bodies; useful if the network is the bottleneck.
        proxy: the proxy of every request, such as ``http://host:port`` or
            ``http://user:password@host:port``. None, the default, is no proxy; proxies in the
            environment are ignored.

    Example:
        >>> from tfkmeans import RestClient, RestOptions
        >>> options: RestOptions = {"gzip": True}
        >>> with RestClient("localhost:8501", "customers", **options) as client:
        ...     client.assign([[20.0, 1.0]]).cluster_index.shape
        (1,)
    """

    gzip: bool
    proxy: str | None


@dataclass(frozen=True)
class WireFormat:
    """Properties of a protocol that affect calls.

    Attributes:
        name: gRPC or REST.
        options: the names of the options that its clients take.
        value_bytes: the approximate bytes of a number in a request.
        tells_version: whether an answer contains the version that computed it.
    """

    name: str
    options: Set[str]
    value_bytes: int
    tells_version: bool


def check_options(options: ClientOptions, wire: WireFormat) -> None:
    """Raise InvalidInput for an option that clients of this protocol do not have."""
    for name in options:
        if name not in wire.options:
            raise InvalidInput(
                f"a client over {wire.name} has no option {name}; "
                f"its options are {', '.join(sorted(wire.options))}"
            )
    kinds: dict[str, type] = {"limits": Limits, "tls": Tls, "headers": Mapping}
    for name, kind in kinds.items():
        # The message omits the value: headers are mostly secret.
        if (value := options.get(name)) is not None and not isinstance(value, kind):
            raise InvalidInput(f"{name} has type {type(value).__name__}; give a {kind.__name__}")


def parse_headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Parse the headers of every request; names become lower case, as HTTP/2 requires.

    Raises:
        InvalidInput: a name or value is not valid in a header.
    """
    checked = []
    for name, value in (headers or {}).items():
        word = isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum()
        if word and (name.lower() in _RESERVED_HEADERS or name.lower().endswith("-bin")):
            raise InvalidInput(
                f"the header {name!r} cannot be sent; the client sets framing headers, "
                "and -bin is for bytes"
            )
        if not word or not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            # The message omits the value: headers are mostly secret.
            raise InvalidInput(f"the header {name!r} cannot be sent; give ASCII text on one line")
        checked.append((name.lower(), value))
    return tuple(checked)
