"""What the commands that ask a running server share: whom they ask, and by what rights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.addresses import model_name

from .arguments import not_negative
from .errors import UserMistake

if TYPE_CHECKING:
    from serving.clients.grpc_client import GrpcClient

AskedServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server, by gRPC; several with commas between them take turns.",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Name of the model on the server; BASE's when not given."
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="Ask the version with this label, as in stable."),
]
CallTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", parser=not_negative, metavar="X", help="Seconds that a call may take."
    ),
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="NAME:VALUE",
        help="A header of every request, for a proxy that asks who is there.",
    ),
]
TlsOption = Annotated[
    bool,
    typer.Option("--tls", help="Encrypt; the server is trusted by the system's authorities."),
]
TlsCaOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Encrypt; authorities that may vouch for the server, PEM."),
]
TlsCertificateOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Encrypt; the certificate that we show the server, PEM."),
]
TlsKeyOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The private key to --tls-certificate, PEM.")
]


def asked_name(model: Path | None, name: str | None) -> str:
    """The model's name on the server. Raises UserMistake when neither is given."""
    if name is not None:
        return name
    if model is None:
        raise UserMistake("give --model BASE or --name NAME")
    return model_name(model)


def asking_client(
    server: str,
    name: str,
    *,
    timeout: float = 5.0,
    version: int | None = None,
    headers: Sequence[str] | None = None,
    tls: bool = False,
    tls_ca: Path | None = None,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
) -> "GrpcClient":
    """A client of the server. Raises UserMistake, InvalidInput."""
    from serving.clients.grpc_client import GrpcClient
    from serving.clients.options import Tls

    encrypted = tls or any(file is not None for file in (tls_ca, tls_certificate, tls_key))
    options: dict[str, Any] = {}
    if encrypted:
        options["tls"] = Tls(ca=tls_ca, certificate=tls_certificate, key=tls_key)
    return GrpcClient(
        server.split(",") if "," in server else server,
        name,
        version=version,
        timeout=timeout,
        headers=_headers(headers or ()),
        **options,
    )


def _headers(lines: Sequence[str]) -> Mapping[str, str]:
    pairs = [line.partition(":") for line in lines]
    if not all(colon for _, colon, _ in pairs):
        raise UserMistake("--header: give NAME:VALUE, as in authorization:'Bearer ...'")
    return {name.strip(): value.strip() for name, _, value in pairs}
