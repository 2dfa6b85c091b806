"""How far recent answers of a version are from what its card says of the training rows.

Three figures are held against the card: the clusters' shares of the rows, quantiles of the
distances, and the share of the rows that cannot be answered. Each is called drift only where it is
beyond its threshold and beyond what chance alone does to so few rows. Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .comparison import relative_change
from .model_card import QUANTILES, ModelCard

#: What a standard normal variable exceeds once in a thousand times.
_ONE_IN_A_THOUSAND: Final = 3.0902

#: The quantiles that are judged; the least and the greatest distance are single rows.
JUDGED: Final = ("0.25", "0.5", "0.75", "0.95")


@dataclass(frozen=True)
class DriftThresholds:
    """How far recent answers may be from the card; see ``Drift``.

    The population stability index of 0.2 is between the usual 0.1 and 0.25 (Siddiqi, 2006).
    """

    max_psi: float = 0.2
    max_distance_change: float = 0.25
    max_rejected_rise: float = 0.05


@dataclass(frozen=True)
class RecentAnswers:
    """What a version said of recent rows.

    Attributes:
        cluster_counts: int64 [k], the rows of each cluster.
        rejected: rows that could not be answered.
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

    ``by_chance`` says that so few rows may well give such a quantile without any drift.
    """

    quantile: str
    baseline: float
    recent: float
    change: float
    by_chance: bool


@dataclass(frozen=True)
class Drift:
    """Recent answers beside the card.

    Attributes:
        rows: recent rows, the rejected ones included.
        clusters: one for each cluster.
        psi: the population stability index of the shares: the sum of (recent - baseline) *
            ln(recent / baseline), which is Jeffreys' divergence (1946). None when no recent row was
            answered.
        psi_by_chance: what the index exceeds once in a thousand times when nothing has changed: it
            is then distributed as (1/n + 1/m) chi-squared with k - 1 degrees of freedom (Yurdakul
            and Naranjo, 2020).
        distances: the quantiles that are judged; empty when the card has none, as of an import.
        rejected_baseline, rejected_recent: shares of the rows that were not answered.
        rejected_by_chance: whether so few rows may well give such a share without any drift.
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
        """The figures beyond the thresholds, and beyond chance, one line each."""
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
    """Hold ``recent``, of at least one row, against ``card``."""
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
    # Half a row more in each cluster, so that an empty one has a logarithm too.
    smooth = [_shares(counts + 0.5) for counts in (baseline, recent)]
    terms = (smooth[1] - smooth[0]) * np.log(smooth[1] / smooth[0])
    values = zip(shares[0].tolist(), shares[1].tolist(), terms.tolist(), strict=True)
    return tuple(ClusterShare(index, *each) for index, each in enumerate(values))


def _shares(counts: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def _psi_by_chance(clusters: int, baseline_rows: int, recent_rows: int) -> float:
    """By the approximation of chi-squared of Wilson and Hilferty (1931)."""
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
        # The share of the recent rows that are nearer than the card's quantile.
        nearer = float(np.interp(before, values, list(QUANTILES.values())))
        chance = _is_chance(level, nearer, card.data.rows_used, recent.answer_count)
        change = relative_change(before, after)
        changes.append(QuantileChange(name, before, after, change, chance))
    return tuple(changes)


def _is_chance(before: float, after: float, rows_before: int, rows_after: int) -> bool:
    """Whether two shares may be of one kind of rows, by the interval of Agresti and Caffo (2000).

    It counts one row more on either side, so that it is right for a handful of rows too.
    """
    first = (before * rows_before + 1) / (rows_before + 2)
    second = (after * rows_after + 1) / (rows_after + 2)
    variance = first * (1 - first) / (rows_before + 2) + second * (1 - second) / (rows_after + 2)
    return bool(abs(second - first) <= _ONE_IN_A_THOUSAND * variance**0.5)


def largest_changes(clusters: Sequence[ClusterShare], number: int) -> list[ClusterShare]:
    """Those that move the index most, in the order of their numbers."""
    most = sorted(clusters, key=lambda each: -each.psi)[:number]
    return sorted(most, key=lambda each: each.index)
