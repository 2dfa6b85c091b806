"""``tfkmeans metadata``: the versions of a model on a server, and their inputs and outputs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import typer

from serving.clients.results import Tensor

from .arguments import JsonOption, ModelOrPlace, examples
from .client_options import (
    ConnectionOptions,
    RequiredServerOption,
    ServedLabelOption,
    TimeoutOption,
)
from .option_groups import flat_options
from .terminal import print_json
from .version_options import ServedVersionOption

EXAMPLES: Final = examples(
    (
        "The versions of a model, and the signatures of the latest",
        "tfkmeans metadata --server localhost:8500 --name customers",
    ),
    (
        "The version with a label, as JSON",
        "tfkmeans metadata --server localhost:8500 --model models/customers --label stable --json",
    ),
)


@flat_options
def metadata(
    server: RequiredServerOption,
    model: ModelOrPlace = None,
    version: ServedVersionOption = None,
    label: ServedLabelOption = None,
    timeout: TimeoutOption = 5.0,
    connection: ConnectionOptions = ConnectionOptions(),
    json: JsonOption = False,
) -> None:
    """Print the state of every version on the server, and the signatures of one."""
    asked = connection.served_name(model)
    client = connection.client(server, asked, timeout)
    with client:
        states = client.status()
        found = client.metadata(version=version, label=label)
    if json:
        versions = [asdict(state) for state in states]
        print_json({"server": server, "model": asked, "versions": versions, **asdict(found)})
        return
    typer.echo(f"{asked} at {server}")
    for state in states:
        fault = f"  {state.error_code}: {state.error_message}" if state.error_code != "OK" else ""
        typer.echo(f"  version {state.version}  {state.state}{fault}")
    typer.echo(f"signatures of version {found.version}")
    for signature, tensors in found.signatures.items():
        typer.echo(f"  {signature}")
        typer.echo(f"    inputs   {_format_tensors(tensors.inputs)}")
        typer.echo(f"    outputs  {_format_tensors(tensors.outputs)}")


def _format_tensors(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items()) or "nothing"
