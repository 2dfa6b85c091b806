"""What a version said lately: read from outputs of ``batch-score``, or asked of a server.

An output is a file with the columns cluster_index and distance, in which a row that could not be
scored has -1; or a folder with such files in ``scored/`` and the number of the rejected rows in its
``summary.json``. Memory is bounded in the number of rows.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from export.drift import RecentAnswers
from export.model_card import QUANTILES
from kmeans_module.contract import BAD_ROW
from serving.results import Assignment

from .assigning import assignments
from .errors import BadCell, NoRows, UnreadableFile
from .readers import open_table
from .table import Table

COLUMNS: Final = ("cluster_index", "distance")
_SUMMARY: Final = "summary.json"
_SCORED: Final = "scored"

#: Bits of a float32 below those that tell its bin: a bin is at most 1/512 of its distances wide.
_LOW_BITS: Final = 14


@dataclass(frozen=True)
class Output:
    """One output: its files, the rows that were rejected beside them, the version that answered."""

    files: tuple[Path, ...]
    rejected: int
    version: int | None


def open_output(path: Path) -> Output:
    """The output in a file or a folder. Raises UnreadableFile."""
    if not path.is_dir():
        return Output((path,), 0, None)
    summary = path / _SUMMARY
    try:
        said: Any = json.loads(summary.read_text(encoding="utf-8"))
        rejected, version = int(said["rejected"]), int(said["model"]["version"])
    except FileNotFoundError:
        raise UnreadableFile(
            f"{path}: has no {_SUMMARY}; name the folder of a finished batch-score, or its files"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(
            f"{summary}: is no summary of batch-score: {type(error).__name__}: {error}"
        ) from None
    files = tuple(sorted(each for each in (path / _SCORED).glob("*") if each.is_file()))
    return Output(files, rejected, version)


def read_outputs(
    outputs: Sequence[Output], n_clusters: int, *, on_rows: Callable[[int], None]
) -> RecentAnswers:
    """Count what outputs say; ``on_rows`` is called with the number of rows of each block.

    Raises:
        UnreadableFile, ColumnMismatch: a file cannot be read, or is no output.
        BadCell: an index is none of the model's clusters.
        NoRows: there are none.
    """
    counts = _Counts(n_clusters)
    for output in outputs:
        counts.rejected += output.rejected
        for table in map(open_table, output.files):
            for assignment in _answers(table, n_clusters):
                counts.add(assignment)
                on_rows(len(assignment.cluster_index))
    return counts.recent()


class VersionedClient(Protocol):
    """A client of a server that can be asked for one version."""

    def assign(self, points: Any, /, *, version: int | None = None) -> Assignment: ...


def ask_server(
    client: VersionedClient,
    tables: Iterable[Table],
    feature_names: Sequence[str],
    n_clusters: int,
    version: int,
    *,
    on_rows: Callable[[int], None],
) -> RecentAnswers:
    """Count what ``version`` of a server says of the rows of ``tables``.

    Raises NoRows, and what reading the tables or asking the server raises.
    """
    counts = _Counts(n_clusters)
    for assignment in assignments(tables, _OneVersion(client, version), feature_names):
        counts.add(assignment)
        on_rows(len(assignment.cluster_index))
    return counts.recent()


@dataclass(frozen=True)
class _OneVersion:
    """An assigner: a client that is always asked for the same version."""

    client: VersionedClient
    version: int

    def assign(self, points: Any, /) -> Assignment:
        return self.client.assign(points, version=self.version)


class _Counts:
    """The rows of each cluster, and of each bin of distances.

    A bin has the same relative width as any other, as in DDSketch (Masson, Rim and Lee, 2019).
    """

    def __init__(self, n_clusters: int) -> None:
        self.rejected = 0
        self._clusters = np.zeros(n_clusters, np.int64)
        # Floats that are not negative are ordered as their bits are.
        self._bins = np.zeros(2 ** (31 - _LOW_BITS), np.int64)
        self._least, self._most = np.inf, -np.inf

    def add(self, assignment: Assignment) -> None:
        scored = assignment.cluster_index != BAD_ROW
        self.rejected += int(np.count_nonzero(~scored))
        clusters, distance = assignment.cluster_index[scored], assignment.distance[scored]
        if not len(distance):
            return
        self._clusters += np.bincount(clusters, minlength=len(self._clusters))
        bins = np.bincount(distance.view(np.uint32) >> _LOW_BITS, minlength=len(self._bins))
        self._bins += bins
        self._least = min(self._least, float(distance.min()))
        self._most = max(self._most, float(distance.max()))

    def recent(self) -> RecentAnswers:
        answers = RecentAnswers(self._clusters, self.rejected, self._quantiles())
        if not answers.rows:
            raise NoRows("there is no row to compare; give outputs or rows with at least one")
        return answers

    def _quantiles(self) -> dict[str, float]:
        upto = np.cumsum(self._bins)
        if not upto[-1]:
            return {}
        ranks = np.array(list(QUANTILES.values())) * (upto[-1] - 1)
        bins = np.searchsorted(upto, ranks, side="right").astype(np.uint32)
        middle = ((bins << _LOW_BITS) | (1 << (_LOW_BITS - 1))).view(np.float32).astype(np.float64)
        values = middle.clip(self._least, self._most)
        values[0], values[-1] = self._least, self._most
        return dict(zip(QUANTILES, values.tolist(), strict=True))


def _answers(table: Table, n_clusters: int) -> Iterator[Assignment]:
    row = 0
    for block in table.blocks(COLUMNS):
        index, distance = block[:, 0], block[:, 1]
        valid = (index == BAD_ROW) | (
            (index >= 0) & (index < n_clusters) & (index == np.floor(index)) & (distance >= 0)
        )
        if not valid.all():
            first = int(np.argmin(valid))
            raise BadCell(
                f"{table.name}: {table.place(row + first + 1)}: cluster_index {index[first]:g} at "
                f"distance {distance[first]:g} is no answer of a version with {n_clusters} "
                "clusters; name the version that answered with --version"
            )
        row += len(block)
        yield Assignment(index.astype(np.int32), distance.astype(np.float32), None)


def answering_version(outputs: Iterable[Output]) -> int | None:
    """The version that all outputs that say so are of; None when none says so.

    Raises UnreadableFile when they are of several.
    """
    found = {output.version for output in outputs if output.version is not None}
    if len(found) > 1:
        names = ", ".join(map(str, sorted(found)))
        raise UnreadableFile(f"the outputs are of the versions {names}; give those of one")
    return next(iter(found), None)
