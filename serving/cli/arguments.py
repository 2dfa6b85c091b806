"""Arguments that several commands share, and their parsers."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from export.addresses import is_address, is_name

from .errors import UserMistake

_UNITS: Final = {"": 1, "B": 1} | {
    prefix + unit: base**power
    for power, prefix in enumerate("KMGT", 1)
    for unit, base in (("", 1000), ("B", 1000), ("I", 1024), ("IB", 1024))
}

#: A smaller size is probably one without its unit.
_LEAST_MEMORY: Final = 10**6

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[KMGT]I?)?B?)", re.IGNORECASE)


def integer(least: int, most: int | None = None) -> Callable[[object], int]:
    """A parser of whole numbers; unlike typer's own, its error names the value."""
    allowed = f"of at least {least}" if most is None else f"from {least} to {most}"

    def parse(text: object) -> int:
        try:
            value = int(str(text))
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise typer.BadParameter(f"{text} is not a whole number {allowed}")
        return value

    return parse


def parse_share(text: object) -> float:
    """A parser of numbers from 0 to 1."""
    value = parse_amount(text)
    if value > 1:
        raise typer.BadParameter(f"{text} is not a share; give a number from 0 to 1")
    return value


def parse_amount(text: object) -> float:
    """A parser of finite numbers of at least 0."""
    try:
        value = float(str(text))
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise typer.BadParameter(f"{text} is not a finite number of at least 0")
    return value


def amount(most: float) -> Callable[[object], float]:
    """A parser of numbers from 0 to ``most``."""

    def parse(text: object) -> float:
        value = parse_amount(text)
        if value > most:
            raise typer.BadParameter(f"{text} is not a number from 0 to {most}")
        return value

    return parse


def parse_size(text: object) -> int:
    """A parser of sizes in bytes, such as 2GB, 500MB and 1.5GiB."""
    found = _SIZE.fullmatch(str(text).strip())
    size = float(found[1]) * _UNITS[found[2].upper()] if found else 0
    if size < 1:
        raise typer.BadParameter(f"{text} is not a size; give a size such as 2GB or 500MB")
    return int(size)


def parse_memory(text: object) -> int:
    """A parser of sizes of memory in bytes, at least 1 MB."""
    size = parse_size(text)
    if size < _LEAST_MEMORY:
        unit = str(text).strip()
        hint = f"; did you mean {unit}GB?" if unit[-1].isdigit() else ""
        raise typer.BadParameter(f"{text} is less than 1 MB{hint}")
    return size


def parse_name(text: object) -> str:
    """A parser of names of models and labels."""
    if not is_name(str(text)):
        raise typer.BadParameter(
            f"{text!r}: not a valid name; use printable characters without / and :"
        )
    return str(text)


def local_folder(text: object) -> Path:
    """A folder that can be renamed. Raises UserMistake for the address of an object store."""
    if is_address(str(text)):
        raise UserMistake(
            f"{text}: object stores have no rename, so only publish and serve support them; give "
            "a local folder"
        )
    return Path(str(text))


_MODEL: Final = typer.Option(
    "--model", metavar="BASE", help="Folder of the model, with its version folders."
)
_LOCAL_MODEL: Final = typer.Option(
    "--model",
    parser=local_folder,
    metavar="BASE",
    help="Folder of the model, with its version folders.",
)
ModelOption = Annotated[Path, _LOCAL_MODEL]
#: For commands that take BASE by its place as well.
ModelOrPlace = Annotated[Path | None, _MODEL]
#: A path may not stand for it: one slash of an address would be lost.
AddressOrPlace = Annotated[str | None, _MODEL]
LocalModelOrPlace = Annotated[Path | None, _LOCAL_MODEL]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def examples(*lines: tuple[str, str]) -> str:
    """The epilog of a command's help: the purpose of each example, and the example."""
    shown = [f"[dim]{purpose}[/dim]\n\n  [bold]{command}[/bold]" for purpose, command in lines]
    return "\n\n".join(["[bold]Examples[/bold]", *shown])
