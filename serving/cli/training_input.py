"""Reading the rows that a command clusters, and the notes about them."""

import re
from collections.abc import Callable, Iterator, Sequence
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
from .streaming_options import StreamingOptions, agree_on_files
from .terminal import note, progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from export.column_rows import ColumnRows
    from export.common_rows import Rows
    from kmeans_module import Reducer, TooFewDistinctPoints
    from serving.tables.encoded_rows import Encoding
    from serving.tables.model_rows import ModelColumns
    from serving.tables.streamed_rows import StreamedRows
    from serving.tables.training_rows import ClusteredRows, TrainingRows


class DistanceName(StrEnum):
    """The distance between rows."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE", help=FILES_HELP)]


@dataclass(frozen=True)
class RowOptions:
    """The columns to cluster, and the space."""

    panel: ClassVar[str] = "Rows"

    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to use; by default all numeric ones."),
    ] = None
    exclude: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to leave out."),
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
            help="cosine compares directions (spherical k-means); rows of zeros are left out."
        ),
    ] = DistanceName.EUCLIDEAN

    def read(
        self,
        files: Sequence[Path],
        notes: list[str],
        streaming: StreamingOptions = StreamingOptions(),
        on_stream: Callable[[str], None] = note,
        reading: ReadingOptions = ReadingOptions(),
        *,
        weight_column: str | None = None,
        column_options: ColumnOptions = ColumnOptions(),
        reducer: "Reducer | None" = None,
    ) -> tuple[tuple[str, ...], "TrainingRows | StreamedRows"]:
        """The names of the features, and the rows; notes about them are appended to ``notes``.

        Rows that memory does not hold come from a cache; ``on_stream`` is told why before they are
        read. With a ``reducer``, each worker has a cache of its own rows.
        """
        rows: TrainingRows | StreamedRows
        weights: NDArray[np.floating[Any]] | None
        with self._open(files, notes, reading, weight_column, column_options) as opened:
            given, columns, encoding = opened
            reason: str | None
            if reducer is None:
                categories = column_options.category_names()
                reason = streaming.find_reason(
                    given, columns, categories, is_cosine=self._is_cosine
                )
            else:
                reason = "--workers is given"
                agree_on_files(given, columns, reducer)
            if reason is None:
                rows = self._read(given, columns, encoding, weight_column)
                points, weights = rows.points, rows.weights
            else:
                on_stream(reason)
                rows = streaming.read(
                    given,
                    columns,
                    encoding,
                    reading,
                    weight_column=weight_column,
                    skip_zero_rows=self._skips_zero_rows,
                    reducer=reducer,
                )
                points, weights = rows.sample, rows.sample_weights
        rows = replace(rows, feature_weight=column_options.weigh(rows.widths))
        notes += self._notes(rows, points, weights)
        return rows.columns, rows

    @property
    def _is_cosine(self) -> bool:
        return self.distance is DistanceName.COSINE

    @property
    def _skips_zero_rows(self) -> bool:
        """Whether rows of zeros are skipped here; after standardising, the fit finds them."""
        return self._is_cosine and not self.standardize

    @contextmanager
    def _open(
        self,
        files: Sequence[Path],
        notes: list[str],
        reading: ReadingOptions,
        weight_column: str | None,
        column_options: ColumnOptions,
    ) -> "Iterator[tuple[InputTables, Sequence[str], Encoding | None]]":
        """The tables of files, the columns that are used, and how they are encoded."""
        categories = column_options.category_names()
        chosen, excluded = self._parse_names(weight_column, categories)
        column_options.weights()
        with open_tables(files, "train", reading=reading) as given, _offer_mends(weight_column):
            encoding = column_options.encoding()
            columns = _select(given, chosen, excluded, categories, weight_column, notes)
            yield given, columns, encoding

    def _read(
        self,
        given: InputTables,
        columns: Sequence[str],
        encoding: "Encoding | None",
        weight_column: str | None,
    ) -> "TrainingRows":
        with progress("reading") as tell:
            options: dict[str, Any] = {
                "weight_column": weight_column,
                "skip_zero_rows": self._skips_zero_rows,
                "on_rows": count_rows(tell),
            }
            if encoding is None:
                from serving.tables.training_rows import read_training_rows

                return read_training_rows(given.tables, columns, **options)
            from serving.tables.encoded_rows import read_encoded_rows

            return read_encoded_rows(given.tables, columns, encoding, **options)

    def _notes(
        self,
        rows: "ClusteredRows",
        points: "NDArray[np.floating[Any]]",
        weights: "NDArray[np.floating[Any]] | None",
    ) -> list[str]:
        """Notes about the rows; ``points`` are all of them, or a sample."""
        from serving.tables.column_spread import spread_note

        spread = spread_note(
            points,
            rows.columns,
            weights,
            is_cosine=self._is_cosine,
            is_standardized=self.standardize,
            columns=rows.widths,
            feature_weight=rows.feature_weight,
        )
        return rows.notes() + ([] if spread is None else [spread])

    def _parse_names(
        self, weight_column: str | None, categories: Sequence[str]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns to use (none if the files decide), and the columns to leave out."""
        given = {"--columns": self.columns, "--exclude": self.exclude}
        chosen, excluded = (
            () if text is None else parse_column_names(flag, text) for flag, text in given.items()
        )
        if chosen and excluded:
            raise UserMistake(
                f"--exclude {self.exclude}: conflicts with --columns, which already selects "
                "columns; give one of them"
            )
        for name in categories:
            if name in excluded or name == weight_column:
                flag = "--exclude" if name in excluded else "--weight-column"
                raise UserMistake(
                    f"--categories {name}: is also named in {flag}; name it in one of them"
                )
        if weight_column in chosen:
            raise UserMistake(
                f"--weight-column {weight_column}: is also named in --columns, and a weight is "
                "not a feature; leave it out there"
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
    """The columns to use; notes about the selection are appended to ``notes``."""
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
        tell("selecting features")
        selection = select_features(given.tables, excluded, categories)
    notes += selection.notes()
    return selection.names


@contextmanager
def _offer_mends(weight_column: str | None) -> Iterator[None]:
    """Add other corrections for a column: leave it out, or make it a category."""
    from serving.tables.errors import BadCell, NoNumbers

    try:
        yield
    except NoNumbers as error:
        if error.column == weight_column:
            raise
        raise NoNumbers(f"{error}, or name it in --categories", error.column) from None
    except BadCell as error:
        if not error.column:
            raise
        category = "" if error.is_number else ", or name it in --categories"
        raise BadCell(
            f"{error}; or leave the column out with --exclude or --columns{category}",
            error.column,
            is_number=error.is_number,
        ) from None


@dataclass(frozen=True)
class IterationOptions:
    """The seed and the end of the iterations of a start."""

    panel: ClassVar[str] = "Fit"

    seed: Annotated[
        int, typer.Option(parser=integer(0), metavar="N", help="Seed of all random choices.")
    ] = 0
    max_iter: Annotated[
        int, typer.Option(parser=integer(1), metavar="N", help="Maximum iterations of a start.")
    ] = 300
    tol: Annotated[
        float,
        typer.Option(
            parser=parse_amount,
            metavar="X",
            help="Stop when the centroids move less than this, relative to the variance.",
        ),
    ] = 1e-4


def read_model_rows(
    files: Sequence[Path],
    takes: "ModelColumns",
    extra: str,
    reading: ReadingOptions = ReadingOptions(),
) -> tuple["Rows", list[str]]:
    """The rows of files that have the columns of a model, to compare versions on, and notes.

    Points float32 [n, d], without those that have a missing value; or the columns that the model
    takes by name. The notes, which are also printed, count values that are missing, or that the
    model does not know.
    """
    rows: Rows
    with open_tables(files, extra, reading=reading) as given:
        from serving.tables.model_rows import read_column_rows, select_rows
        from serving.tables.training_rows import read_model_rows as read_rows

        with progress("reading") as tell:
            if takes.by_name:
                rows = read_column_rows(select_rows(given.tables, takes), on_rows=count_rows(tell))
                notes = _describe_gaps(takes, rows)
            else:
                complete = read_rows(given.tables, takes.names, on_rows=count_rows(tell))
                rows = complete.points.astype("float32", copy=False)
                notes = complete.describe_incomplete()
    for each in notes:
        note(each)
    return rows, notes


def _describe_gaps(takes: "ModelColumns", rows: "ColumnRows") -> list[str]:
    """What the model has no value for in rows: a line, if there is such a value."""
    import numpy as np

    from serving.batch.column_gaps import count_gaps, describe_gaps

    inputs = {
        name: np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        for name, array in rows.tensors.items()
    }
    told = describe_gaps(count_gaps(takes.columns, inputs, np.ones(len(rows), bool)), len(rows))
    return [told] if told else []


@contextmanager
def explain_fit_errors(
    clusters: str, rows: "ClusteredRows", names: Sequence[str]
) -> Iterator[None]:
    """Report a refusal of a fit in terms of the options: ``clusters`` is the option, a column has a
    name.

    Raises UserMistake.
    """
    from kmeans_module.errors import InvalidPoints, TooFewDistinctPoints

    try:
        yield
    except TooFewDistinctPoints as error:
        lost = rows.features_beyond_float32()
        raise UserMistake(
            f"{clusters}: only {error.distinct} of {_name_rows(rows, error)} are "
            f"distinct in the columns {shorten_names(names)}"
            f"{' and have a weight above 0' if rows.weight_column is not None else ''}"
            f"{' as float32, the dtype of the model' if lost else ''}; "
            f"ask for at most {error.distinct}"
            + (f", or subtract a constant from {shorten_names(lost)}" if lost else "")
        ) from None
    except InvalidPoints as error:
        text = re.sub(r"column (\d+)", lambda match: f"column {names[int(match[1])]!r}", str(error))
        raise UserMistake(text) from None


def _name_rows(rows: "ClusteredRows", error: "TooFewDistinctPoints") -> str:
    """The rows among which too few are distinct."""
    return "the sample's rows" if error.of_sample else format_count(rows.n_rows, "row")
