"""``tfkmeans report``: an HTML report of a version, in one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from export.addresses import model_name
from export.model_card import ModelCard
from serving.tables.reading_options import ReadingOptions

from .arguments import JsonOption, examples, integer
from .errors import UserMistake
from .extras import needs_extra, require
from .input_tables import FileOptions
from .label_options import BaseArgument
from .option_groups import flat_options
from .tensorflow_import import load_tensorflow
from .terminal import note, print_json, progress
from .training_input import read_model_rows
from .version_options import VersionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from export.common_rows import Rows

EXAMPLES: Final = examples(
    ("Report of the live version", "tfkmeans report models/customers"),
    (
        "Report of another version, with the curves of select-k",
        "tfkmeans report models/customers 2 --out two.html --select-k curves.json",
    ),
    (
        "With the distributions of other rows, and examples of them",
        "tfkmeans report models/customers --rows new.parquet --example-rows",
    ),
)

CurvesOption = Annotated[
    Path | None,
    typer.Option(
        "--select-k",
        metavar="FILE",
        help="Add these curves to the report: the .json file of select-k --out.",
    ),
]


@flat_options
def report(
    base: BaseArgument,
    place: Annotated[
        int | None,
        typer.Argument(
            parser=integer(0), metavar="VERSION", help="A version; by default the live one."
        ),
    ] = None,
    version: VersionOptions = VersionOptions(),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file to write, .html; by default MODEL-VERSION.html in the current folder. "
            "An existing file is replaced.",
        ),
    ] = None,
    rows: Annotated[
        list[Path] | None,
        typer.Option(
            "--rows",
            metavar="FILE",
            help="Take distributions, means and silhouettes from the rows of FILE; by default from "
            "the sample of training rows that travels with the version.",
        ),
    ] = None,
    example_rows: Annotated[
        bool,
        typer.Option(
            "--example-rows",
            help="Show the rows nearest to each centroid and farthest from it, as they are. They "
            "may be personal data.",
        ),
    ] = False,
    select_k: CurvesOption = None,
    file_options: FileOptions = FileOptions(),
    json: JsonOption = False,
) -> None:
    """Write one HTML file about a version: clusters, centroids, distributions and charts.

    It needs no network, and supports light and dark colour schemes.
    """
    reading = file_options.reading(rows, "--rows")
    directory, number, _ = version.or_place(place).read(base)
    path = out or Path(f"{model_name(base)}-{number}.html")
    check_page(path, "--out")
    curves = read_curves(select_k)
    with progress("reporting") as tell:
        given, notes = None, list[str]()
        if rows is not None:
            given, notes = read_version_rows(rows, directory, reading)
        tell("loading TensorFlow")
        load_tensorflow("train")
        tell("measuring and drawing")
        name = f"{model_name(base)}, version {number}"
        write_report(path, directory, name, curves, given, notes=notes, example_rows=example_rows)
    if json:
        print_json({"model": str(base), "version": number, "report": str(path)})
    else:
        typer.echo(f"wrote {path}, about version {number}")


def check_page(path: Path, option: str) -> None:
    """Check before the work that a page can be written there. Raises UserMistake."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserMistake(f"{option} {path}: the file name must end with .html")
    if path.is_dir():
        raise UserMistake(f"{option} {path}: is a folder; give the name of a file in it")
    if not path.absolute().parent.is_dir():
        raise UserMistake(
            f"{option} {path}: the folder {path.parent} does not exist; create it first"
        )
    with needs_extra("report"):
        require("jinja2")
        require("matplotlib")


def read_curves(path: Path | None) -> "Mapping[str, Any] | None":
    """The curves of a file. Raises InvalidCurves."""
    if path is None:
        return None
    from serving.report import curves

    return curves.read(path)


def read_version_rows(
    files: list[Path], directory: Path, reading: ReadingOptions
) -> tuple["Rows", list[str]]:
    """The rows of files, as input of the version, and notes about them, which are also printed.

    Raises the errors of reading tables.
    """
    from serving.tables.model_rows import ModelColumns

    takes = ModelColumns.of(ModelCard.read(directory))
    return read_model_rows(files, takes, "train", reading)


def write_report(
    path: Path,
    directory: Path,
    name: str,
    curves: "Mapping[str, Any] | None",
    rows: "Rows | None" = None,
    *,
    notes: "Sequence[str]" = (),
    example_rows: bool = False,
) -> None:
    """Write the page of a version or a candidate; TensorFlow must be loaded.

    The page has the ``notes`` about the rows. Rows that get no cluster are counted in a note too.
    """
    with needs_extra("report"):
        from serving.report import pages
        from serving.report.version_profile import VersionProfile

    profile = VersionProfile.measure(directory, name, rows)
    if left_out := profile.rows_left_out:
        note(pages.describe_left_out(left_out, left_out + len(profile.points)))
    page = pages.render_version(
        profile, curves, example_rows=example_rows, notes=[f"Given rows: {each}." for each in notes]
    )
    pages.write(path, page)
