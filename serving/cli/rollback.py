"""``tfkmeans rollback``: the version that was live before is live again."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, integer
from .client_options import ConnectionOptions
from .label_options import BaseArgument, DryRunOption, StepOptions, show_move
from .option_groups import flat_options
from .terminal import note

EXAMPLES: Final = examples(
    (
        "The new version turns out bad",
        "tfkmeans rollback models/customers --server localhost:8500",
    ),
    ("To a version that is known to be good", "tfkmeans rollback models/customers --to 4"),
)


@flat_options
def rollback(
    base: BaseArgument,
    to: Annotated[
        int | None,
        typer.Option(
            parser=integer(0), metavar="V", help="The version to go to; the one before, by default."
        ),
    ] = None,
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Move the label stable one step back in history.jsonl, then unload the version it was on."""
    from export import label_moves

    plan = steps.move(
        base,
        lambda entry: label_moves.rollback(base, entry, to, note),
        connection,
        dry_run=dry_run,
    )
    show_move(base, plan, server=steps.server, dry_run=dry_run, as_json=json)
