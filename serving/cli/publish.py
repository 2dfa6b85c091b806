"""``tfkmeans publish``: publish a candidate as the next version of a model."""

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
        "Publish a candidate of train",
        "tfkmeans publish candidates/today models/customers",
    ),
    (
        "Check whether it would be refused",
        "tfkmeans publish candidates/today models/customers --dry-run",
    ),
    (
        "Publish to an object store",
        "tfkmeans publish candidates/today gs://bucket/models/customers",
    ),
)


@flat_options
def publish_candidate(
    candidate: Annotated[
        Path,
        typer.Argument(
            parser=local_folder, metavar="CANDIDATE", help="A folder from train --candidate."
        ),
    ],
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder of the model.")],
    gate: GateOptions = GateOptions(),
    file_options: FileOptions = FileOptions(),
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Check a candidate by the gate, and publish it as the next version.

    A fresh process loads it and replays its golden requests; then it is compared with the live
    version. The first version of a model is live at once, a later one after promote.
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
    """One line: the effect of a published version on the server."""
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
        f"the server keeps version {entry.stable}; to make version {version} live: tfkmeans "
        f"promote {base} {version}"
    )


def describe_left_out(card: ModelCard) -> list[tuple[str, str]]:
    """A field that names the missing signatures of the model; none if it has all."""
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
        ("compared with the live version", "there is none")
        if not comparisons
        else (
            f"compared with version {comparisons[0].live_version}",
            format_comparison(comparisons[0]),
        )
    )
    verb = "Dry run. This would publish" if dry_run else "published"
    shown = [] if dry_run else [("server", effect)]
    print_fields(f"{verb} {path}", [against, *describe_left_out(card), *shown])
