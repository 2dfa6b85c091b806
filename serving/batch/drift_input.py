"""Recent answers of a version, to look for drift in: from outputs of ``batch-score``, or a server.

An output is a file with the columns cluster_index and distance, in which a row that could not be
scored has -1; or a folder with such files in ``scored/`` and the number of the rejected rows in its
``summary.json``. Memory is bounded in the number of rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from export.drift import RecentAnswers
from export.json_text import parse_json
from kmeans_module.contract import BAD_ROW
from serving.clients.client import Client
from serving.clients.results import Assignment

from ..tables.errors import BadCell, NoRows, UnreadableFile
from ..tables.input_files import open_table
from ..tables.model_rows import ModelRows
from ..tables.reading_options import ReadingOptions
from ..tables.table import Table
from .assignments import assign_rows
from .tally import Tally

_COLUMNS: Final = ("cluster_index", "distance")
_SUMMARY: Final = "summary.json"
_SCORED: Final = "scored"
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ScoredOutput:
    """One output: its files, the number of rows rejected beside them, the version that answered."""

    files: tuple[Path, ...]
    rejected: int
    version: int | None


def open_output(path: Path) -> ScoredOutput:
    """The output in a file or a folder. Raises UnreadableFile."""
    if not path.is_dir():
        return ScoredOutput((path,), 0, None)
    summary = path / _SUMMARY
    try:
        said: Any = parse_json(summary.read_text(encoding="utf-8"))
        rejected, version = int(said["rejected"]), int(said["model"]["version"])
    except FileNotFoundError:
        raise UnreadableFile(
            f"{path}: has no {_SUMMARY}; give the folder of a finished batch-score, or its files"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(
            f"{summary}: is not a summary of batch-score: {type(error).__name__}: {error}"
        ) from None
    files = tuple(sorted(each for each in (path / _SCORED).glob("*") if each.is_file()))
    return ScoredOutput(files, rejected, version)


def read_outputs(
    outputs: Sequence[ScoredOutput],
    n_clusters: int,
    *,
    on_rows: Callable[[int], None],
    reading: ReadingOptions = ReadingOptions(),
) -> RecentAnswers:
    """Count what outputs say; ``on_rows`` is called with the number of rows of each block.

    Raises:
        UnreadableFile, ColumnMismatch: a file cannot be read, or is no output.
        BadCell: an index is none of the model's clusters.
        NoRows: there are none.
    """
    tally = Tally.empty(n_clusters)
    for output in outputs:
        tally.rows += output.rejected
        tally.rejected += output.rejected
    tables = (open_table(file, reading) for output in outputs for file in output.files)
    answers = (answer for table in tables for answer in _read_assignments(table, n_clusters))
    return _count(tally, answers, on_rows)


def ask_server(
    client: Client,
    tables: Sequence[ModelRows],
    n_clusters: int,
    version: int,
    *,
    on_rows: Callable[[int], None],
) -> RecentAnswers:
    """Count what ``version`` of a server says of the rows of ``tables``.

    Raises NoRows, and what reading the tables or asking the server raises.
    """
    answers = assign_rows(tables, partial(client.assign, version=version))
    return _count(Tally.empty(n_clusters), answers, on_rows)


def _count(
    tally: Tally, assignments: Iterable[Assignment], on_rows: Callable[[int], None]
) -> RecentAnswers:
    for each in assignments:
        tally.count(each.cluster_index, each.distance, each.cluster_index != BAD_ROW)
        on_rows(len(each.cluster_index))
    if not tally.rows:
        raise NoRows("there is no row to compare; give outputs or rows with at least one")
    return RecentAnswers(tally.cluster_counts, tally.rejected, tally.quantiles())


def _read_assignments(table: Table, n_clusters: int) -> Iterator[Assignment]:
    row = 0
    for block in table.with_widths(dict.fromkeys(_COLUMNS, 1)).blocks(_COLUMNS):
        index, distance = block[:, 0], block[:, 1]
        valid = (index == BAD_ROW) | (
            (index >= 0)
            & (index < n_clusters)
            & (index == np.floor(index))
            & (distance >= 0)
            & (distance <= _FLOAT32_MAX)
        )
        if not valid.all():
            first = int(np.argmin(valid))
            raise BadCell(
                f"{table.name}: {table.place(row + first + 1)}: cluster_index {index[first]:g} at "
                f"distance {distance[first]:g} is not an answer of a version with {n_clusters} "
                "clusters; give the version of the answers with --version"
            )
        row += len(block)
        with np.errstate(over="ignore"):  # a bad row may be at any distance
            yield Assignment(index.astype(np.int32), distance.astype(np.float32), None)


def find_version(outputs: Iterable[ScoredOutput]) -> int | None:
    """The version that all outputs that say so are of; None when none says so.

    Raises UnreadableFile when they are of several.
    """
    found = {output.version for output in outputs if output.version is not None}
    if len(found) > 1:
        names = ", ".join(map(str, sorted(found)))
        raise UnreadableFile(
            f"the outputs come from the versions {names}; give outputs of one version"
        )
    return next(iter(found), None)
