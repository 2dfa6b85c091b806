"""The options of commands that ask a running server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.addresses import model_name

from .arguments import parse_amount
from .errors import UserMistake

if TYPE_CHECKING:
    from serving.clients.grpc_client import GrpcClient

RequiredServerOption = Annotated[
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


@dataclass(frozen=True)
class ConnectionOptions:
    """The time limit, the headers and the TLS files of a connection."""

    timeout: Annotated[
        float,
        typer.Option(parser=parse_amount, metavar="X", help="Seconds that a call may take."),
    ] = 5.0
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME:VALUE",
            help="A header of every request, for a proxy that asks who is there.",
        ),
    ] = None
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Encrypt; the server is trusted by the system's authorities."),
    ] = False
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Encrypt; authorities that may vouch for the server, PEM."
        ),
    ] = None
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Encrypt; the certificate that we show the server, PEM."),
    ] = None
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key to --tls-certificate, PEM.")
    ] = None

    def client(self, server: str, name: str) -> "GrpcClient":
        """A client of the model on the server. Raises UserMistake, InvalidInput."""
        from serving.clients.grpc_client import GrpcClient
        from serving.clients.options import Tls

        files = self.tls_ca, self.tls_certificate, self.tls_key
        options: dict[str, Any] = {}
        if self.tls or any(file is not None for file in files):
            options["tls"] = Tls(self.tls_ca, self.tls_certificate, self.tls_key)
        return GrpcClient(
            server.split(",") if "," in server else server,
            name,
            timeout=self.timeout,
            headers=_headers(self.headers or ()),
            **options,
        )


def name_on_server(model: Path | None, name: str | None) -> str:
    """The model's name on the server. Raises UserMistake when neither is given."""
    if name is not None:
        return name
    if model is None:
        raise UserMistake("give --model BASE or --name NAME")
    return model_name(model)


def _headers(lines: Sequence[str]) -> Mapping[str, str]:
    pairs = [line.partition(":") for line in lines]
    if not all(colon for _, colon, _ in pairs):
        raise UserMistake("--header: give NAME:VALUE, as in authorization:'Bearer ...'")
    return {name.strip(): value.strip() for name, _, value in pairs}
