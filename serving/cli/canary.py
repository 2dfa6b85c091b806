"""``tfkmeans canary``: let a version answer beside the stable one."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, integer
from .client_options import ConnectionOptions
from .errors import UserMistake
from .label_options import BaseArgument, DryRunOption, StepOptions, show_move
from .option_groups import flat_options

EXAMPLES: Final = examples(
    (
        "Version 3 answers who asks for the label canary",
        "tfkmeans canary models/customers 3 --server localhost:8500",
    ),
    ("No version does any more", "tfkmeans canary models/customers --off"),
)


@flat_options
def canary(
    base: BaseArgument,
    version: Annotated[
        int | None,
        typer.Argument(parser=integer(0), metavar="VERSION", help="A version of the model."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Take the label canary away.")] = False,
    steps: StepOptions = StepOptions(),
    connection: ConnectionOptions = ConnectionOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Load a version beside the stable one, under the label canary.

    A canary above the stable version also answers who asks for neither a version nor a label: such
    requests go to the highest version that is loaded.
    """
    if off == (version is not None):
        raise UserMistake("which version is the canary? give VERSION, or --off for none")
    from export import label_moves

    plan = steps.move(
        base,
        lambda entry: label_moves.canary(base, entry, version),
        connection,
        dry_run=dry_run,
    )
    show_move(base, plan, server=steps.server, dry_run=dry_run, as_json=json)
