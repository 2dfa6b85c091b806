"""The options and figures of the publish gate, for ``publish`` and ``train``."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from export.comparison import Thresholds
from export.errors import PublishRefused
from serving.tables.reading_options import ReadingOptions

from .arguments import parse_amount, parse_share
from .label_options import ServedAtOption
from .terminal import note, print_json
from .training_input import read_model_rows

if TYPE_CHECKING:
    from export.comparison import Comparison
    from export.publishing import PublishOptions
    from serving.tables.model_rows import ModelColumns


@dataclass(frozen=True)
class GateOptions:
    """Limits on the difference from the live version, and the rows to measure it on."""

    panel: ClassVar[str] = "Gate"

    max_inertia_rise: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Refuse if the inertia is higher than that of the live version by more than "
            "this share.",
        ),
    ] = Thresholds.max_inertia_rise
    min_rows_kept: Annotated[
        float,
        typer.Option(
            parser=parse_share,
            metavar="X",
            help="Refuse if a smaller share of the rows keeps its cluster of the live version.",
        ),
    ] = Thresholds.min_rows_kept
    max_share_change: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Refuse if the share of a cluster changes by more than this.",
        ),
    ] = Thresholds.max_share_change
    holdout: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Rows for the comparison with the live version; by default a sample of the "
            "training rows.",
        ),
    ] = None
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Publish regardless of the difference from the live version; the "
            "card records this.",
        ),
    ] = False
    served_at: ServedAtOption = None

    @contextmanager
    def for_publishing(
        self,
        base: str,
        takes: "ModelColumns | None",
        comparisons: "list[Comparison]",
        *,
        served_as: str | None = None,
        reading: ReadingOptions = ReadingOptions(),
        as_json: bool,
    ) -> Iterator["PublishOptions"]:
        """The options of ``export.publish``; with ``as_json``, a refusal is also printed as JSON.

        ``takes`` gives the columns that the model takes from --holdout, None without --holdout. The
        figures of the gate are appended to ``comparisons``.
        """
        with _holdout_file(self.holdout, takes, reading) as holdout:
            try:
                yield {
                    "thresholds": Thresholds(
                        self.max_inertia_rise, self.min_rows_kept, self.max_share_change
                    ),
                    "holdout": holdout,
                    "force": self.force,
                    "served_at": self.served_at,
                    "served_as": served_as,
                    "on_comparison": comparisons.append,
                    "tell": note,
                }
            except PublishRefused as error:
                if as_json:
                    found = {"comparison": comparison_as_json(comparisons), "refused": str(error)}
                    print_json({"model": base, "version": None, **found})
                raise


@contextmanager
def _holdout_file(
    files: Sequence[Path] | None, takes: "ModelColumns | None", reading: ReadingOptions
) -> Iterator[Path | None]:
    """The rows of files, as the model takes them, in a file for the gate; None without files."""
    if not files or takes is None:
        yield None
        return
    import numpy as np

    from export import sample_rows
    from export.column_rows import ColumnRows

    rows, _ = read_model_rows(files, takes, "batch", reading)
    with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
        path = Path(scratch) / "holdout"
        if isinstance(rows, ColumnRows):
            sample_rows.write_columns(path, rows)
        else:
            with path.open("wb") as file:
                np.save(file, rows)
        yield path


def comparison_as_json(comparisons: "Sequence[Comparison]") -> dict[str, Any] | None:
    """The comparison for JSON; None without one."""
    return asdict(comparisons[0]) if comparisons else None


def format_comparison(comparison: "Comparison") -> str:
    """The comparison as text."""
    return (
        f"inertia {comparison.inertia_rise:+.1%}, {comparison.rows_kept:.1%} of "
        f"{comparison.rows:,} rows keep their cluster, shares change by up to "
        f"{comparison.share_change:.1%}"
    )


def note_force(forced: Sequence[str]) -> None:
    """Warn of each finding that --force ignored."""
    for line in forced:
        note(f"warning: published with --force: {line}")
