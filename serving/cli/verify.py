"""``tfkmeans verify``: check that versions are unchanged and answer as at export."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.errors import PublishRefused
from export.repository import existing_versions, version_directory

from .arguments import JsonOption, examples, integer
from .client_options import ConnectionOptions, ServerOption, TimeoutOption
from .exit_codes import REFUSED
from .label_options import BaseArgument, NoEffectOption
from .option_groups import flat_options
from .tensorflow_import import require_tensorflow
from .terminal import note, print_json, progress

if TYPE_CHECKING:
    from serving.clients.grpc_client import GrpcClient

EXAMPLES: Final = examples(
    ("Every version of a model", "tfkmeans verify models/customers"),
    (
        "Also compare the answers of a running server",
        "tfkmeans verify models/customers 3 --server localhost:8500",
    ),
)


@flat_options
def verify(
    base: BaseArgument,
    version: Annotated[
        int | None,
        typer.Argument(parser=integer(0), metavar="VERSION", help="A version; by default all."),
    ] = None,
    server: ServerOption = None,
    timeout: TimeoutOption = 30.0,
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: NoEffectOption = False,
    json: JsonOption = False,
) -> None:
    """Check the hashes of a version's files, and replay its golden requests; exit code 3 on a
    difference.

    With --server, the golden requests of loaded versions are also sent to the server.
    """
    connection.check_server(server)
    chosen = existing_versions(base)
    if version is not None:
        chosen = (int(version_directory(base, version).name),)
    results: list[dict[str, Any]] = []
    not_loaded: list[int] = []
    with progress("verifying") as tell, ExitStack() as stack:
        client = loaded = None
        if server is not None:
            name = connection.served_name(base)
            client = stack.enter_context(connection.client(server, name, timeout))
            loaded = {each.version for each in client.status() if each.state == "AVAILABLE"}
        for number in chosen:
            if version is None and loaded is not None and number not in loaded:
                not_loaded.append(number)
                continue
            tell(f"version {number}")
            if loaded is not None and number not in loaded:
                found = [f"{server} has not loaded version {number}"]
            else:
                found = _findings(version_directory(base, number))
            if client is not None and not found:
                found = _server_findings(client, str(server), version_directory(base, number))
            results.append({"version": number, "ok": not found, "findings": found})
    if not results:
        note(f"error: {server} has loaded none of the versions {', '.join(map(str, chosen))}")
        raise typer.Exit(REFUSED)
    _show(base, results, not_loaded, server, as_json=json)
    if not all(each["ok"] for each in results):
        raise typer.Exit(REFUSED)


def _findings(directory: Path) -> list[str]:
    """Faults of the files; the hashes are checked first, without TensorFlow."""
    from export import file_hashes
    from export.validation import validate

    if found := file_hashes.find_changes(directory):
        return found
    require_tensorflow("train")
    try:
        validate(directory, name=f"version {directory.name}")
    except PublishRefused as error:
        return [str(error)]
    return []


def _server_findings(client: "GrpcClient", server: str, directory: Path) -> list[str]:
    from serving.golden_check import check_version

    checks = check_version({server: client}, directory, int(directory.name))
    return [f"{check.subject}: {check.detail}" for check in checks if not check.passed]


def _show(
    base: Path,
    results: Sequence[Mapping[str, Any]],
    not_loaded: Sequence[int],
    server: str | None,
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "model": str(base),
                "ok": all(each["ok"] for each in results),
                "versions": results,
                "not_loaded": not_loaded,
            }
        )
        return
    for each in results:
        typer.echo(f"version {each['version']}: {'; '.join(each['findings']) or 'ok'}")
    for number in not_loaded:
        typer.echo(f"version {number}: not verified, {server} has not loaded it")
