"""Reading the rows that a command clusters, and saying what there is to say of them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from export.feature_names import shorten_names
from serving.tables.messages import format_count
from serving.tables.reading_options import ReadingOptions

from .arguments import integer, parse_amount
from .column_options import ColumnOptions
from .errors import UserMistake
from .input_tables import FILES_HELP, InputTables, count_rows, open_tables, parse_column_names
from .terminal import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from serving.tables.encoded_rows import Encoding
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
        column_options: ColumnOptions = ColumnOptions(),
    ) -> tuple[tuple[str, ...], "TrainingRows"]:
        """The names of the features and the rows; what there is to say of them joins ``notes``."""
        categories = column_options.category_names()
        chosen, excluded = self._parse_names(weight_column, categories)
        column_options.weights()
        is_cosine = self.distance is DistanceName.COSINE
        with open_tables(files, "train", reading=reading) as given, _offer_to_leave_out():
            from serving.tables.column_spread import spread_note

            encoding = column_options.encoding()
            columns = _select(given, chosen, excluded, categories, weight_column, notes)
            # Which rows are zeros once they are standardised, the fit knows.
            rows = _read(
                given,
                columns,
                encoding,
                weight_column=weight_column,
                skip_zero_rows=is_cosine and not self.standardize,
            )
        rows = replace(rows, feature_weight=column_options.weigh(rows.widths))
        notes += rows.notes()
        spread = spread_note(
            rows.points,
            rows.columns,
            rows.weights,
            is_cosine=is_cosine,
            is_standardized=self.standardize,
            columns=rows.widths,
            feature_weight=rows.feature_weight,
        )
        notes += [] if spread is None else [spread]
        return rows.columns, rows

    def _parse_names(
        self, weight_column: str | None, categories: Sequence[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns to use, none where the files decide, and those to leave out."""
        given = {"--columns": self.columns, "--exclude": self.exclude}
        chosen, excluded = (
            () if text is None else parse_column_names(flag, text) for flag, text in given.items()
        )
        if chosen and excluded:
            raise UserMistake(
                f"--exclude {self.exclude}: --columns names what is used already; give one of them"
            )
        for name in categories:
            if name in excluded or name == weight_column:
                flag = "--exclude" if name in excluded else "--weight-column"
                raise UserMistake(
                    f"--categories {name}: is named with {flag} too; name it with one of them"
                )
        if weight_column in chosen:
            raise UserMistake(
                f"--weight-column {weight_column}: is named with --columns too, and a weight is no "
                "feature; leave it out there"
            )
        return chosen, excluded


def _select(
    given: InputTables,
    chosen: Sequence[str],
    excluded: Sequence[str],
    categories: Sequence[str],
    weight_column: str | None,
    notes: list[str],
) -> tuple[str, ...]:
    """The columns of the tables to use; what there is to say of the selection joins ``notes``."""
    from serving.tables.feature_selection import (
        require_categories,
        require_weight_column,
        select_features,
    )

    require_categories(given.tables, categories)
    if chosen:
        return tuple(dict.fromkeys([*chosen, *categories]))
    if weight_column is not None:
        require_weight_column(given.tables, weight_column)
        excluded = [*excluded, weight_column]
    with progress("reading") as tell:
        tell("which columns are features")
        selection = select_features(given.tables, excluded, categories)
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
    encoding: "Encoding | None",
    *,
    weight_column: str | None = None,
    skip_zero_rows: bool = False,
) -> "TrainingRows":
    with progress("reading") as tell:
        options: dict[str, Any] = {
            "weight_column": weight_column,
            "skip_zero_rows": skip_zero_rows,
            "on_rows": count_rows(tell),
        }
        if encoding is None:
            from serving.tables.training_rows import read_training_rows

            return read_training_rows(given.tables, columns, **options)
        from serving.tables.encoded_rows import read_encoded_rows

        return read_encoded_rows(given.tables, columns, encoding, **options)


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
