"""The options of the publish gate, and its figures: what ``publish`` and ``train`` share."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.comparison import Thresholds
from export.errors import PublishRefused

from .arguments import not_negative, share
from .terminal import note, print_json
from .training_input import read_model_rows

if TYPE_CHECKING:
    from export.comparison import Comparison
    from export.publishing import PublishOptions

InertiaOption = Annotated[
    float,
    typer.Option(
        "--max-inertia-rise",
        parser=not_negative,
        metavar="X",
        help="Refuse when the inertia is higher than the live version's by more than this share.",
    ),
]
KeptOption = Annotated[
    float,
    typer.Option(
        "--min-rows-kept",
        parser=share,
        metavar="X",
        help="Refuse when a smaller share of the rows keeps its cluster of the live version.",
    ),
]
ShareOption = Annotated[
    float,
    typer.Option(
        "--max-share-change",
        parser=not_negative,
        metavar="X",
        help="Refuse when a cluster's share of the rows changes by more than this.",
    ),
]
HoldoutOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Rows to compare with the live version on; by default a sample of the training rows.",
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", help="Publish however far it is from the live version; the card says so."
    ),
]


@contextmanager
def publish_options(
    base: str,
    names: Sequence[str],
    comparisons: "list[Comparison]",
    *,
    thresholds: Thresholds,
    holdout: Sequence[Path] | None,
    force: bool,
    served_at: str | None,
    as_json: bool,
) -> Iterator["PublishOptions"]:
    """What ``export.publish`` is told; a refusal is printed as JSON too, when that is asked for.

    ``names`` are the columns of the model, and the figures of the gate join ``comparisons``.
    """
    shown = _refusal_shown(base, comparisons, as_json=as_json)
    with _holdout_file(holdout, names) as holdout_file, shown:
        yield {
            "thresholds": thresholds,
            "holdout": holdout_file,
            "force": force,
            "served_at": served_at,
            "on_comparison": comparisons.append,
            "tell": note,
        }


@contextmanager
def _holdout_file(files: Sequence[Path] | None, names: Sequence[str]) -> Iterator[Path | None]:
    """The rows of files, with the model's columns, as an .npy file; None without files."""
    if not files:
        yield None
        return
    import numpy as np

    rows = read_model_rows(files, names, "batch")
    with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
        path = Path(scratch) / "holdout.npy"
        np.save(path, rows)
        yield path


@contextmanager
def _refusal_shown(
    base: str, comparisons: "Sequence[Comparison]", *, as_json: bool
) -> Iterator[None]:
    """Print what the gate found as JSON too, when it refuses and JSON was asked for."""
    try:
        yield
    except PublishRefused as error:
        if as_json:
            comparison = figures(comparisons)
            print_json(
                {"model": base, "version": None, "comparison": comparison, "refused": str(error)}
            )
        raise


def figures(comparisons: "Sequence[Comparison]") -> dict[str, Any] | None:
    """The comparison, where there was one, as JSON has it."""
    return asdict(comparisons[0]) if comparisons else None


def figures_line(comparison: "Comparison") -> str:
    """The comparison as people read it."""
    return (
        f"inertia {comparison.inertia_rise:+.1%}, {comparison.rows_kept:.1%} of "
        f"{comparison.rows:,} rows keep their cluster, shares change by up to "
        f"{comparison.share_change:.1%}"
    )


def note_force(forced: Sequence[str]) -> None:
    """Say what was passed over."""
    for line in forced:
        note(f"warning: published by force: {line}")
