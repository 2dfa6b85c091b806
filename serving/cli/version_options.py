"""The version that a command uses: by default the live one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from export.model_card import ModelCard
from export.repository import version_directory

from .arguments import integer, parse_name
from .errors import UserMistake

#: For commands that ask a server alone.
ServedVersionOption = Annotated[
    int | None,
    typer.Option(
        "--version",
        parser=integer(0),
        metavar="N",
        help="Version of the model; by default the latest loaded one.",
    ),
]


@dataclass(frozen=True)
class VersionOptions:
    """A version by its number or by its label in models.config; by default the live one."""

    panel: ClassVar[str] = "Version"

    version: Annotated[
        int | None,
        typer.Option(
            parser=integer(0),
            metavar="N",
            help="Version of the model; by default the live one (stable in models.config).",
        ),
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            parser=parse_name,
            metavar="LABEL",
            help="The version with this label in models.config, instead of --version.",
        ),
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether a version is given by number or label."""
        return self.version is not None or self.label is not None

    def directory(self, base: Path, *, name: str | None = None) -> Path:
        """The directory of the version; ``name`` is the model's in models.config.

        Raises UserMistake, NotAModel, VersionNotFound, InvalidModelsConfig.
        """
        if self.version is not None and self.label is not None:
            raise UserMistake(
                f"--version {self.version} and --label {self.label}: conflict; give one of them"
            )
        return version_directory(base, self.version, label=self.label, name=name)

    def read(self, base: Path, *, name: str | None = None) -> tuple[Path, int, ModelCard]:
        """Directory, number and card of the version. Raises as ``directory``; InvalidCandidate."""
        directory = self.directory(base, name=name)
        return directory, int(directory.name), ModelCard.read(directory)

    def or_place(self, place: int | None) -> "VersionOptions":
        """The same for a command with the argument VERSION. Raises UserMistake."""
        if place is None:
            return self
        if self.is_given:
            raise UserMistake(
                f"the version is given twice, as VERSION {place} and by --version or --label; give "
                "it once"
            )
        return VersionOptions(place)
