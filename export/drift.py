"""Compare recent answers of a version with the training rows in its card.

Three figures are compared with the card: the clusters' shares of the rows, quantiles of the
distances, and the share of rejected rows. A figure counts as drift only if it is beyond its
threshold and beyond random variation for this number of rows. Does not import TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .comparison import relative_change
from .model_card import QUANTILES, ModelCard

#: The value that a standard normal variable exceeds with a probability of 0.001.
_ONE_IN_A_THOUSAND: Final = 3.0902

#: The compared quantiles; minimum and maximum are single rows.
JUDGED: Final = ("0.25", "0.5", "0.75", "0.95")


@dataclass(frozen=True)
class DriftThresholds:
    """The allowed differences of recent answers from the card; see ``Drift``.

    The population stability index of 0.2 is between the usual 0.1 and 0.25 (Siddiqi, 2006).
    """

    max_psi: float = 0.2
    max_distance_change: float = 0.25
    max_rejected_rise: float = 0.05


@dataclass(frozen=True)
class RecentAnswers:
    """The answers of a version to recent rows.

    Attributes:
        cluster_counts: int64 [k], the rows of each cluster.
        rejected: the number of rejected rows.
        distance_quantiles: of the answered rows, by the names in ``QUANTILES``; empty without any.
    """

    cluster_counts: NDArray[np.int64]
    rejected: int
    distance_quantiles: Mapping[str, float]

    @property
    def answer_count(self) -> int:
        return int(self.cluster_counts.sum())

    @property
    def rows(self) -> int:
        return self.answer_count + self.rejected


@dataclass(frozen=True)
class ClusterShare:
    """A cluster's share of the training rows and of the recent ones, and its part in the index."""

    index: int
    baseline: float
    recent: float
    psi: float


@dataclass(frozen=True)
class QuantileChange:
    """A quantile of the distances, in the model's space: recent / baseline - 1 is ``change``.

    ``by_chance`` is true if random variation can explain the change for this number of rows.
    """

    quantile: str
    baseline: float
    recent: float
    change: float
    by_chance: bool


@dataclass(frozen=True)
class Drift:
    """Recent answers compared with the card.

    Attributes:
        rows: the number of recent rows, including rejected ones.
        clusters: one for each cluster.
        psi: the population stability index of the shares: the sum of (recent - baseline) *
            ln(recent / baseline), which is Jeffreys' divergence (1946). None when no recent row was
            answered.
        psi_by_chance: the value that the index exceeds with probability 0.001 without change: it
            is then distributed as (1/n + 1/m) chi-squared with k - 1 degrees of freedom
            (Yurdakul and Naranjo, 2020).
        distances: the compared quantiles; empty if the card has none, for example after an import.
        rejected_baseline, rejected_recent: shares of rejected rows.
        rejected_by_chance: whether random variation can explain the change of this share.
    """

    rows: int
    clusters: tuple[ClusterShare, ...]
    psi: float | None
    psi_by_chance: float
    distances: tuple[QuantileChange, ...]
    rejected_baseline: float
    rejected_recent: float
    rejected_by_chance: bool

    def beyond(self, thresholds: DriftThresholds) -> list[str]:
        """Return the figures beyond the thresholds and beyond random variation, one line each."""
        found = []
        if self.psi is None:
            found.append("no recent row was answered")
        elif self.psi > max(thresholds.max_psi, self.psi_by_chance):
            most = max(self.clusters, key=lambda each: each.psi)
            found.append(
                f"the cluster shares have changed: index {self.psi:.3f} (--max-psi "
                f"{thresholds.max_psi:g}), most of all cluster {most.index}, {most.baseline:.1%} "
                f"-> {most.recent:.1%}"
            )
        found += [
            f"the {float(each.quantile):.0%} quantile of the distances has changed by "
            f"{each.change:+.1%}, {each.baseline:.6g} -> {each.recent:.6g} (--max-distance-change "
            f"{thresholds.max_distance_change:g})"
            for each in self.distances
            if abs(each.change) > thresholds.max_distance_change and not each.by_chance
        ]
        rise = self.rejected_recent - self.rejected_baseline
        if rise > thresholds.max_rejected_rise and not self.rejected_by_chance:
            found.append(
                f"{self.rejected_recent:.1%} of the rows could not be answered, and "
                f"{self.rejected_baseline:.1%} of the training rows (--max-rejected-rise "
                f"{thresholds.max_rejected_rise:g})"
            )
        return found


