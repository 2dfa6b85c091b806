"""``tfkmeans promote``: put a label on a version."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, parse_name
from .client_options import ConnectionOptions
from .label_options import (
    BaseArgument,
    DryRunOption,
    ServedAtOption,
    StepOptions,
    VersionArgument,
    show_move,
)
from .option_groups import flat_options

EXAMPLES: Final = examples(
    (
        "Make version 2 live, on a running server too",
        "tfkmeans promote models/customers 2 --server localhost:8500",
    ),
    (
        "Show the effect without changes",
        "tfkmeans promote models/customers 2 --dry-run",
    ),
)


@flat_options
def promote(
    base: BaseArgument,
    version: VersionArgument,
    label: Annotated[
        str, typer.Option(parser=parse_name, metavar="LABEL", help="The label to move.")
    ] = "stable",
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    served_at: ServedAtOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Move the label stable, or another, to a version; stable makes it live."""
    from export import label_moves

    plan = steps.move(
        base,
        lambda entry: label_moves.promote(base, entry, version, label),
        connection,
        dry_run=dry_run,
        served_at=served_at,
    )
    show_move(base, plan, server=steps.server, dry_run=dry_run, as_json=json)
