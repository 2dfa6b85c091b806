"""Reading the rows that a command clusters, and saying what there is to say of them."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.tables.messages import counted

from .column_names import parse_column_names
from .errors import UserMistake
from .input_tables import FILES_HELP, InputTables, count_rows, open_tables
from .terminal import progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kmeans_module import InvalidPoints
    from serving.tables.training_rows import TrainingRows


class DistanceName(StrEnum):
    """How far rows are from each other."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE", help=FILES_HELP)]
ColumnsOption = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", help="Columns to use; all numeric ones when not given."),
]
StandardizeOption = Annotated[
    bool,
    typer.Option(
        "--standardize", help="Divide each column by its standard deviation, in the model too."
    ),
]
DistanceOption = Annotated[
    DistanceName,
    typer.Option(help="cosine compares directions: spherical k-means. Rows of zeros are left out."),
]


def read_rows(
    files: Sequence[Path], columns: str | None, notes: list[str], *, directions: bool = False
) -> tuple[tuple[str, ...], "TrainingRows"]:
    """The names of the columns and the rows; what there is to say of them joins ``notes``.

    With ``directions``, rows of zeros are left out too: they have none.
    """
    with open_tables(files, "train") as given:
        if columns is not None:
            names = parse_column_names("--columns", columns)
        else:
            from serving.tables.columns import select_numeric_columns

            selection = select_numeric_columns(given.tables)
            names = selection.names
            notes += selection.notes()
        rows = _read(given, names, skip_zero_rows=directions)
    notes += rows.notes()
    return names, rows


def read_model_rows(
    files: Sequence[Path], feature_names: Sequence[str], extra: str
) -> "NDArray[np.float32]":
    """The rows of files that have the columns of a model, float32 [n, d], to compare versions on.

    Rows with a missing value are left out.
    """
    with open_tables(files, extra) as given:
        points = _read(given, feature_names).points
    return points.astype("float32", copy=False)


def _read(
    given: InputTables, names: Sequence[str], *, skip_zero_rows: bool = False
) -> "TrainingRows":
    from serving.tables.training_rows import read_training_rows

    with progress("reading") as tell:
        return read_training_rows(
            given.tables, names, skip_zero_rows=skip_zero_rows, on_rows=count_rows(tell)
        )


def by_name(error: "InvalidPoints", names: Sequence[str]) -> UserMistake:
    """What a fit says of a column by its number, as a user knows the column: by its name."""
    return UserMistake(
        re.sub(r"column (\d+)", lambda match: f"column {names[int(match[1])]!r}", str(error))
    )


def too_few_distinct(
    asked: str, distinct: int, rows: "TrainingRows", names: Sequence[str]
) -> UserMistake:
    """More clusters are asked for, by ``asked``, than there are distinct rows."""
    from serving.tables.training_rows import columns_beyond_float32

    lost = columns_beyond_float32(rows.points, names)
    return UserMistake(
        f"{asked}: only {distinct} of {counted(len(rows.points), 'row')} are distinct in the "
        f"columns {', '.join(names)}{' as float32, which the model takes' if lost else ''}; "
        f"ask for at most {distinct}"
        + (f", or subtract a constant from {', '.join(lost)}" if lost else "")
    )
