"""``tfkmeans assign``: the cluster of each row, on stdout."""

import csv
import json as json_text
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kmeans_module.contract import BAD_ROW
from serving.tables.messages import format_count
from serving.tables.reading_options import ReadingOptions

from .arguments import JsonOption, ModelOption, examples
from .client_options import ConnectionOptions, ScoringServerOption, TimeoutOption
from .errors import UserMistake
from .input_tables import (
    FILES_HELP,
    FileOptions,
    check_served_columns,
    note_unused_columns,
    open_tables,
)
from .option_groups import flat_options
from .tensorflow_import import load_tensorflow
from .terminal import note, progress
from .version_options import VersionOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.model_card import ModelCard
    from serving.batch.assignments import Assign
    from serving.batch.column_gaps import Gaps
    from serving.clients.results import Assignment
    from serving.tables.model_rows import Inputs, ModelColumns, ModelRows

EXAMPLES: Final = examples(
    ("The cluster and the distance of each row", "tfkmeans assign rows.csv --model models/c"),
    (
        "One point, sent to a running server",
        "tfkmeans assign --point 39.1,18.7 --server localhost:8500 --model models/c",
    ),
    ("CSV on standard input", "cat rows.csv | tfkmeans assign - --model models/c"),
)


@flat_options
def assign(
    model: ModelOption,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help=FILES_HELP),
    ] = None,
    version: VersionOptions = VersionOptions(),
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="X,Y,...",
            help="A row instead of a file: its values in the order of the model's columns.",
        ),
    ] = None,
    file_options: FileOptions = FileOptions(),
    server: ScoringServerOption = None,
    timeout: TimeoutOption = 5.0,
    connection: ConnectionOptions = ConnectionOptions(),
    json: JsonOption = False,
) -> None:
    """Print cluster_index,distance of each row as CSV, or as one JSON object per line.

    A row with a missing value that the model does not fill gets -1 in both. The number of the
    version is printed on stderr.
    """
    if bool(files) == bool(points):
        raise UserMistake("give the rows as FILE... or as --point X,Y,..., not both")
    reading = file_options.reading(files, "FILE")
    connection.check_server(server)
    directory, number, card = version.read(model, name=connection.name)
    check_served_columns(server, card)
    given = _parse_points(points, card) if points else None
    with ExitStack() as stack:
        tables = stack.enter_context(_open_model_tables(files or [], card, reading))
        # On one terminal, the bar and the answers would write over each other.
        if not sys.stdout.isatty():
            stack.enter_context(progress("assigning"))
        if server is None:
            load_tensorflow("train")
            from serving.batch.scorer import LocalScorer

            assign_points: Assign = LocalScorer(directory).assign
        else:
            name = connection.served_name(model)
            client = stack.enter_context(connection.client(server, name, timeout))
            # The columns are those of this version's card, so no other version may answer.
            assign_points = partial(client.assign, version=number)
        count = _CountedAssign(assign_points, card)
        if files:
            from serving.batch.assignments import assign_rows

            answers: Iterable[Assignment] = assign_rows(tables, count)
        else:
            assert given is not None
            answers = [count(given)]
        _print(answers, f"answered by version {number} of {model}", as_json=json)
    if gaps := count.describe():
        note(gaps)


class _CountedAssign:
    """Assigns rows, and counts the values that are unknown to the model of a card."""

    def __init__(self, assign: "Assign", card: "ModelCard") -> None:
        self._assign = assign
        self._columns = card.columns
        self._gaps: Gaps = {}
        self._scored = 0

    def __call__(self, inputs: "Inputs") -> "Assignment":
        from serving.batch.column_gaps import add_gaps, count_gaps

        answer = self._assign(inputs)
        if self._columns:
            is_scored = answer.cluster_index != BAD_ROW
            self._scored += int(is_scored.sum())
            self._gaps = add_gaps(self._gaps, count_gaps(self._columns, inputs, is_scored))
        return answer

    def describe(self) -> str:
        """One line with the columns of these values; empty without any."""
        from serving.batch.column_gaps import describe_gaps

        return describe_gaps(self._gaps, self._scored)


