"""What scores rows: the interface, and the model in this process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import ArrayLike

from export.published_version import PublishedVersion
from serving.clients.results import Assignment, Distances, Score

#: Points float32 [n, d] in raw units; or columns by their names, where the model takes these.
Rows = ArrayLike | Mapping[str, Any]


class Scorer(Protocol):
    """Answers for each row. Threads may share it."""

    def assign(self, rows: Rows, /) -> Assignment:
        """The nearest cluster of each row, and the distance to it."""

    def score(self, rows: Rows, /) -> Score:
        """How well each row fits its cluster."""

    def transform(self, rows: Rows, /) -> Distances:
        """The distances of each row to every centroid."""

    def confirm(self) -> None:
        """Check that the same model still answers, before its answers are recorded."""


class LocalScorer(PublishedVersion):
    """A published version, loaded into this process; needs TensorFlow."""

    def __init__(self, version_directory: str | Path) -> None:
        """Load it. Raises InvalidCandidate when it cannot be loaded or lacks a signature."""
        super().__init__(version_directory)
        _ = self.model

    def confirm(self) -> None:
        """Do nothing: a loaded model does not change."""
