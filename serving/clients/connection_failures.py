"""Error messages for connections that cannot be made, or that broke."""

import os
import re
import ssl
import traceback
from typing import Final

from .options import Tls

#: The text of gRPC before the cause of a failed connection.
_GRPC_PREFIX: Final = re.compile(
    r"^(?:connections to all backends failing|failed to connect to all addresses"
    r"|errors resolving|DNS resolution failed)\b.*?: (?:last error: )?"
)
#: The names of the causes in gRPC, Python and OpenSSL, in lower case, and what a caller can do.
_MEANINGS: Final = (
    (r"connection refused", "connection refused; nothing listens there"),
    (
        r"domain name not found|name or service not known|nodename nor servname|no address assoc"
        r"|name resolution|name does not resolve|misformatted domain name|lookup failed",
        "the name has no address",
    ),
    (
        r"hostname verification|mismatch, certificate is not valid",
        "TLS: the server's certificate is for another name; give that name as Tls(server_name=...)",
    ),
    (
        r"certificate_verify_failed\W*(?:certificate verify failed: )?(?P<reason>[^:(]*)",
        "TLS: the server's certificate is not trusted; give its authority as Tls(ca=...)",
    ),
    (r"settings frame|http1\.x", "the server does not answer with gRPC; is this the gRPC port?"),
    (
        r"illegal (?:request|status) line",
        "the server does not answer with HTTP/1.1; is this the REST port?",
    ),
    (r"wrong_version_number", "TLS: the server does not support it; omit tls"),
)
_CLOSED: Final = re.compile(r"socket closed|disconnected|broken pipe|reset by peer|certificate req")


def describe_failure(place: str, tls: Tls | None, cause: str) -> str:
    """Describe the failure of a connection to a server in one line."""
    said = f"no connection to {place}: "
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, cause.lower()):
            reason = found.groupdict().get("reason")
            return said + meaning + (f" ({reason.strip()})" if reason else "")
    if not _CLOSED.search(cause.lower()):
        return said + cause
    if tls is None:
        said += "the server closed the connection; if it accepts only TLS, give "
        return f"{said}tls=Tls() ({cause})"
    if tls.certificate is None:
        said += "TLS: the server closed the connection; if it requires a client certificate, give "
        return f"{said}Tls(certificate=..., key=...) ({cause})"
    return f"{said}the server closed the connection ({cause})"


def grpc_cause(details: str) -> str | None:
    """The cause of a failed connection in the words of gRPC; None if the message is from the
    server.
    """
    text, found = _GRPC_PREFIX.subn("", " ".join(details.split()))
    return text if found else None


def exception_cause(error: BaseException) -> str:
    """The cause of a failed connection: the first of a chain of exceptions."""
    cause, earlier = error, error.__cause__ or error.__context__
    while earlier is not None:
        if isinstance(earlier, BaseExceptionGroup):  # one for each address of a name
            earlier = earlier.exceptions[0]
        if str(earlier):
            cause = earlier
        earlier = earlier.__cause__ or earlier.__context__
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.strerror:
        # asyncio replaces the message of the system by its own, with the address.
        return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror
    return str(cause) or type(cause).__name__


def timeout_cause(error: BaseException) -> str:
    """The step at which a connection timed out.

    The libraries do not report the step; the functions in the traceback show it.
    """
    functions: set[str] = set()
    each: BaseException | None = error
    while each is not None:
        functions |= {frame.f_code.co_name for frame, _ in traceback.walk_tb(each.__traceback__)}
        each = each.__cause__ or each.__context__
    if "getaddrinfo" in functions:
        return "the name was not resolved"
    if "start_tls" in functions:
        return "TLS: no answer to the handshake"
    return "the address did not answer"
