"""How far a candidate is from the version that is live: what the publish gate measures.

Both versions answer the same rows. Distances are taken in the live version's space, so that a
candidate of another scale is measured in the same unit. Imports no TensorFlow; matching clusters
needs SciPy.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_module.contract import BAD_ROW
from kmeans_module.one_line import OneLine


@dataclass(frozen=True)
class Thresholds:
    """How far a candidate may be from the live version; see ``Comparison``.

    Attributes:
        max_inertia_rise: as a share of the inertia of the live version.
        min_rows_kept: the least share of rows that keep their cluster.
        max_share_change: the largest change of a cluster's share of the rows.

    Example:
        >>> from tfkmeans import Thresholds
        >>> Thresholds(min_rows_kept=0.9)
        Thresholds(max_inertia_rise=0.1, min_rows_kept=0.9, max_share_change=0.25)
    """

    max_inertia_rise: float = 0.1
    min_rows_kept: float = 0.5
    max_share_change: float = 0.25


@dataclass(frozen=True, repr=False)
class Comparison(OneLine):
    """The figures of a candidate beside those of the live version.

    Attributes:
        live_version: what the candidate was compared with.
        rows: how many rows both answered.
        live_inertia: mean squared distance of those rows to their centroid, in the live version's
            space.
        candidate_inertia: likewise for the candidate, in the live version's space too.
        inertia_rise: candidate_inertia / live_inertia - 1.
        rows_kept: share of the rows whose cluster matches the one they were in. Clusters are
            matched one to one, by the least sum of distances between centroids.
        share_change: the largest change of a cluster's share of the rows; a cluster without a match
            changes by all of its share.

    Example:
        >>> from tfkmeans import Comparison, Thresholds
        >>> comparison = Comparison(
        ...     live_version=1, rows=300, live_inertia=1.5, candidate_inertia=1.8,
        ...     inertia_rise=0.2, rows_kept=0.97, share_change=0.02,
        ... )
        >>> comparison.beyond(Thresholds(max_inertia_rise=0.1))
        ['inertia on 300 rows is 1.8 a row, +20.0% compared with 1.5 of ver...']
    """

    live_version: int
    rows: int
    live_inertia: float
    candidate_inertia: float
    inertia_rise: float
    rows_kept: float
    share_change: float

    def beyond(self, thresholds: Thresholds) -> list[str]:
        """The figures beyond the thresholds, one line each.

        Args:
            thresholds: how far each figure may go.

        Returns:
            The lines; none where no figure is beyond.
        """
        found = []
        if self.inertia_rise > thresholds.max_inertia_rise:
            found.append(
                f"inertia on {self.rows:,} rows is {self.candidate_inertia:.6g} a row, "
                f"{self.inertia_rise:+.1%} compared with {self.live_inertia:.6g} of version "
                f"{self.live_version} (--max-inertia-rise {thresholds.max_inertia_rise:g})"
            )
        if self.rows_kept < thresholds.min_rows_kept:
            found.append(
                f"{self.rows_kept:.1%} of {self.rows:,} rows keep their cluster of version "
                f"{self.live_version} (--min-rows-kept {thresholds.min_rows_kept:g})"
            )
        if self.share_change > thresholds.max_share_change:
            found.append(
                f"a cluster's share changes by {self.share_change:.1%} compared with version "
                f"{self.live_version} (--max-share-change {thresholds.max_share_change:g})"
            )
        return found

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """``Comparison(**values)``, by the name of the release before.

        Args:
            values: the fields by name.

        Returns:
            The comparison.

        Raises:
            TypeError: a field is missing, or there is no such field.
        """
        warnings.warn(
            "Comparison.from_values(values) is Comparison(**values) now; the old name is "
            "removed in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return cls(**values)


@dataclass(frozen=True)
class NotCompared:
    """No figure was taken, for the rows that it takes were left out on purpose; why, in words."""

    reason: str


@dataclass(frozen=True)
class Answers:
    """What a version says of the rows: cluster_index [n]; and its centroids [k, d].

    The centroids are in the live version's space.
    """

    cluster_index: NDArray[np.integer[Any]]
    centroids: NDArray[np.floating[Any]]


def compare(
    rows: NDArray[np.floating[Any]],
    live: Answers,
    candidate: Answers,
    live_version: int,
) -> Comparison | None:
    """Compare two versions on ``rows`` [n, d]; None when no row is answered by both.

    The rows are in the live version's space: see ``ModelCard.to_model_space``.
    """
    both = (live.cluster_index != BAD_ROW) & (candidate.cluster_index != BAD_ROW)
    if not both.any():
        return None
    rows = rows[both]
    before, after = live.cluster_index[both], candidate.cluster_index[both]
    live_inertia = _mean_squared_distance(rows, live.centroids[before])
    candidate_inertia = _mean_squared_distance(rows, candidate.centroids[after])
    match = match_clusters(live.centroids, candidate.centroids)
    return Comparison(
        live_version=live_version,
        rows=len(rows),
        live_inertia=live_inertia,
        candidate_inertia=candidate_inertia,
        inertia_rise=relative_change(live_inertia, candidate_inertia),
        rows_kept=float(np.mean(match[after] == before)),
        share_change=_largest_share_change(before, match[after], len(live.centroids), after),
    )


def _mean_squared_distance(rows: NDArray[Any], centroids: NDArray[Any]) -> float:
    offset = rows.astype(np.float64) - centroids
    return float(np.square(offset).sum(axis=1).mean())


def relative_change(before: float, after: float) -> float:
    """after / before - 1; what float32 rounds to 0 counts as 0."""
    tiny = float(np.finfo(np.float32).tiny)
    if before > tiny:
        return after / before - 1
    return 0.0 if after <= tiny else float(np.finfo(np.float64).max)


def match_clusters(live: NDArray[Any], candidate: NDArray[Any]) -> NDArray[np.int64]:
    """For each cluster of the candidate, that of the live version; -2 for one without.

    One to one, by the least sum of distances between the centroids [k, d], which are in one space.
    """
    # Imported here: SciPy takes hundreds of megabytes, and only this needs it.
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    mine, theirs = linear_sum_assignment(cdist(candidate, live))
    match = np.full(len(candidate), -2, np.int64)
    match[mine] = theirs
    return match


def _largest_share_change(
    before: NDArray[Any], after: NDArray[Any], n_live: int, own: NDArray[Any]
) -> float:
    """``after`` holds the matched clusters, ``own`` the candidate's own numbers of them."""
    shares_before = np.bincount(before, minlength=n_live) / len(before)
    shares_after = np.bincount(after[after >= 0], minlength=n_live) / len(after)
    unmatched = np.bincount(own[after < 0], minlength=1) / len(after)
    return float(max(np.abs(shares_after - shares_before).max(), unmatched.max()))
