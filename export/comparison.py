"""Compare a candidate with the live version: the figures of the publish gate.

Both versions answer the same rows. Distances are in the live version's space, so a candidate with
another scale is measured in the same unit. Does not import TensorFlow; matching clusters needs
SciPy.
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
    """The allowed differences of a candidate from the live version; see ``Comparison``.

    Attributes:
        max_inertia_rise: the largest rise, as a share of the inertia of the live version.
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
    """The figures of a candidate and of the live version.

    Attributes:
        live_version: the number of the live version.
        rows: the number of rows that both answered.
        live_inertia: mean squared distance of these rows to their centroid, in the live space.
        candidate_inertia: the same for the candidate, also in the live version's space.
        inertia_rise: candidate_inertia / live_inertia - 1.
        rows_kept: share of the rows whose new cluster matches the previous one. Clusters are
            matched one to one, with the least sum of distances between centroids.
        share_change: the largest change of a cluster's share of the rows; for a cluster without a
            match this is its whole share.

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
        """Return the figures beyond the thresholds, one line each.

        Args:
            thresholds: the limits of the figures.

        Returns:
            The lines; empty if no figure is beyond its limit.

        Example:
            >>> from tfkmeans import Comparison, Thresholds
            >>> comparison = Comparison(
            ...     live_version=1, rows=300, live_inertia=1.5, candidate_inertia=1.5,
            ...     inertia_rise=0.0, rows_kept=0.97, share_change=0.4,
            ... )
            >>> comparison.beyond(Thresholds(max_share_change=0.5))
            []
            >>> comparison.beyond(Thresholds())
            ["a cluster's share changes by 40.0% compared with version 1 (--max-share-change 0.25)"]
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
        """Return ``Comparison(**values)``; the name of the previous release.

        Args:
            values: the fields by name.

        Returns:
            The comparison.

        Raises:
            TypeError: a field is missing or unknown.

        Example:
            >>> import warnings
            >>> from tfkmeans import Comparison
            >>> values = dict(
            ...     live_version=1, rows=300, live_inertia=1.5, candidate_inertia=1.5,
            ...     inertia_rise=0.0, rows_kept=0.97, share_change=0.4,
            ... )
            >>> with warnings.catch_warnings():
            ...     warnings.simplefilter("ignore", DeprecationWarning)
            ...     Comparison.from_values(values) == Comparison(**values)
            True
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
    """Nothing was compared, because the versions contain no rows on purpose; with the reason."""

    reason: str


@dataclass(frozen=True)
class Answers:
    """The answers of a version to rows: cluster_index [n]; and its centroids [k, d].

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
    """Compare two versions on ``rows`` [n, d]; None if no row is answered by both.

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
    """Return after / before - 1; numbers that float32 rounds to 0 count as 0."""
    tiny = float(np.finfo(np.float32).tiny)
    if before > tiny:
        return after / before - 1
    return 0.0 if after <= tiny else float(np.finfo(np.float64).max)


def match_clusters(live: NDArray[Any], candidate: NDArray[Any]) -> NDArray[np.int64]:
    """Return the matching live cluster of each cluster of the candidate; -2 without a match.

    The matching is one to one, with the least sum of distances between the centroids [k, d], which
    are in one space.
    """
    # Imported here, because SciPy needs hundreds of megabytes, and only this function uses it.
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    mine, theirs = linear_sum_assignment(cdist(candidate, live))
    match = np.full(len(candidate), -2, np.int64)
    match[mine] = theirs
    return match


def _largest_share_change(
    before: NDArray[Any], after: NDArray[Any], n_live: int, own: NDArray[Any]
) -> float:
    """Return the largest change of a share; ``after`` are matched clusters, ``own`` those of the
    candidate.
    """
    shares_before = np.bincount(before, minlength=n_live) / len(before)
    shares_after = np.bincount(after[after >= 0], minlength=n_live) / len(after)
    unmatched = np.bincount(own[after < 0], minlength=1) / len(after)
    return float(max(np.abs(shares_after - shares_before).max(), unmatched.max()))
