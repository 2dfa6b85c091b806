"""``tfkmeans report``: a page that shows a version, in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from export.addresses import model_name

from .arguments import JsonOption, examples, integer
from .errors import UserMistake
from .extras import needs_extra, require
from .label_options import BaseArgument
from .option_groups import flat_options
from .tensorflow_import import load_tensorflow
from .terminal import print_json, progress
from .version_options import VersionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

EXAMPLES: Final = examples(
    ("A page about the live version", "tfkmeans report models/customers"),
    (
        "About another one, with the curves of select-k",
        "tfkmeans report models/customers 2 --out two.html --select-k curves.json",
    ),
)

CurvesOption = Annotated[
    Path | None,
    typer.Option(
        "--select-k",
        metavar="FILE",
        help="Show these curves in the report: the .json file of select-k --out.",
    ),
]


@flat_options
def report(
    base: BaseArgument,
    place: Annotated[
        int | None,
        typer.Argument(
            parser=integer(0), metavar="VERSION", help="A version; the live one when not given."
        ),
    ] = None,
    version: VersionOptions = VersionOptions(),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file to write, .html; MODEL-VERSION.html here when not given. "
            "A file that is there is replaced.",
        ),
    ] = None,
    select_k: CurvesOption = None,
    json: JsonOption = False,
) -> None:
    """Write one HTML file that shows a version: its clusters, measures and pictures.

    It needs no network, and follows the reader's light or dark scheme.
    """
    directory, number, _ = version.or_place(place).read(base)
    path = out or Path(f"{model_name(base)}-{number}.html")
    check_page(path, "--out")
    curves = read_curves(select_k)
    with progress("reporting") as tell:
        tell("loading TensorFlow")
        load_tensorflow("train")
        tell("measuring and drawing")
        write_report(path, directory, f"{model_name(base)}, version {number}", curves)
    if json:
        print_json({"model": str(base), "version": number, "report": str(path)})
    else:
        typer.echo(f"wrote {path}, about version {number}")


def check_page(path: Path, option: str) -> None:
    """Find out before the work whether a page can be written there. Raises UserMistake."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserMistake(f"{option} {path}: is a page; name a file that ends with .html")
    if path.is_dir():
        raise UserMistake(f"{option} {path}: is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise UserMistake(f"{option} {path}: there is no folder {path.parent}; make it first")
    with needs_extra("report"):
        require("jinja2")
        require("matplotlib")


def read_curves(path: Path | None) -> "Mapping[str, Any] | None":
    """The curves of a file. Raises InvalidCurves."""
    if path is None:
        return None
    from serving.report import curves

    return curves.read(path)


def write_report(
    path: Path, directory: Path, name: str, curves: "Mapping[str, Any] | None"
) -> None:
    """Write the page of a version or a candidate; TensorFlow must be loaded."""
    with needs_extra("report"):
        from serving.report import pages
        from serving.report.version_profile import VersionProfile

    pages.write(path, pages.render_version(VersionProfile.measure(directory, name), curves))
