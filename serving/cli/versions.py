"""``tfkmeans versions``: the versions of a model, and their state."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from export.errors import InvalidCandidate
from export.model_card import ModelCard
from export.models_config import ModelsConfig
from export.repository import existing_versions, version_directory
from serving.report.numbers import format_number

from .arguments import JsonOption, examples
from .client_options import ConnectionOptions, ServerOption, TimeoutOption
from .label_options import BaseArgument, NoEffectOption
from .option_groups import flat_options
from .terminal import print_json, print_table

if TYPE_CHECKING:
    from serving.clients.results import VersionStatus

EXAMPLES: Final = examples(
    ("The versions of a model, and their labels", "tfkmeans versions models/customers"),
    (
        "Also the state on a running server",
        "tfkmeans versions models/customers --server localhost:8500",
    ),
)


@flat_options
def list_versions(
    base: BaseArgument,
    server: ServerOption = None,
    timeout: TimeoutOption = 5.0,
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: NoEffectOption = False,
    json: JsonOption = False,
) -> None:
    """Show the versions of a model: labels, time, clusters, inertia, and state on a server."""
    connection.check_server(server)
    there = existing_versions(base)
    config = ModelsConfig.read(base, connection.name)
    states: dict[int, str] = {}
    if server is not None:
        with connection.client(server, connection.served_name(base), timeout) as client:
            states = {each.version: _describe_state(each) for each in client.status()}
    rows = [_row(base, version, config.labels, states) for version in there]
    if json:
        if server is None:
            for row in rows:
                del row["state"]
        print_json({"model": str(base), "versions": rows, "server": _describe_effect(config)})
        return
    names = ["version", "labels", "created", "k", "inertia", *(["state"] if server else [])]
    print_table(names, [[_format_cell(row[name]) for name in names] for row in rows])
    typer.echo(_describe_effect(config))


def _describe_state(status: "VersionStatus") -> str:
    if status.error_code == "OK":
        return status.state
    return f"{status.state} ({' '.join(status.error_message.split())})"


def _row(
    base: Path, version: int, labels: Mapping[str, int], states: Mapping[int, str]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "version": version,
        "labels": sorted(label for label, on in labels.items() if on == version),
        "created": None,
        "k": None,
        "inertia": None,
        "state": states.get(version),
    }
    try:
        card = ModelCard.read(version_directory(base, version))
    except InvalidCandidate:  # what is wrong with it, `verify` says
        return row
    return row | {"created": card.created, "k": card.n_clusters, "inertia": card.inertia}


def _format_cell(value: Any) -> str:
    if isinstance(value, float):
        return format_number(value, 6)
    if isinstance(value, list):
        return ", ".join(value)
    return "-" if value is None else str(value)


def _describe_effect(config: ModelsConfig) -> str:
    """One line: the versions of this model that a server loads."""
    if not config.has_entry:
        return "no entry in models.config: a server of the folder serves the highest version"
    if not config.lists_versions:
        return "the entry in models.config does not list versions: its policy selects them"
    entry = config.entry
    if entry is None or not entry.versions:
        return "models.config lists no version of the model"
    loaded = ", ".join(map(str, entry.versions))
    return (
        f"according to models.config a server loads {loaded}; requests without version or label "
        f"go to version {max(entry.versions)}"
    )