def _parse_points(points: Sequence[str], card: "ModelCard") -> "Inputs":
    """The rows of --point, in the form of the model's input. Raises UserMistake."""
    import numpy as np

    from kmeans_module.category_texts import spell, spell_number
    from kmeans_module.columns import CategoryColumn
    from serving.tables.columns import to_float32
    from serving.tables.model_rows import ModelColumns

    takes = ModelColumns.of(card)
    rows = [_parse_point(point, takes) for point in points]
    cells = iter(zip(*rows, strict=True))
    columns: dict[str, NDArray[Any]] = {}
    for column in takes.columns:
        if isinstance(column, CategoryColumn):
            texts = [spell(cell) for cell in next(cells)]
            texts = [text if text in column.values else spell_number(text) for text in texts]
            columns[column.name] = np.array(texts, object)
            continue
        features = [next(cells) for _ in column.feature_names]
        numbers = to_float32(np.array(features, np.float64).T)
        is_vector = len(column.tensor.shape) == 2
        columns[column.name] = numbers if is_vector or not takes.by_name else numbers[:, 0]
    return columns if takes.by_name else np.hstack(list(columns.values()))


def _parse_point(point: str, takes: "ModelColumns") -> list[Any]:
    """The values of a row: texts of categories and numbers. Raises UserMistake."""
    from kmeans_module.columns import CategoryColumn
    from serving.tables.columns import is_missing

    cells = [cell.strip() for cell in next(csv.reader([point], skipinitialspace=True), [])]
    kinds = [
        isinstance(column, CategoryColumn)
        for column in takes.columns
        for _ in ([column] if isinstance(column, CategoryColumn) else column.feature_names)
    ]
    if len(cells) != len(kinds):
        raise UserMistake(
            f"--point {point}: has {format_count(len(cells), 'value')}, and the model takes "
            f"{len(kinds)}: {takes.shorten()}"
        )
    values: list[Any] = []
    for cell, is_text in zip(cells, kinds, strict=True):
        try:
            values.append(cell if is_text else float("nan") if is_missing(cell) else float(cell))
        except ValueError:
            mend = "; give values such as 1.5,2"
            if any(kinds):
                mend = f", and the model takes {takes.shorten()}"
            raise UserMistake(f"--point {point}: {cell!r} is not a number{mend}") from None
    return values


@contextmanager
def _open_model_tables(
    files: Sequence[Path], card: "ModelCard", reading: ReadingOptions
) -> Iterator[list["ModelRows"]]:
    """The tables, their columns checked before any model is loaded."""
    if not files:
        yield []
        return
    with open_tables(files, "batch", reading=reading) as given:
        from serving.tables.model_rows import ModelColumns, select_rows

        selected = select_rows(given.tables, ModelColumns.of(card))
        note_unused_columns(given.tables, [column for each in selected for column in each.used])
        yield selected


def _print(answers: Iterable["Assignment"], answered_by: str, *, as_json: bool) -> None:
    not_scored = 0
    # Not before there is an answer: what fails at once prints nothing.
    header = "" if as_json else "cluster_index,distance\n"
    for answer in answers:
        sys.stdout.write(header)
        header = ""
        not_scored += int((answer.cluster_index == BAD_ROW).sum())
        # str() of a float32 is the shortest text that stands for it; a Python float's is longer.
        pairs = zip(answer.cluster_index.tolist(), map(str, answer.distance), strict=True)
        if as_json:
            lines = (
                json_text.dumps({"cluster_index": index, "distance": float(distance)}) + "\n"
                for index, distance in pairs
            )
        else:
            lines = (f"{index},{distance}\n" for index, distance in pairs)
        sys.stdout.writelines(lines)
    sys.stdout.write(header)
    note(answered_by)
    if not_scored:
        rows = format_count(not_scored, "row")
        note(f"{rows} not scored (missing, infinite or out of range)")
