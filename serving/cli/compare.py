"""``tfkmeans compare``: two versions side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from export.addresses import model_name
from export.repository import SAVED_MODEL

from .arguments import JsonOption, examples
from .errors import UserMistake
from .extras import needs_extra
from .input_tables import FileOptions
from .option_groups import flat_options
from .report import check_page, read_version_rows
from .tensorflow_import import load_tensorflow
from .terminal import print_fields, print_json, print_table, progress
from .version_options import VersionOptions

if TYPE_CHECKING:
    from serving.report.version_comparison import VersionComparison

EXAMPLES: Final = examples(
    ("Two versions of a model", "tfkmeans compare models/customers/1 models/customers/2"),
    ("The live version and the canary", "tfkmeans compare models/customers --label canary"),
    (
        "Two models on your own rows, with an HTML report",
        "tfkmeans compare models/a models/b --rows new.parquet --report both.html",
    ),
)


@flat_options
def compare(
    before: Annotated[
        Path, typer.Argument(metavar="A", help="A version, or a model for its live version.")
    ],
    after: Annotated[
        Path | None,
        typer.Argument(
            metavar="B", help="The second version or model; by default another version of A."
        ),
    ] = None,
    version: VersionOptions = VersionOptions(),
    rows: Annotated[
        list[Path] | None,
        typer.Option(
            "--rows",
            metavar="FILE",
            help="Compare on the rows of FILE; by default on the sample rows stored in B.",
        ),
    ] = None,
    file_options: FileOptions = FileOptions(),
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a report with charts, .html."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show two versions side by side: matched clusters, moved rows, and measures.

    Clusters are matched one to one by their centroids, in the space of A. --version and --label
    select the version of B, if that is a model.
    """
    if after is None and not version.is_given:
        raise UserMistake("specify B, or --version or --label")
    if after is None:
        after = before.absolute().parent if _is_version(before) else before
    reading = file_options.reading(rows, "--rows")
    one, other = _version(before), _version(after, version)
    if report is not None:
        check_page(report, "--report")
    with progress("comparing") as tell:
        given = None
        if rows is not None:
            given, _ = read_version_rows(rows, other[0], reading)
        tell("loading TensorFlow")
        load_tensorflow("train")
        tell("asking both")
        from serving.report.version_comparison import VersionComparison

        found = VersionComparison.measure(one, other, given)
        if report is not None:
            tell("drawing")
            with needs_extra("report"):
                from serving.report import pages

            pages.write(report, pages.render_comparison(found))
    if json:
        print_json(
            {
                "before": str(one[0]),
                "after": str(other[0]),
                **found.as_json(),
                "report": None if report is None else str(report),
            }
        )
        return
    _show(found, report)


def _version(place: Path, version: VersionOptions = VersionOptions()) -> tuple[Path, str]:
    """The directory of a version, and its name. Raises as ``VersionOptions.directory``."""
    if not _is_version(place):
        directory, base = version.directory(place), place
    elif version.is_given:
        raise UserMistake(f"{place}: is already a version; leave out --version and --label")
    else:
        directory, base = place, place.absolute().parent
    return directory, f"{model_name(base)} {int(directory.name)}"


def _is_version(place: Path) -> bool:
    return (place / SAVED_MODEL).exists() and place.name.isdigit()


def _show(found: "VersionComparison", report: Path | None) -> None:
    before, after = found.before.name, found.after.name
    print_fields(
        f"{before} and {after}, on {found.rows:,} rows",
        [
            ("keep their cluster", f"{found.comparison.rows_kept:.1%} of the rows"),
            ("adjusted Rand index", f"{found.adjusted_rand_index:.4f}"),
            ("largest change of a share", f"{found.comparison.share_change:.1%}"),
        ],
    )
    typer.echo()
    print_table(["", before, after], found.measure_rows())
    typer.echo("\nmatched clusters")
    print_table(found.match_columns, found.match_rows())
    typer.echo(f"\nrows by cluster of {before} (down) and of {after} (across)")
    columns = [str(number) for number in range(found.contingency.shape[1])]
    print_table(
        ["", *columns],
        [
            [str(row), *(f"{count:,}" for count in line)]
            for row, line in enumerate(found.contingency)
        ],
    )
    if report is not None:
        typer.echo(f"\nwrote {report}")
