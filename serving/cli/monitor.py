"""``tfkmeans monitor``: compare recent answers with the model's card."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.drift import Drift, DriftThresholds, largest_changes, measure_drift
from export.model_card import ModelCard
from serving.tables.messages import format_count
from serving.tables.reading_options import ReadingOptions

from .arguments import JsonOption, ModelOption, examples, parse_amount
from .client_options import ConnectionOptions, TimeoutOption
from .errors import UserMistake
from .exit_codes import REFUSED
from .extras import needs_extra
from .input_tables import FileOptions, check_served_columns, check_use, count_rows, open_tables
from .option_groups import flat_options
from .terminal import note, print_json, print_table, progress
from .version_options import VersionOptions

if TYPE_CHECKING:
    from export.drift import RecentAnswers
    from serving.clients.grpc_client import GrpcClient

EXAMPLES: Final = examples(
    (
        "Yesterday's output of batch-score; exit code 3 on drift",
        "tfkmeans monitor scored/2025-06-01 --model models/customers",
    ),
    (
        "A sample of rows, sent to the live version on a server",
        "tfkmeans monitor sample.csv --server localhost:8500 --model models/customers",
    ),
)

#: Clusters that a person is shown; --json has all.
_SHOWN_CLUSTERS: Final = 12


@flat_options
def monitor(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Outputs of batch-score, files or folders; with --server, rows to send.",
        ),
    ],
    model: ModelOption,
    version: VersionOptions = VersionOptions(),
    file_options: FileOptions = FileOptions(),
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Send the rows of FILE to this server over gRPC."),
    ] = None,
    max_psi: Annotated[
        float,
        typer.Option(
            "--max-psi",
            parser=parse_amount,
            metavar="X",
            help="Report drift above this population stability index of the cluster shares.",
        ),
    ] = DriftThresholds.max_psi,
    max_distance_change: Annotated[
        float,
        typer.Option(
            "--max-distance-change",
            parser=parse_amount,
            metavar="X",
            help="Report drift if a quantile of the distances changes by more than this share.",
        ),
    ] = DriftThresholds.max_distance_change,
    max_rejected_rise: Annotated[
        float,
        typer.Option(
            "--max-rejected-rise",
            parser=parse_amount,
            metavar="X",
            help="Report drift if the share of rows without an answer rises by more than this.",
        ),
    ] = DriftThresholds.max_rejected_rise,
    timeout: TimeoutOption = 30.0,
    connection: ConnectionOptions = ConnectionOptions(),
    json: JsonOption = False,
) -> None:
    """Compare recent answers with the card of the version that gave them; exit code 3 on drift.

    The version is that of --version or --label, or else the version in FILE, or the live one. A
    figure counts as drift only if it exceeds both its threshold and the random variation for this
    number of rows.
    """
    connection.check_server(server)
    reading = file_options.reading(files, "FILE")
    if server is None:
        number, card, recent = _read(files, model, version, connection.name, reading)
    else:
        _, number, card = version.read(model, name=connection.name)
        check_served_columns(server, card)
        with connection.client(server, connection.served_name(model), timeout) as client:
            recent = _ask(client, files, number, card, reading)
    found = measure_drift(card, recent)
    thresholds = DriftThresholds(max_psi, max_distance_change, max_rejected_rise)
    beyond = found.beyond(thresholds)
    if json:
        print_json(_as_json(model, number, found, thresholds, beyond))
    else:
        _show(model, number, found)
    for line in beyond:
        note(f"drift: {line}")
    if beyond:
        raise typer.Exit(REFUSED)
    if not json:
        typer.echo("no drift")


def _read(
    files: list[Path],
    model: Path,
    version: VersionOptions,
    name: str | None,
    reading: ReadingOptions,
) -> tuple[int, ModelCard, "RecentAnswers"]:
    with needs_extra("batch"):
        from serving.batch.drift_input import find_version, open_output, read_outputs

        outputs = [open_output(path) for path in files]
        check_use(reading, [file for output in outputs for file in output.files])
    said = find_version(outputs)
    if said is not None and not version.is_given:
        version = VersionOptions(said)
    _, number, card = version.read(model, name=name)
    if said not in (None, number):
        asked = f"--version {number}"
        if version.label is not None:
            asked = f"--label {version.label} (version {number})"
        raise UserMistake(
            f"{asked}: the output comes from version {said}; give that version, or leave it out"
        )
    with progress("reading") as tell, needs_extra("batch"):
        recent = read_outputs(outputs, card.n_clusters, on_rows=count_rows(tell), reading=reading)
    return number, card, recent


def _ask(
    client: "GrpcClient",
    files: list[Path],
    version: int,
    card: ModelCard,
    reading: ReadingOptions,
) -> "RecentAnswers":
    """All answers come from one version, whose card is the baseline."""
    with open_tables(files, "batch", reading=reading) as given:
        from serving.batch.drift_input import ask_server
        from serving.tables.model_rows import ModelColumns, select_rows

        tables = select_rows(given.tables, ModelColumns.of(card))
        with progress("asking") as tell, needs_extra("batch"):
            return ask_server(
                client,
                tables,
                card.n_clusters,
                version,
                on_rows=count_rows(tell),
            )


def _as_json(
    model: Path, version: int, found: Drift, thresholds: DriftThresholds, beyond: list[str]
) -> dict[str, Any]:
    return {
        "model": str(model),
        "version": version,
        "drift": bool(beyond),
        "findings": beyond,
        **asdict(found),
        "thresholds": asdict(thresholds),
    }


def _show(model: Path, version: int, found: Drift) -> None:
    typer.echo(f"{model}, version {version}: {format_count(found.rows, 'recent row')}")
    shown = largest_changes(found.clusters, _SHOWN_CLUSTERS)
    rows = [
        [f"cluster {each.index}", f"{each.baseline:.1%}", f"{each.recent:.1%}"] for each in shown
    ]
    rows += [
        [
            f"distance, {float(each.quantile):.0%} quantile",
            f"{each.baseline:.4g}",
            f"{each.recent:.4g}",
        ]
        for each in found.distances
    ]
    rows.append(["rejected rows", f"{found.rejected_baseline:.1%}", f"{found.rejected_recent:.1%}"])
    print_table(["", "training", "recent"], rows)
    if len(shown) < len(found.clusters):
        typer.echo(f"the {len(shown)} clusters of {len(found.clusters)} with the largest changes")
    if found.psi is not None:
        typer.echo(
            f"population stability index of the clusters {found.psi:.3f}; random variation "
            f"reaches up to {found.psi_by_chance:.3f}"
        )
    if not found.distances and found.psi is not None:
        note("the card has no distances, because the model was imported: only shares are compared")
