"""``tfkmeans rollback``: make the previous live version live again."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, integer
from .client_options import ConnectionOptions
from .label_options import BaseArgument, DryRunOption, StepOptions, show_move
from .option_groups import flat_options
from .terminal import note

EXAMPLES: Final = examples(
    (
        "Return to the previous version",
        "tfkmeans rollback models/customers --server localhost:8500",
    ),
    ("Return to a given version", "tfkmeans rollback models/customers --to 4"),
)


@flat_options
def rollback(
    base: BaseArgument,
    to: Annotated[
        int | None,
        typer.Option(
            parser=integer(0), metavar="V", help="The target version; by default the previous one."
        ),
    ] = None,
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Move the label stable one step back in history.jsonl, then unload its old version."""
    from export import label_moves

    plan = steps.move(
        base,
        lambda entry: label_moves.rollback(base, entry, to, note),
        connection,
        dry_run=dry_run,
    )
    show_move(base, plan, server=steps.server, dry_run=dry_run, as_json=json)
