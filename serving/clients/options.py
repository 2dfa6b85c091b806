"""The options of a client: version and time limit of its calls, sizes of messages, TLS, headers."""

import math
import os
import ssl
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict

from ..errors import InvalidInput

#: What becomes of a row with NaN or infinity: it is answered with -1, or refused before the call.
OnBadRow = Literal["answer", "raise"]

#: Seconds a call may take, attempts and waits in between included.
DEFAULT_TIMEOUT: Final = 5.0

#: The largest message that protobuf writes, in bytes.
MAX_MESSAGE_BYTES: Final = 2**31 - 1

#: Headers by which HTTP finds the end of a body, and what is in it.
_RESERVED_HEADERS: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})

#: Files of certificates in a folder, as OpenSSL finds them: a hash, and a number.
_HASHED_NAME: Final = "????????.[0-9]"

#: Room in a message for the names, the shapes and the model's name.
_OVERHEAD_BYTES: Final = 4096


@dataclass(frozen=True)
class Limits:
    """How much goes over the wire at once.

    A call beyond ``rows`` or ``message_bytes`` is sent in parts, ``in_flight`` of them at a time,
    and answered as one.

    Attributes:
        rows: the most rows of a request; as many as a published version's own batching takes.
        message_bytes: the size of a request, and of the answer that is expected, in bytes. At the
            default every gRPC server and proxy takes them.
        answer_bytes: the largest answer that is read, in bytes; a larger one is ResourceExhausted.
        in_flight: the most requests of one call that are under way at a time.
        connection_in_flight: the most requests to one address that are under way at a time, of all
            calls, clients, threads and tasks of the process; the others wait their turn. TensorFlow
            Serving refuses what is above ``--grpc_max_threads``, four a core unless set.

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
                    f"{name}={value!r} is no limit; give a whole number "
                    f"of at least {least.get(name, 1)}"
                )

    def rows_per_message(self, row_bytes: int) -> int:
        """The rows that go in one message; at least one.

        Args:
            row_bytes: the bytes that a row takes.

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
    """An encrypted connection, and who is trusted; files are PEM.

    ::

        Tls()                                                 # authorities that the system trusts
        Tls(ca="ca.pem")                                      # an authority of one's own
        Tls(ca="ca.pem", certificate="me.pem", key="me.key")  # the server asks who we are

    Attributes:
        ca: certificates of the authorities that may vouch for the server. None, the default, is
            those that Python's ``ssl`` trusts: of the files that ``SSL_CERT_FILE`` and
            ``SSL_CERT_DIR`` name, else the system's.
        certificate: what we show when the server asks who we are, with its chain.
        key: the private key to it.
        server_name: the name on the server's certificate, where it is not that of the address.

    Example:
        >>> from tfkmeans import GrpcClient, Tls
        >>> tls = Tls(server_name="models.example")  # trusts whom the system trusts
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
                raise InvalidInput(f"{name} is a {kind}; give the path of a PEM file")
        if not isinstance(self.server_name, str | None):
            kind = type(self.server_name).__name__
            raise InvalidInput(f"server_name is a {kind}; give a name as text")

    def context(self) -> ssl.SSLContext:
        """The same for Python's TLS.

        Returns:
            A context for connections of a client.

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
            raise InvalidInput(f"{names} cannot be used: {error}") from error
        return context

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The contents of ``ca``, ``key`` and ``certificate``, for gRPC.

        Returns:
            PEM as bytes, None for a key and a certificate that were not given.

        Raises:
            InvalidInput: a file cannot be read, or is not PEM, or there is no authority to trust.
        """
        context = self.context()  # gRPC would only log that a file is no PEM
        key, certificate = (
            None if file is None else Path(file).read_bytes()
            for file in (self.key, self.certificate)
        )
        # Of itself, gRPC trusts a list of its own.
        ca = _trusted(context) if self.ca is None else Path(self.ca).read_bytes()
        return ca, key, certificate


def _trusted(context: ssl.SSLContext) -> bytes:
    """The authorities that a context of Python's trusts by default, as PEM."""
    found = dict.fromkeys(context.get_ca_certs(binary_form=True))
    # OpenSSL reads those in folders only when a server shows a certificate of theirs.
    paths = ssl.get_default_verify_paths()
    folders = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
    for folder in filter(None, folders.split(os.pathsep)):
        for file in sorted(Path(folder).glob(_HASHED_NAME)):
            with suppress(OSError, ValueError):  # as OpenSSL passes over them
                found[ssl.PEM_cert_to_DER_cert(file.read_text("ascii"))] = None
    if not found:
        raise InvalidInput(
            "neither SSL_CERT_FILE nor the system has an authority to trust; give Tls(ca=...)"
        )
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode()


class CallOptions(TypedDict, total=False):
    """What every call takes, and a client for the calls that leave it out.

    Attributes:
        version: the version to ask; None, the default, is the latest that is loaded.
        label: the label to ask, instead of a version.
        timeout: seconds that a call may take; 5 where the client was not told either.

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
    """What every client takes besides the address and the model: `CallOptions`, and more.

    Attributes:
        tls: an encrypted connection. None, the default, is one in plain text; over REST, with an
            address ``https://host:port``, the authorities that the system trusts.
        headers: headers of every request, for proxies that ask who is there; metadata over gRPC.
        limits: how much goes at once; a call beyond them is sent in parts.
        on_bad_row: ``"answer"``, the default, sends rows with NaN or infinity, which are answered
            with -1; ``"raise"`` refuses them, before anything is sent.

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
    """What a client over REST takes: ``ClientOptions``, and two more.

    Attributes:
        gzip: send bodies compressed; worth it where the network is slower than the processor.
        proxy: the proxy that every request goes through, as ``http://host:port`` or
            ``http://user:password@host:port``. None, the default, is none: no proxy is taken from
            the environment.

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
    """What of a protocol matters to a call flow.

    Attributes:
        name: gRPC or REST.
        options: the names of the options that its clients take.
        value_bytes: the bytes that a number of a request takes, about.
        tells_version: whether an answer tells the version that computed it.
    """

    name: str
    options: Set[str]
    value_bytes: int
    tells_version: bool


def check_options(options: ClientOptions, wire: WireFormat) -> None:
    """Raise InvalidInput for an option that the clients of this protocol do not take."""
    for name in options:
        if name not in wire.options:
            raise InvalidInput(
                f"a client over {wire.name} has no option {name}; "
                f"its options are {', '.join(sorted(wire.options))}"
            )
    kinds: dict[str, type] = {"limits": Limits, "tls": Tls, "headers": Mapping}
    for name, kind in kinds.items():
        # Not the value: headers are mostly secret.
        if (value := options.get(name)) is not None and not isinstance(value, kind):
            raise InvalidInput(f"{name} is a {type(value).__name__}; give a {kind.__name__}")


def parse_headers(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """The headers of every request, their names in lower case as HTTP/2 wants them.

    Raises:
        InvalidInput: a name or value is no text that a header can hold.
    """
    checked = []
    for name, value in (headers or {}).items():
        word = isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum()
        if word and (name.lower() in _RESERVED_HEADERS or name.lower().endswith("-bin")):
            raise InvalidInput(
                f"the header {name!r} cannot be sent; what frames a message is not a caller's, "
                "and -bin is for bytes"
            )
        if not word or not isinstance(value, str) or not (value.isascii() and value.isprintable()):
            # Not the value: what proxies ask for is mostly secret.
            raise InvalidInput(f"the header {name!r} cannot be sent; give ASCII text on one line")
        checked.append((name.lower(), value))
    return tuple(checked)
