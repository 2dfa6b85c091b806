"""Plan a job from files, a model and options, and check all that needs no scoring."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from export.model_card import ModelCard
from kmeans_module.contract import ASSIGN, SCORE, TRANSFORM

from ..tables.columns import require_columns
from ..tables.errors import ColumnMismatch, RepeatedInput
from ..tables.model_rows import ModelColumns, ModelRows
from ..tables.reading_options import ReadingOptions
from ..tables.table import Table
from .errors import OutputNotWritten
from .job import Format, Job, JobInput, OnBadRow, ScoredModel
from .part_schema import kept_schema, output_schema

#: In place of the columns to keep: all of them.
KEEP_ALL: Final = "*"


def plan_job(
    tables: Sequence[Table],
    output: Path,
    model: ScoredModel,
    card: ModelCard,
    *,
    keep: Sequence[str] = (),
    score: bool = False,
    all_distances: bool = False,
    form: Format = Format.PARQUET,
    on_bad_row: OnBadRow = OnBadRow.REJECT,
    part_rows: int = Job.part_rows,
    limit: int | None = None,
    copies: Mapping[str, Path] | None = None,
    reading: ReadingOptions = ReadingOptions(),
) -> Job:
    """The job of scoring these tables.

    Args:
        keep: columns of the tables to carry along; ``KEEP_ALL`` alone is all that have a name and
            not that of an answer.
        copies: of tables that are no files of the user, as standard input, where their copies lie.
        reading: what ``open_table`` was told.

    Raises:
        ColumnMismatch: a table lacks a column, or it holds no numbers, or a column to keep cannot
            be carried along.
        RepeatedInput: two tables are one file.
        OutputNotWritten: an input lies in the output folder.
    """
    copies = copies or {}
    _refuse_repeated(tables)
    takes = ModelColumns.of(card)
    inputs = []
    for table in tables:
        columns = ModelRows(table, takes).used
        copy = copies.get(table.name)
        if copy is None and output.resolve() in Path(table.name).resolve().parents:
            raise OutputNotWritten(
                f"{output}: contains the input {table.name}; give another folder"
            )
        inputs.append(JobInput(copy or Path(table.name), table.name, columns, copy is not None))
    job = Job(
        inputs=tuple(inputs),
        output=output,
        model=model,
        n_clusters=card.n_clusters,
        takes=takes,
        signatures=(ASSIGN, *([SCORE] if score else []), *([TRANSFORM] if all_distances else [])),
        format=form,
        on_bad_row=on_bad_row,
        part_rows=part_rows,
        limit=limit,
        reading=reading,
    )
    job = replace(job, keep=_all_columns(job, tables) if list(keep) == [KEEP_ALL] else tuple(keep))
    for table in tables:
        ModelRows(table, takes, job.keep).check()
    job = replace(job, kept=kept_schema(tables, job.keep) if job.keep else None)
    output_schema(job)  # for what it raises
    return job


def _all_columns(job: Job, tables: Sequence[Table]) -> tuple[str, ...]:
    """The columns of all tables that have a name, except the names of answers.

    Raises ColumnMismatch when a table lacks one.
    """
    own = set(output_schema(job).names)
    names = dict.fromkeys(name for table in tables for name in table.columns if name)
    wanted = tuple(name for name in names if name not in own)
    for table in tables:
        try:
            require_columns(table, wanted)
        except ColumnMismatch as error:
            raise ColumnMismatch(
                f"--keep {KEEP_ALL}: {error}; name columns that all files have"
            ) from None
    return wanted


def _refuse_repeated(tables: Sequence[Table]) -> None:
    names: dict[Path, str] = {}
    for table in tables:
        path = Path(table.name).resolve()
        if path in names:
            also = f", also as {names[path]}" if names[path] != table.name else ""
            raise RepeatedInput(
                f"{table.name}: is given twice{also}, so that its rows would be scored twice; "
                "give it once"
            )
        names[path] = table.name
