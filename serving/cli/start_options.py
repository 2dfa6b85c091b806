"""Initial centroids, number of iterations, and checkpoints of a fit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import typer

from export.addresses import is_address
from export.feature_names import shorten_names

from .arguments import integer, parse_name
from .errors import UserMistake
from .streaming_options import STREAM_PANEL
from .terminal import note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.published_version import PublishedVersion

#: How the first centroids are found, where no published version is named.
_DRAWN: Final = ("k-means++", "k-means||", "random")


class SeedingName(StrEnum):
    """The rows that the initial centroids come from."""

    SAMPLE = "sample"
    ALL = "all"


def _parse_init(text: object) -> str:
    given = str(text)
    if given not in _DRAWN and not is_address(given) and not Path(given).is_dir():
        raise typer.BadParameter(
            f"{given!r} is neither a method nor a model folder; give {', '.join(_DRAWN)}, or a "
            "folder"
        )
    return given


@dataclass(frozen=True)
class StartOptions:
    """The start and the end of a fit."""

    panel: ClassVar[str] = "Fit"

    init: Annotated[
        str,
        typer.Option(
            parser=_parse_init,
            metavar="NAME|BASE",
            help=f"Method for the initial centroids: {', '.join(_DRAWN)}; or a published model, "
            "to use its centroids.",
        ),
    ] = _DRAWN[0]
    version: Annotated[
        int | None,
        typer.Option(
            parser=integer(0),
            metavar="N",
            help="With --init BASE: its version; by default the live one.",
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            parser=parse_name,
            metavar="LABEL",
            help="With --init BASE: the version with this label.",
        ),
    ] = None
    n_init: Annotated[
        int | None,
        typer.Option(
            parser=integer(1),
            metavar="N",
            help="Number of starts, of which the best is kept; by default 10 up to 100,000 rows, "
            "1 above; for a sample 10, and 5 above.",
        ),
    ] = None
    seeding: Annotated[
        SeedingName | None,
        typer.Option(
            help="Take the initial centroids from a fit of a sample, or draw them from all rows; "
            "by default all, and sample for rows that do not fit in memory.",
            rich_help_panel=STREAM_PANEL,
        ),
    ] = None
    approximate: Annotated[
        bool,
        typer.Option(
            "--approximate",
            help="Fit a sample, and stop after --passes iterations over all rows.",
            rich_help_panel=STREAM_PANEL,
        ),
    ] = False
    passes: Annotated[
        int | None,
        typer.Option(
            parser=integer(1),
            metavar="N",
            help="With --approximate: iterations over all rows; by default 1.",
            rich_help_panel=STREAM_PANEL,
        ),
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Save the state of the fit in DIR after each iteration: the same command resumes.",
            rich_help_panel=STREAM_PANEL,
        ),
    ] = None

    def check(self) -> None:
        """Check that the options make sense together. Raises UserMistake."""
        if self.passes is not None and not self.approximate:
            raise UserMistake(f"--passes {self.passes}: requires --approximate; add it")
        if self.approximate and self.seeding is SeedingName.ALL:
            raise UserMistake(
                "--seeding all: conflicts with --approximate, which begins with a "
                "sample; leave one out"
            )
        if self.version is not None and self.label is not None:
            raise UserMistake(
                f"--version {self.version} and --label {self.label}: conflict; give one of them"
            )
        if not self._is_version:
            for flag, value in (("--version", self.version), ("--label", self.label)):
                if value is not None:
                    raise UserMistake(f"{flag} {value}: requires --init BASE; give a model there")
            return
        for flag, is_given in (
            ("--n-init", self.n_init is not None),
            ("--seeding", self.seeding is not None),
            ("--approximate", self.approximate),
        ):
            if is_given:
                raise UserMistake(
                    f"{flag}: conflicts with --init {self.init}, which gives the centroids; leave "
                    "it out" + ("; --max-iter ends it earlier" if flag == "--approximate" else "")
                )

    def announce_stream(self, reason: str, *, asked_by: str | None) -> None:
        """Report that the rows are streamed, and the consequences. Raises UserMistake.

        Args:
            reason: why.
            asked_by: the option by which the user asked for it, where memory may hold the rows.
        """
        if self.seeding is SeedingName.ALL:
            mend = f"leave out {asked_by}" if asked_by else "give more memory by --memory"
            raise UserMistake(
                f"--seeding all: {reason}, so each drawn centroid would need one more reading of "
                f"the rows; give --seeding sample, or {mend}"
            )
        begin = "" if self._is_version else ", and the initial centroids come from a sample"
        note(f"{reason}: each iteration reads the rows from a cache{begin}")

    def parameters(self, names: Sequence[str], clusters: int) -> dict[str, Any]:
        """The arguments of ``fit`` for these features. Imports TensorFlow for --init BASE.

        Raises UserMistake, ExportError.
        """
        if self._is_version:
            init: Any = self._read_centroids(names, clusters)
        else:
            init = self.init
        is_sample = self.approximate or self.seeding is SeedingName.SAMPLE
        seeding = "all" if self.seeding is SeedingName.ALL else "sample" if is_sample else "auto"
        return {
            "init": init,
            "n_init": self.n_init or "auto",
            "seeding": seeding,
            "passes": (self.passes or 1) if self.approximate else None,
            "checkpoint": self.checkpoint,
        }

    @contextmanager
    def explain_interruption(self) -> Iterator[None]:
        """Report how to resume an interrupted fit."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if self.has_checkpoint:
                note(f"stopped; the same command resumes from --checkpoint {self.checkpoint}")
            raise

    @property
    def has_checkpoint(self) -> bool:
        """Whether an interrupted fit has left a checkpoint there."""
        return self.checkpoint is not None and any(self.checkpoint.glob("*"))

    @property
    def _is_version(self) -> bool:
        return self.init not in _DRAWN

    def _read_centroids(self, names: Sequence[str], clusters: int) -> "NDArray[Any]":
        """The centroids of a published version, float32 [k, d], in the order of the features."""
        from export import load

        found = load(self.init, self.version, label=self.label)
        card = found.card
        where = f"--init {self.init}: version {found.version}"
        if card.n_clusters != clusters:
            raise UserMistake(
                f"{where} has {card.n_clusters} clusters, and --clusters is {clusters}; give the "
                "same number for both"
            )
        if sorted(card.feature_names) != sorted(names):
            raise UserMistake(
                f"{where} has the features {shorten_names(card.feature_names)}, and the rows have "
                f"{shorten_names(names)}; choose the same with --columns"
            )
        note(f"starting from the centroids of version {found.version} of {self.init}")
        return _in_order(found, names)


def _in_order(version: "PublishedVersion", names: Sequence[str]) -> "NDArray[Any]":
    place = {name: index for index, name in enumerate(version.card.feature_names)}
    return version.decode().centroid[:, [place[name] for name in names]]
