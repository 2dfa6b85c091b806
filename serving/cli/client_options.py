"""The options of commands that use a running server."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from export.addresses import model_name
from export.errors import InvalidModelsConfig
from export.models_config import ModelsConfig

from .arguments import parse_amount, parse_name
from .errors import UserMistake
from .terminal import note

if TYPE_CHECKING:
    from serving.clients.grpc_client import GrpcClient
    from serving.clients.options import Tls
    from serving.clients.reload_client import ReloadClient

RequiredServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="The server, over gRPC; several, separated by commas, are used in turn.",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="Also query this server over gRPC."),
]
#: For commands that score rows here otherwise.
ScoringServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="Query this server over gRPC, without local TensorFlow.",
    ),
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", parser=parse_amount, metavar="X", help="Time limit of a call in seconds."
    ),
]
ServedLabelOption = Annotated[
    str | None,
    typer.Option(
        "--label",
        parser=parse_name,
        metavar="LABEL",
        help="Query the version with this label on the server.",
    ),
]


@dataclass(frozen=True)
class ConnectionOptions:
    """The connection of a command with --server: name of the model, headers, TLS."""

    panel: ClassVar[str] = "Connection"

    name: Annotated[
        str | None,
        typer.Option(
            parser=parse_name,
            metavar="NAME",
            help="Name of the model on the server and in models.config; by default the name of "
            "its entry there, or else of BASE.",
        ),
    ] = None
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="NAME:VALUE",
            help="A header of every request, for example for authentication at a proxy.",
        ),
    ] = None
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Use TLS, with the system's certificate authorities."),
    ] = False
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Use TLS, with the certificate authorities in FILE, PEM."
        ),
    ] = None
    tls_certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use TLS, with this client certificate, PEM."),
    ] = None
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The private key of --tls-certificate, PEM.")
    ] = None
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use TLS; the name on the server's certificate, if it is not HOST.",
        ),
    ] = None

    def check_server(self, server: str | None) -> None:
        """Raise UserMistake for an option of a connection without a server to connect to."""
        for field in fields(self):
            if server is None and field.name != "name" and getattr(self, field.name):
                option = "header" if field.name == "headers" else field.name.replace("_", "-")
                raise UserMistake(f"--{option}: requires --server; add --server HOST:PORT")

    def client(self, server: str, name: str, timeout: float, *, in_flight: int = 1) -> "GrpcClient":
        """A client of the model of that name, for at least this number of concurrent calls.

        Several servers, with commas, take turns. Raises UserMistake, InvalidInput.
        """
        from serving.clients.grpc_client import GrpcClient
        from serving.clients.options import Limits

        return GrpcClient(
            server.split(",") if "," in server else server,
            name,
            timeout=timeout,
            tls=self._tls(),
            headers=self._headers(),
            limits=Limits(connection_in_flight=max(in_flight, Limits().connection_in_flight)),
        )

    def reload_client(self, server: str, timeout: float) -> "ReloadClient":
        """A client that sends the server a new config. Raises UserMistake, InvalidInput."""
        from serving.clients.reload_client import ReloadClient

        if "," in server:
            raise UserMistake(
                f"--server {server}: a move accepts only one server; without --server all servers "
                "that read models.config follow it"
            )
        return ReloadClient(server, timeout=timeout, tls=self._tls(), headers=self._headers())

    def _tls(self) -> "Tls | None":
        from serving.clients.options import Tls

        files = {
            "--tls-ca": self.tls_ca,
            "--tls-certificate": self.tls_certificate,
            "--tls-key": self.tls_key,
        }
        if self.tls_certificate is not None and self.tls_key is None:
            raise UserMistake(f"--tls-certificate {self.tls_certificate}: add --tls-key FILE")
        if self.tls_key is not None and self.tls_certificate is None:
            raise UserMistake(f"--tls-key {self.tls_key}: add --tls-certificate FILE")
        for option, file in files.items():
            if file is not None and not file.exists():
                raise UserMistake(f"{option} {file}: no such file; give the path of a PEM file")
        given = self.tls_ca, self.tls_certificate, self.tls_key, self.tls_server_name
        return Tls(*given) if self.tls or any(each is not None for each in given) else None

    def _headers(self) -> Mapping[str, str]:
        pairs = [line.partition(":") for line in self.headers or ()]
        if not all(colon for _, colon, _ in pairs):
            raise UserMistake("--header: give NAME:VALUE, such as authorization:'Bearer ...'")
        return {name.strip(): value.strip() for name, _, value in pairs}

    def served_name(self, model: Path | None) -> str:
        """The model's name on the server.

        Raises UserMistake when neither it nor a model is given; InvalidModelsConfig.
        """
        if self.name is not None:
            return self.name
        if model is None:
            raise UserMistake("specify --model BASE or --name NAME")
        try:
            config = ModelsConfig.read(model)
        except InvalidModelsConfig as error:
            # Who names a version can do without the file; that the name may be another is said.
            own = model_name(model)
            note(f"warning: {error}; requests use the name {own}; change it with --name NAME")
            return own
        return config.model
