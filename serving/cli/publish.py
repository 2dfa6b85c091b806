"""``tfkmeans publish``: a candidate becomes the next version of a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from export.comparison import Thresholds
from export.model_card import ModelCard
from export.models_config import path_of
from export.repository import config_entry, publish, version_directory

from .arguments import JsonOption, examples, is_store, local_folder
from .errors import UserMistake
from .gate_options import (
    ForceOption,
    HoldoutOption,
    InertiaOption,
    KeptOption,
    ShareOption,
    figures,
    figures_line,
    holdout_rows,
    note_force,
    refusal_shown,
)
from .label_options import DryRunOption, ServedAtOption
from .tensorflow_import import load_tensorflow, require_tensorflow
from .terminal import note, print_fields, print_json, progress

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


def publish_candidate(
    candidate: Annotated[
        Path,
        typer.Argument(
            parser=local_folder, metavar="CANDIDATE", help="What train --candidate wrote."
        ),
    ],
    base: Annotated[str, typer.Argument(metavar="BASE", help="Folder of the model.")],
    max_inertia_rise: InertiaOption = Thresholds.max_inertia_rise,
    min_rows_kept: KeptOption = Thresholds.min_rows_kept,
    max_share_change: ShareOption = Thresholds.max_share_change,
    holdout: HoldoutOption = None,
    force: ForceOption = False,
    served_at: ServedAtOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Publish a candidate as the next version, after the gate has let it through.

    It is loaded in a fresh process, replays its golden requests and is compared with the live
    version. The first version of a model is live; a later one when it is promoted.
    """
    thresholds = Thresholds(max_inertia_rise, min_rows_kept, max_share_change)
    compared: list[Comparison] = []
    with progress("publishing") as tell:
        tell("loading it and replaying its golden requests")
        if not is_store(base):
            require_tensorflow("train")
        names = ModelCard.read(candidate).feature_names if holdout else ()
        shown = refusal_shown(base, compared, as_json=json)
        with holdout_rows(holdout, names) as rows, shown:
            options: dict[str, Any] = {
                "thresholds": thresholds,
                "holdout": rows,
                "force": force,
                "dry_run": dry_run,
                "on_comparison": compared.append,
            }
            if is_store(base):
                version, forced, effect = _to_store(candidate, base, served_at, options)
            else:
                version = publish(candidate, Path(base), served_at=served_at, tell=note, **options)
                forced = () if dry_run else _forced(Path(base), version)
                effect = server_effect(Path(base), version, dry_run=dry_run)
    note_force(forced)
    _show(base, version, compared, forced, effect, dry_run=dry_run, as_json=json)


def _to_store(
    candidate: Path, base: str, served_at: str | None, options: dict[str, Any]
) -> tuple[int, tuple[str, ...], str]:
    if served_at is not None:
        raise UserMistake(
            f"--served-at {served_at}: no models.config is written beside {base}; leave it out"
        )
    load_tensorflow("train")
    from export.object_store import publish_to_store

    version, forced = publish_to_store(candidate, base, **options)
    would = "would load" if options["dry_run"] else "loads"
    return version, forced, f"a server that serves the latest version of {base} {would} it"


def _forced(base: Path, version: int) -> tuple[str, ...]:
    return ModelCard.read(version_directory(base, version)).forced


def server_effect(base: Path, version: int, *, dry_run: bool) -> str:
    """One line: what the server does about a version that was published."""
    entry = config_entry(base)
    if dry_run:
        return f"dry run, nothing changed; it would be version {version}"
    if entry is None or version in entry.versions:
        return f"the server loads version {version} as soon as it reads {path_of(base)}"
    return (
        f"the server goes on with version {entry.stable}; version {version} goes live by: "
        f"tfkmeans promote {base} {version}"
    )


def _show(
    base: str,
    version: int,
    compared: "list[Comparison]",
    forced: tuple[str, ...],
    effect: str,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    comparison = compared[0] if compared else None
    path = f"{base.rstrip('/')}/{version}"
    if as_json:
        print_json(
            {
                "model": base,
                "version": version,
                "path": path,
                "dry_run": dry_run,
                "comparison": figures(comparison),
                "forced": list(forced),
                "server": effect,
            }
        )
        return
    against = (
        ("against the live version", "there is none to compare with")
        if comparison is None
        else (f"against version {comparison.live_version}", figures_line(comparison))
    )
    verb = "would publish" if dry_run else "published"
    print_fields(f"{verb} {path}", [against, ("server", effect)])
