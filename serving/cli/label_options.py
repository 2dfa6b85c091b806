"""Options and output of the commands that move labels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from export.models_config import is_servable

from .arguments import integer, local_folder, parse_amount
from .client_options import ConnectionOptions
from .terminal import note, print_json, progress

if TYPE_CHECKING:
    from export.label_moves import Plan
    from export.models_config import Entry


def _parse_served_folder(text: object) -> str:
    if not is_servable(str(text)):
        raise typer.BadParameter(
            f"{text} is neither an absolute path nor an address; give one of these, as a server "
            "requires"
        )
    return str(text)


BaseArgument = Annotated[
    Path, typer.Argument(parser=local_folder, metavar="BASE", help="Folder of the model.")
]
VersionArgument = Annotated[
    int, typer.Argument(parser=integer(0), metavar="VERSION", help="A version of the model.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show the effect, and change nothing.")
]
#: Of commands that only read.
NoEffectOption = Annotated[
    bool, typer.Option("--dry-run", help="No effect: this command changes nothing.")
]
ServedAtOption = Annotated[
    str | None,
    typer.Option(
        parser=_parse_served_folder,
        metavar="DIR",
        help="The folder of the model as the server sees it, for a new entry in models.config; "
        "by default its absolute path.",
    ),
]


@dataclass(frozen=True)
class StepOptions:
    """How the servers apply each step of a move."""

    panel: ClassVar[str] = "Labels on servers"

    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A running server, over gRPC: it applies each step before the next.",
        ),
    ] = None
    timeout: Annotated[
        float,
        typer.Option(parser=parse_amount, metavar="X", help="Time limit of a step in seconds."),
    ] = 60.0
    poll_interval: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Without --server: seconds between the two steps, enough for the servers to "
            "read models.config and load the version.",
        ),
    ] = 30.0

    def move(
        self,
        base: Path,
        decide: "Callable[[Entry], Plan]",
        connection: ConnectionOptions,
        *,
        served_at: str | None = None,
        dry_run: bool = False,
    ) -> "Plan":
        """Carry out a move, and report each wait."""
        from export.label_moves import carry_out

        connection.check_server(self.server)
        client = None
        if self.server is not None:
            client = connection.reload_client(self.server, self.timeout)
        with progress("moving") as tell:

            def report_step(said: str) -> None:
                tell(said)
                # What may take long, or is not in the result, is said where no bar is seen too.
                if client is None or not said.startswith("waiting for the server"):
                    note(said)

            return carry_out(
                base,
                decide,
                name=connection.name,
                server=client,
                served_at=served_at,
                poll_interval=self.poll_interval,
                dry_run=dry_run,
                tell=report_step,
            )


def show_move(
    base: Path, plan: "Plan", *, server: str | None, dry_run: bool, as_json: bool
) -> None:
    """Show the moved labels, and the effect on a server."""
    if as_json:
        print_json(_move_as_json(base, plan, server=server, dry_run=dry_run))
        return
    for each in plan.moves:
        typer.echo(f"{each.label}: {_place(each.source)} -> {_place(each.target)}")
    typer.echo(describe_effect(base, plan, server=server, dry_run=dry_run))


def _move_as_json(base: Path, plan: "Plan", *, server: str | None, dry_run: bool) -> dict[str, Any]:
    """The move for JSON."""
    return {
        "model": str(base),
        "dry_run": dry_run,
        "moves": [
            {"label": each.label, "from": each.source, "to": each.target} for each in plan.moves
        ],
        "labels": dict(sorted(plan.after.labels.items())),
        "versions": list(plan.after.versions),
        "server": describe_effect(base, plan, server=server, dry_run=dry_run),
    }


def describe_effect(base: Path, plan: "Plan", *, server: str | None, dry_run: bool) -> str:
    """One line: the effect on the server."""
    from export.models_config import path_of

    if plan.before == plan.after:
        dry = "Dry run. " if dry_run else ""
        return f"{dry}No change: the labels are already as requested."
    if dry_run:
        return f"Dry run. This would: {plan.effect}."
    if server is not None:
        return f"{server} has applied the change: {plan.effect}."
    return f"When the server next reads {path_of(base)}, it will {plan.effect}."


def _place(version: int | None) -> str:
    return "none" if version is None else f"version {version}"
