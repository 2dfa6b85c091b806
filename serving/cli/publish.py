"""``tfkmeans publish``: a candidate becomes the next version of a model."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from export.addresses import is_address
from export.feature_names import join_names
from export.model_card import ModelCard
from export.models_config import path_of
from export.published_version import load
from export.publishing import publish
from export.repository import config_entry
from kmeans_module.contract import MOST_COLUMNS

from .arguments import JsonOption, examples, local_folder
from .gate_options import GateOptions, comparison_as_json, format_comparison, note_force
from .input_tables import FileOptions
from .label_options import DryRunOption
from .option_groups import flat_options
from .tensorflow_import import load_tensorflow, require_tensorflow
from .terminal import print_fields, print_json, progress

if TYPE_CHECKING:
    from export.comparison import Comparison

EXAMPLES: Final = examples(
    (
        "A candidate that train wrote, after a look at its figures",
        "tfkmeans publish candidates/today models/customers",
    ),
    (
        "Would it be refused?",
        "tfkmeans publish candidates/today models/customers --dry-run",
    ),
    ("To an object store", "tfkmeans publish candidates/today gs://bucket/models/customers"),
)


@flat_options
def publish_candidate(
    candidate: Annotated[
        Path,
        typer.Argument(
            parser=local_folder, metavar="CANDIDATE", help="What train --candidate wrote."
        ),
    ],
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder of the model.")],
    gate: GateOptions = GateOptions(),
    file_options: FileOptions = FileOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Publish a candidate as the next version, after the gate has let it through.

    It is loaded in a fresh process, replays its golden requests and is compared with the live
    version. The first version of a model is live; a later one when it is promoted.
    """
    comparisons: list[Comparison] = []
    reading = file_options.reading(gate.holdout, "--holdout")
    with progress("publishing") as tell:
        tell("loading it and replaying its golden requests")
        (load_tensorflow if is_address(base) else require_tensorflow)("train")
        takes = None
        if gate.holdout:
            from serving.tables.model_rows import ModelColumns

            takes = ModelColumns.of(ModelCard.read(candidate))
        with gate.for_publishing(
            base, takes, comparisons, reading=reading, as_json=json
        ) as options:
            version = publish(candidate, base, dry_run=dry_run, **options)
    forced = () if dry_run else load(base, version).card.forced
    effect = describe_publish(base, version, dry_run=dry_run)
    note_force(forced)
    card = replace(ModelCard.read(candidate), forced=forced)
    _show(base, version, comparisons, card, effect, dry_run=dry_run, as_json=json)


def describe_publish(
    base: str | Path, version: int, *, served_as: str | None = None, dry_run: bool
) -> str:
    """One line: what the server does about a version that was published."""
    if is_address(base):
        would = "would load" if dry_run else "loads"
        return f"a server that serves the latest version of {base} {would} it"
    base = Path(base)
    entry = config_entry(base, served_as)
    if dry_run:
        return f"Dry run. This would publish version {version}"
    if entry is None or version in entry.versions:
        return f"the server loads version {version} as soon as it reads {path_of(base)}"
    return (
        f"the server goes on with version {entry.stable}; version {version} goes live by: "
        f"tfkmeans promote {base} {version}"
    )


def describe_left_out(card: ModelCard) -> list[tuple[str, str]]:
    """A field that names the signatures which the model has not; none where it has all."""
    if not card.signatures_left_out:
        return []
    names = join_names(card.signatures_left_out)
    return [("left out", f"{names}, for more than {MOST_COLUMNS} columns")]


def _show(
    base: str,
    version: int,
    comparisons: "list[Comparison]",
    card: ModelCard,
    effect: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    path = f"{base.rstrip('/')}/{version}"
    if as_json:
        print_json(
            {
                "model": base,
                "version": version,
                "path": path,
                "dry_run": dry_run,
                "comparison": comparison_as_json(comparisons),
                "forced": list(card.forced),
                "signatures_left_out": list(card.signatures_left_out),
                "server": effect,
            }
        )
        return
    against = (
        ("against the live version", "there is none to compare with")
        if not comparisons
        else (f"against version {comparisons[0].live_version}", format_comparison(comparisons[0]))
    )
    verb = "would publish" if dry_run else "published"
    print_fields(f"{verb} {path}", [against, *describe_left_out(card), ("server", effect)])
