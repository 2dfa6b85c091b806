"""``tfkmeans promote``: put a label on a version."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples
from .label_options import (
    BaseArgument,
    DryRunOption,
    PollOption,
    ServedAtOption,
    ServerOption,
    TimeoutOption,
    VersionArgument,
    move,
    show_move,
)

EXAMPLES: Final = examples(
    (
        "Version 2 goes live, and the running server follows",
        "tfkmeans promote models/customers 2 --server localhost:8500",
    ),
    (
        "What that would do",
        "tfkmeans promote models/customers 2 --dry-run",
    ),
)


def promote(
    base: BaseArgument,
    version: VersionArgument,
    label: Annotated[str, typer.Option(help="The label to put on it.")] = "stable",
    server: ServerOption = None,
    timeout: TimeoutOption = 60.0,
    poll_interval: PollOption = 30.0,
    served_at: ServedAtOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Put the label stable, or another, on a version: with stable it is live."""
    from export import label_moves

    plan = move(
        base,
        lambda entry: label_moves.promote(base, entry, version, label),
        server=server,
        timeout=timeout,
        poll_interval=poll_interval,
        dry_run=dry_run,
        served_at=served_at,
    )
    show_move(base, plan, server=server, dry_run=dry_run, as_json=json)