def measure_drift(card: ModelCard, recent: RecentAnswers) -> Drift:
    """Compare ``recent``, with at least one row, with ``card``."""
    sizes = np.array([each.size for each in card.clusters], np.int64)
    clusters = _cluster_shares(sizes, recent.cluster_counts)
    answered = recent.answer_count
    before, after = card.data.rows_left_out / card.data.rows_read, recent.rejected / recent.rows
    return Drift(
        rows=recent.rows,
        clusters=clusters,
        psi=sum(each.psi for each in clusters) if answered else None,
        psi_by_chance=_psi_by_chance(len(sizes), int(sizes.sum()), answered) if answered else 0.0,
        distances=_distance_changes(card, recent) if answered else (),
        rejected_baseline=before,
        rejected_recent=after,
        rejected_by_chance=_is_chance(before, after, card.data.rows_read, recent.rows),
    )


def _cluster_shares(
    baseline: NDArray[np.int64], recent: NDArray[np.int64]
) -> tuple[ClusterShare, ...]:
    shares = [_shares(counts) for counts in (baseline, recent)]
    # Half a row is added to each cluster, so that an empty one has a logarithm too.
    smooth = [_shares(counts + 0.5) for counts in (baseline, recent)]
    terms = (smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])
    values = zip(shares[0].tolist(), shares[1].tolist(), terms.tolist(), strict=True)
    return tuple(ClusterShare(index, *each) for index, each in enumerate(values))


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def _psi_by_chance(clusters: int, baseline_rows: int, recent_rows: int) -> float:
    """Compute the value by the approximation of Wilson and Hilferty (1931) of chi-squared."""
    if clusters == 1:
        return 0.0
    freedom = clusters - 1
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + _ONE_IN_A_THOUSAND * spread**0.5) ** 3
    return float((1 / baseline_rows + 1 / recent_rows) * quantile)


def _distance_changes(card: ModelCard, recent: RecentAnswers) -> tuple[QuantileChange, ...]:
    if not card.distance_quantiles:
        return ()
    values = [recent.distance_quantiles[name] for name in QUANTILES]
    changes = []
    for name in JUDGED:
        level, before = QUANTILES[name], card.distance_quantiles[name]
        after = recent.distance_quantiles[name]
        # The share of the recent rows that are nearer than the quantile in the card.
        nearer = float(np.interp(before, values, list(QUANTILES.values())))
        chance = _is_chance(level, nearer, card.data.rows_used, recent.answer_count)
        change = relative_change(before, after)
        changes.append(QuantileChange(name, before, after, change, chance))
    return tuple(changes)


def _is_chance(before: float, after: float, rows_before: int, rows_after: int) -> bool:
    """Whether two shares can come from equal populations, by the interval of Agresti and Caffo
    (2000).

    It adds one row on either side, so it is valid for few rows too.
    """
    first = (before * rows_before + 1) / (rows_before + 2)
    second = (after * rows_after + 1) / (rows_after + 2)
    variance = first * (1 - first) / (rows_before + 2) + second * (1 - second) / (rows_after + 2)
    return bool(abs(second - first) <= _ONE_IN_A_THOUSAND * variance**0.5)


def largest_changes(clusters: Sequence[ClusterShare], number: int) -> list[ClusterShare]:
    """Return the clusters with the largest part in the index, in the order of their numbers."""
    most = sorted(clusters, key=lambda each: -each.psi)[:number]
    return sorted(most, key=lambda each: each.index)
