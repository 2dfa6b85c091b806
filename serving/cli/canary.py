"""``tfkmeans canary``: load a version next to the stable one."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, integer
from .client_options import ConnectionOptions
from .errors import UserMistake
from .label_options import BaseArgument, DryRunOption, StepOptions, show_move
from .option_groups import flat_options

EXAMPLES: Final = examples(
    (
        "Version 3 answers requests for the label canary",
        "tfkmeans canary models/customers 3 --server localhost:8500",
    ),
    ("End the canary", "tfkmeans canary models/customers --off"),
)


@flat_options
def canary(
    base: BaseArgument,
    version: Annotated[
        int | None,
        typer.Argument(parser=integer(0), metavar="VERSION", help="A version of the model."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Remove the label canary.")] = False,
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Load a version next to the stable one, under the label canary.

    A canary above the stable version also answers requests without version or label, because these
    go to the highest loaded version.
    """
    if off == (version is not None):
        raise UserMistake("give VERSION or --off, not both" if off else "specify VERSION, or --off")
    from export import label_moves

    plan = steps.move(
        base,
        lambda entry: label_moves.canary(base, entry, version),
        connection,
        dry_run=dry_run,
    )
    show_move(base, plan, server=steps.server, dry_run=dry_run, as_json=json)
