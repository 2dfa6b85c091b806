"""``tfkmeans prune``: remove versions that are not needed."""

from typing import Annotated, Final

import typer

from .arguments import JsonOption, examples, integer
from .label_options import BaseArgument, DryRunOption
from .terminal import print_json

EXAMPLES: Final = examples(
    (
        "Show the versions that would be removed",
        "tfkmeans prune models/customers --keep 5 --dry-run",
    ),
    ("Keep the five highest versions and those in use", "tfkmeans prune models/customers --keep 5"),
)


def prune(
    base: BaseArgument,
    keep: Annotated[
        int,
        typer.Option(parser=integer(0), metavar="N", help="Number of highest versions to keep."),
    ],
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Remove all versions except the N highest and those that are loaded or have a label.

    The target of a rollback is also kept. Numbers are never reused.
    """
    from export import label_moves
    from export.repository import config_entry, versions

    removed = label_moves.prune(base, keep, dry_run=dry_run)
    kept = [version for version in versions(base) if version not in removed]
    back = label_moves.rollback_target(base, config_entry(base))
    effect = "Loaded versions were not removed."
    if json:
        print_json(
            {
                "model": str(base),
                "dry_run": dry_run,
                "removed": list(removed),
                "kept": kept,
                "rollback_to": back,
                "server": effect,
            }
        )
        return
    verb = "would remove" if dry_run else "removed"
    named = f"version {', '.join(map(str, removed))}" if removed else "nothing"
    typer.echo(f"{verb} {named}; kept {', '.join(map(str, kept))}")
    if back is not None:
        typer.echo(f"rollback would go to version {back}")
    typer.echo(effect)
