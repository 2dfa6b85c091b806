"""Scorers of rows: the interface, and the model in this process."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from export.published_version import PublishedVersion
from serving.clients.results import Assignment, Distances, Score

from ..tables.columns import to_float32
from ..tables.encoded_points import encode_points

if TYPE_CHECKING:
    from kmeans_module.column_assignment import ColumnAssignment

#: From so many rows on, a kernel of the model's own earns back the third of a second that it takes
#: to compile.
MANY_ROWS: Final = 3_000_000

#: Batches that the kernel is asked about at once, so that threads take turns less often.
_KERNEL_BATCHES: Final = 2

#: Rows of the first question to the served graph. From 16 on, TensorFlow compiles a product, which
#: later questions of any size use.
_FIRST_ROWS: Final = 256

#: Points float32 [n, d] in raw units; or columns by their names, where the model takes these.
Rows = ArrayLike | Mapping[str, Any]


class Scorer(Protocol):
    """Answers for each row. Threads may share it.

    One with an attribute ``batches`` is asked about so many batches of rows at once, else about
    one.
    """

    def assign(self, rows: Rows, /) -> Assignment:
        """Return the nearest cluster of each row, and the distance to its centroid."""

    def score(self, rows: Rows, /) -> Score:
        """Return measures of how well each row fits its cluster."""

    def transform(self, rows: Rows, /) -> Distances:
        """Return the distances of each row to every centroid."""

    def confirm(self) -> None:
        """Check that the same model still answers, before its answers are recorded."""


@dataclass(frozen=True)
class Undecided:
    """Rows of an assignment that have a cluster, which only the served graph can tell.

    Attributes:
        assignment: that of all rows, which holds cluster 0 in these until it is finished.
        places: intp [m], which rows they are.
        points: float32 [m, d], in raw units.
    """

    assignment: Assignment
    places: NDArray[np.intp]
    points: NDArray[np.float32]


class LocalScorer(PublishedVersion):
    """A published version, loaded into this process; needs TensorFlow.

    Of many rows, a kernel that is compiled for the model finds the clusters, several times as
    quickly as the served graph. The graph is asked where its rounding could tell: each cluster is
    the one that it says, and a distance differs from its by 5e-7 of itself at most.
    """

    batches: int = 1

    def __init__(self, version_directory: str | Path, rows: int | None = None) -> None:
        """Load it.

        Args:
            version_directory: the folder of the version.
            rows: how many it will be asked about, or so; many are worth compiling a kernel for.
                None is not known.

        Raises InvalidCandidate when it cannot be loaded or lacks a signature.
        """
        super().__init__(version_directory)
        self._kernel: ColumnAssignment | None = None
        if rows is not None and rows >= MANY_ROWS:
            self._kernel = self._load_with_kernel()
            if self._kernel is not None:
                self.batches = _KERNEL_BATCHES
        _ = self.model

    def assign(self, points: Rows, /) -> Assignment:
        found, undecided = self.begin_assign(points)
        if undecided is not None:
            self.finish_assign([undecided])
        return found

    def begin_assign(self, rows: Rows, /) -> tuple[Assignment, Undecided | None]:
        """`assign`, but for rows whose clusters `finish_assign` finds.

        The served graph takes a fifth of a millisecond for a few rows, however few these are: it
        is worth asking about the rows of many batches at once.

        Returns:
            The assignment, and the rows of it that are not finished; None for none.
        """
        kernel = self._kernel
        points = None if kernel is None else encode_points(self.card.columns, rows)
        # Rows of another form have their own errors.
        if kernel is None or points is None or points.shape[1:] != (self.card.n_features,):
            return super().assign(rows), None
        from kmeans_module.column_assignment import OUT_OF_RANGE

        index, distance = kernel.assign(points)
        left = np.flatnonzero(distance < 0)
        found = Assignment(index, distance, self.version)
        if not len(left):
            return found, None
        undecided = Undecided(found, left, to_float32(points[left]))
        # Who rejects a row needs to know it now.
        if (distance[left] == OUT_OF_RANGE).any():
            self.finish_assign([undecided])
            return found, None
        index[left] = 0
        return found, undecided

    def finish_assign(self, undecided: Sequence[Undecided]) -> None:
        """Write the clusters and distances of these rows into their assignments; at least one."""
        said = super().assign(np.concatenate([each.points for each in undecided]))
        start = 0
        for each in undecided:
            stop = start + len(each.places)
            each.assignment.cluster_index[each.places] = said.cluster_index[start:stop]
            each.assignment.distance[each.places] = said.distance[start:stop]
            start = stop

    def confirm(self) -> None:
        """Do nothing: a loaded model does not change."""

    def _load_with_kernel(self) -> "ColumnAssignment | None":
        """Load the model, and compile its kernel meanwhile; None where it has no use of one."""
        card = self.card
        from kmeans_module.column_assignment import (
            ColumnAssignment,
            compile_assignment,
            suits_columns,
        )

        # What maps do after the columns, only the served graph knows.
        if (card.encoder and card.encoder.maps) or not suits_columns(card.n_features):
            return None
        with ThreadPoolExecutor(1, "tfkmeans-compiler") as pool:
            compiled = pool.submit(
                compile_assignment, card.n_clusters, card.n_features, card.scale, card.distance
            )
            model = self.model
            # The first question takes longer than any other.
            super().assign(np.zeros((_FIRST_ROWS, card.n_features), np.float32))
            compiled.result()
        variables = (model.centroids, model.shift, model.scale)
        centroids, shift, scale = (each.numpy() for each in variables)
        return ColumnAssignment(centroids, shift, scale, card.distance)
