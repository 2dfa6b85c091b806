"""``tfkmeans probe``: check the health of a server and a model."""

from pathlib import Path
from typing import Annotated, Final

import typer

from .arguments import JsonOption, ModelOrPlace, examples, integer
from .client_options import (
    ConnectionOptions,
    RequiredServerOption,
    ServedLabelOption,
    TimeoutOption,
)
from .errors import UserMistake
from .exit_codes import REFUSED
from .option_groups import flat_options
from .terminal import note, print_json

EXAMPLES: Final = examples(
    (
        "Is the server healthy? Exit code 0: yes; 3: no; 2: server unreachable",
        "tfkmeans probe --server localhost:8500 --model models/customers",
    ),
    (
        "Without the model's folder",
        "tfkmeans probe --server models:8500 --name customers --golden golden_requests.npz",
    ),
)


@flat_options
def probe(
    server: RequiredServerOption,
    model: ModelOrPlace = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Golden requests instead of BASE: assets.extra/golden_requests.npz of a version.",
        ),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            parser=integer(0),
            metavar="N",
            help="Version of the model; by default the live one, or if the server has not loaded "
            "it, the highest that is loaded and in BASE.",
        ),
    ] = None,
    label: ServedLabelOption = None,
    timeout: TimeoutOption = 1.0,
    connection: ConnectionOptions = ConnectionOptions(),
    json: JsonOption = False,
) -> None:
    """Check that a version of the model is AVAILABLE and answers a golden request as recorded.

    It checks the given version. The default is the live version, or if the server has not loaded
    it, the highest version that is loaded and in BASE. If the server does not answer within
    --timeout (by default 1 second), the exit code is 2.
    """
    if (model is None) == (golden is None):
        raise UserMistake("specify --model BASE, or --name NAME and --golden FILE")
    from export import golden_requests
    from export.repository import existing_versions, version_by_config, version_directory
    from serving import golden_check

    def requests(number: int) -> list[golden_requests.GoldenRequest]:
        if model is None:
            return recorded
        return golden_requests.read(version_directory(model, number))

    # The files here are checked before the server is asked.
    recorded = [] if golden is None else golden_requests.read(golden)
    among = live = None
    if model is not None:
        among = existing_versions(model)
        if version is not None:
            version_directory(model, version)  # that it is there
        elif label is None:
            live = version_by_config(model, name=connection.name)
    with connection.client(server, connection.served_name(model), timeout) as client:
        check = golden_check.probe(
            client, requests, among=among, live=live, version=version, label=label
        )
    if json:
        print_json({"server": server, "ok": check.passed, "detail": check.detail})
    elif check.passed:
        typer.echo(f"ok: {check.detail}")
    if not check.passed:
        note(f"error: {server}: {check.detail}")
        raise typer.Exit(REFUSED)
