"""Reading the rows that a command clusters, and saying what there is to say of them."""

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .arguments import counted
from .column_names import named_columns
from .errors import UserMistake
from .input_tables import FILES_HELP, given_tables
from .terminal import progress

if TYPE_CHECKING:
    from kmeans_module import InvalidPoints
    from serving.tables.table import Table
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
    with given_tables(files, "train") as given:
        from serving.tables.training_rows import (
            collect,
            columns_beyond_float32,
            without_zero_rows,
        )

        tables = given.tables
        names = (
            _all_numeric(tables, notes) if columns is None else named_columns("--columns", columns)
        )
        with progress("reading") as tell:
            read = 0

            def on_rows(count: int) -> None:
                nonlocal read
                read += count
                tell(counted(read, "row"))

            rows = collect(tables, names, on_rows=on_rows)
    if rows.rows_left_out:
        lacking = ", ".join(f"{name}: {count}" for name, count in rows.missing.items())
        notes.append(
            f"left out {rows.rows_left_out:,} of {counted(rows.rows_read, 'row')} "
            f"with a missing value ({lacking})"
        )
    if directions:
        found = len(rows.points)
        rows = without_zero_rows(rows, ", ".join(map(str, files)))
        if zeros := found - len(rows.points):
            notes.append(
                f"left out {counted(zeros, 'row')} of zeros, which have no direction for cosine "
                "distance"
            )
    for name in columns_beyond_float32(rows.points, names):
        notes.append(
            f"warning: column {name!r} loses digits as float32, which the model takes: its values "
            "are large and lie close together; subtract a constant from it"
        )
    return names, rows


def _all_numeric(tables: Sequence["Table"], notes: list[str]) -> tuple[str, ...]:
    from serving.tables.training_rows import numeric_columns

    names, left = numeric_columns(tables)
    notes.append(f"took {counted(len(names), 'numeric column')}: {', '.join(names)}")
    if left:
        others = ", ".join(f"{name or '(unnamed)'}: {holds}" for name, holds in left.items())
        notes.append(f"left out {counted(len(left), 'column')} ({others})")
    if tables[0].named and all(_is_number(name) for name in tables[0].columns if name):
        notes.append("warning: the names of the columns are numbers; has the file no header?")
    return names


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


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
