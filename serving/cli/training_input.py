"""Reading the rows that a command clusters, and saying what there is to say of them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from export.feature_names import shorten_names
from serving.tables.messages import format_count
from serving.tables.reading_options import ReadingOptions

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

    panel: ClassVar[str] = "Rows"

    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to use; all numeric ones when not given."),
    ] = None
    exclude: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to leave out of those that are used."),
    ] = None
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize",
            help="Divide each column by its standard deviation, in the model too.",
        ),
    ] = False
    distance: Annotated[
        DistanceName,
        typer.Option(
            help="cosine compares directions: spherical k-means. Rows of zeros are left out."
        ),
    ] = DistanceName.EUCLIDEAN

    def read(
        self,
        files: Sequence[Path],
        notes: list[str],
        reading: ReadingOptions = ReadingOptions(),
        *,
        weight_column: str | None = None,
    ) -> tuple[tuple[str, ...], "TrainingRows"]:
        """The names of the features and the rows; what there is to say of them joins ``notes``."""
        chosen, excluded = self._parse_names(weight_column)
        is_cosine = self.distance is DistanceName.COSINE
        with open_tables(files, "train", reading=reading) as given, _offer_to_leave_out():
            from serving.tables.column_spread import spread_note

            columns = chosen or _select(given, excluded, weight_column, notes)
            # Which rows are zeros once they are standardised, the fit knows.
            rows = _read(
                given,
                columns,
                weight_column=weight_column,
                skip_zero_rows=is_cosine and not self.standardize,
            )
        notes += rows.notes()
        spread = spread_note(
            rows.points,
            rows.columns,
            rows.weights,
            is_cosine=is_cosine,
            is_standardized=self.standardize,
        )
        notes += [] if spread is None else [spread]
        return rows.columns, rows

    def _parse_names(self, weight_column: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns to use, none where the files decide, and those to leave out."""
        given = {"--columns": self.columns, "--exclude": self.exclude}
        chosen, excluded = (
            () if text is None else parse_column_names(flag, text) for flag, text in given.items()
        )
        if chosen and excluded:
            raise UserMistake(
                f"--exclude {self.exclude}: --columns names what is used already; give one of them"
            )
        if weight_column in chosen:
            raise UserMistake(
                f"--weight-column {weight_column}: is named with --columns too, and a weight is no "
                "feature; leave it out there"
            )
        return chosen, excluded


def _select(
    given: InputTables, excluded: Sequence[str], weight_column: str | None, notes: list[str]
) -> tuple[str, ...]:
    """The features of the tables; what there is to say of the selection joins ``notes``."""
    from serving.tables.feature_selection import require_weight_column, select_features

    if weight_column is not None:
        require_weight_column(given.tables, weight_column)
        excluded = [*excluded, weight_column]
    with progress("reading") as tell:
        tell("which columns are features")
        selection = select_features(given.tables, excluded)
    notes += selection.notes()
    return selection.names


@contextmanager
def _offer_to_leave_out() -> Iterator[None]:
    """A bad cell is no reason to mend the file where its column is not needed."""
    from serving.tables.errors import BadCell

    try:
        yield
    except BadCell as error:
        if not error.column:
            raise
        raise BadCell(
            f"{error}; or leave the column out with --exclude or --columns", error.column
        ) from None


@dataclass(frozen=True)
class IterationOptions:
    """Where the iterations of a start begin and end."""

    panel: ClassVar[str] = "Fit"

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
    files: Sequence[Path],
    feature_names: Sequence[str],
    extra: str,
    reading: ReadingOptions = ReadingOptions(),
) -> "NDArray[np.float32]":
    """The rows of files that have the columns of a model, float32 [n, d], to compare versions on.

    Rows with a missing value are left out.
    """
    with open_tables(files, extra, reading=reading) as given:
        from serving.tables.training_rows import read_model_rows as read_rows

        with progress("reading") as tell:
            points = read_rows(given.tables, feature_names, on_rows=count_rows(tell)).points
    return points.astype("float32", copy=False)


def _read(
    given: InputTables,
    columns: Sequence[str],
    *,
    weight_column: str | None = None,
    skip_zero_rows: bool = False,
) -> "TrainingRows":
    from serving.tables.training_rows import read_training_rows

    with progress("reading") as tell:
        return read_training_rows(
            given.tables,
            columns,
            weight_column=weight_column,
            skip_zero_rows=skip_zero_rows,
            on_rows=count_rows(tell),
        )


@contextmanager
def explain_fit_errors(clusters: str, rows: "TrainingRows", names: Sequence[str]) -> Iterator[None]:
    """Say what a fit refuses in the user's words: ``clusters`` is the option, a column has a name.

    Raises UserMistake.
    """
    from kmeans_module.errors import InvalidPoints, TooFewDistinctPoints

    try:
        yield
    except TooFewDistinctPoints as error:
        lost = rows.features_beyond_float32()
        raise UserMistake(
            f"{clusters}: only {error.distinct} of {format_count(len(rows.points), 'row')} are "
            f"distinct in the columns {shorten_names(names)}"
            f"{' and have a weight above 0' if rows.weights is not None else ''}"
            f"{' as float32, which the model takes' if lost else ''}; "
            f"ask for at most {error.distinct}"
            + (f", or subtract a constant from {shorten_names(lost)}" if lost else "")
        ) from None
    except InvalidPoints as error:
        text = re.sub(r"column (\d+)", lambda match: f"column {names[int(match[1])]!r}", str(error))
        raise UserMistake(text) from None
