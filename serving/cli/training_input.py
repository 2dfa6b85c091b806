"""Reading the rows that a command clusters, and saying what there is to say of them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from export.feature_names import shorten_names
from serving.tables.messages import format_count

from .arguments import integer, parse_amount
from .errors import UserMistake
from .input_tables import FILES_HELP, InputTables, count_rows, open_tables, parse_column_names
from .terminal import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.tables.training_rows import TrainingRows


class DistanceName(StrEnum):
    """How far rows are from each other."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE", help=FILES_HELP)]


@dataclass(frozen=True)
class RowOptions:
    """Which columns are clustered, and in what space."""

    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to use; all numeric ones when not given."),
    ] = None
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize", help="Divide each column by its standard deviation, in the model too."
        ),
    ] = False
    distance: Annotated[
        DistanceName,
        typer.Option(
            help="cosine compares directions: spherical k-means. Rows of zeros are left out."
        ),
    ] = DistanceName.EUCLIDEAN

    def read(
        self, files: Sequence[Path], notes: list[str]
    ) -> tuple[tuple[str, ...], "TrainingRows"]:
        """The names of the features and the rows; what there is to say of them joins ``notes``."""
        with open_tables(files, "train") as given:
            if self.columns is not None:
                columns = parse_column_names("--columns", self.columns)
            else:
                from serving.tables.columns import select_numeric_columns

                selection = select_numeric_columns(given.tables)
                columns = selection.names
                notes += selection.notes()
            # Which rows are zeros once they are standardised, the fit knows.
            skip = self.distance is DistanceName.COSINE and not self.standardize
            rows = _read(given, columns, skip_zero_rows=skip)
        notes += rows.notes()
        return rows.columns, rows


@dataclass(frozen=True)
class IterationOptions:
    """Where the iterations of a start begin and end."""

    seed: Annotated[
        int, typer.Option(parser=integer(0), metavar="N", help="Every random choice comes from it.")
    ] = 0
    max_iter: Annotated[
        int, typer.Option(parser=integer(1), metavar="N", help="Iterations of a start at most.")
    ] = 300
    tol: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Stop when the centroids move less, relative to the variance.",
        ),
    ] = 1e-4


def read_model_rows(
    files: Sequence[Path], feature_names: Sequence[str], extra: str
) -> "NDArray[np.float32]":
    """The rows of files that have the columns of a model, float32 [n, d], to compare versions on.

    Rows with a missing value are left out.
    """
    with open_tables(files, extra) as given:
        from serving.tables.training_rows import read_model_rows as read_rows

        with progress("reading") as tell:
            points = read_rows(given.tables, feature_names, on_rows=count_rows(tell)).points
    return points.astype("float32", copy=False)


def _read(
    given: InputTables, columns: Sequence[str], *, skip_zero_rows: bool = False
) -> "TrainingRows":
    from serving.tables.training_rows import read_training_rows

    with progress("reading") as tell:
        return read_training_rows(
            given.tables, columns, skip_zero_rows=skip_zero_rows, on_rows=count_rows(tell)
        )


@contextmanager
def explain_fit_errors(clusters: str, rows: "TrainingRows", names: Sequence[str]) -> Iterator[None]:
    """Say what a fit refuses in the user's words: ``clusters`` is the option, a column has a name.

    Raises UserMistake.
    """
    from kmeans_module.errors import InvalidPoints, TooFewDistinctPoints
    from serving.tables.training_rows import columns_beyond_float32

    try:
        yield
    except TooFewDistinctPoints as error:
        lost = columns_beyond_float32(rows.points, names)
        raise UserMistake(
            f"{clusters}: only {error.distinct} of {format_count(len(rows.points), 'row')} are "
            f"distinct in the columns {shorten_names(names)}"
            f"{' as float32, which the model takes' if lost else ''}; "
            f"ask for at most {error.distinct}"
            + (f", or subtract a constant from {shorten_names(lost)}" if lost else "")
        ) from None
    except InvalidPoints as error:
        text = re.sub(r"column (\d+)", lambda match: f"column {names[int(match[1])]!r}", str(error))
        raise UserMistake(text) from None
