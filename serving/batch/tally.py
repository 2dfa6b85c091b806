"""Counts of scored rows, which can be added over parts in any order."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from export.model_card import QUANTILES

from .column_gaps import Gaps, add_gaps

#: Bits of a float32 below those that tell a bin: sign, exponent and 8 bits of the mantissa remain,
#: so that a bin is at most 1/256 of its distances wide.
_LOW_BITS: Final = 15

#: The bins of numbers that are not negative.
_BINS: Final = 2 ** (31 - _LOW_BITS)


@dataclass
class Tally:
    """Counts of rows, of clusters and of distances.

    Distances are counted in bins of constant relative width, as in DDSketch (Masson, Rim and Lee,
    2019): memory is bounded whatever the number of rows, and quantiles are right to 0.2 %.

    Attributes:
        rows: those that were read.
        rejected: those that could not be scored.
        cluster_counts: int64 [k].
        least, most: the extreme distances; those of infinity when no row was scored.
        gaps: the values of scored rows that the model has no value for, by column.
    """

    cluster_counts: NDArray[np.int64]
    rows: int = 0
    rejected: int = 0
    least: float = math.inf
    most: float = -math.inf
    gaps: Gaps = field(default_factory=dict)
    _bins: Counter[int] = field(default_factory=Counter)
    # Of what was counted since the bins were asked for, by all bins: int64 [bins].
    _recent: NDArray[np.int64] | None = None

    @property
    def bins(self) -> Counter[int]:
        """The number of distances in each bin, by the bin."""
        if self._recent is not None:
            bins = np.flatnonzero(self._recent)
            self._bins.update(dict(zip(bins.tolist(), self._recent[bins].tolist(), strict=True)))
            self._recent = None
        return self._bins

    @classmethod
    def empty(cls, n_clusters: int) -> Self:
        return cls(np.zeros(n_clusters, np.int64))

    def count(
        self,
        cluster_index: NDArray[np.int32],
        distance: NDArray[np.float32],
        is_scored: NDArray[np.bool_],
        gaps: Gaps = MappingProxyType({}),
    ) -> None:
        """Add rows, with what ``count_gaps`` found; those that were not scored are rejected."""
        self.gaps = add_gaps(self.gaps, gaps)
        if not is_scored.all():
            cluster_index, distance = cluster_index[is_scored], distance[is_scored]
        self.rows += len(is_scored)
        self.rejected += len(is_scored) - len(distance)
        if not len(distance):
            return
        self.cluster_counts += np.bincount(cluster_index, minlength=len(self.cluster_counts))
        least, most = distance.min(), distance.max()
        # Of numbers that are not negative, the bits rise with the value.
        first = int(least.view(np.uint32)) >> _LOW_BITS
        counts = np.bincount((distance.view(np.uint32) >> _LOW_BITS) - first)
        if self._recent is None:
            self._recent = np.zeros(_BINS, np.int64)
        self._recent[first : first + len(counts)] += counts
        self.least = min(self.least, float(least))
        self.most = max(self.most, float(most))

    def add(self, other: "Tally") -> None:
        """Add other counts."""
        self.rows += other.rows
        self.rejected += other.rejected
        self.cluster_counts += other.cluster_counts
        self.bins.update(other.bins)
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.gaps = add_gaps(self.gaps, other.gaps)

    def quantiles(self) -> dict[str, float]:
        """Return the same quantiles of distances as a model card; empty without rows."""
        counts = self.bins
        if not counts:
            return {}
        bins = np.array(sorted(counts), np.uint32)
        upto = np.cumsum([counts[int(each)] for each in bins])
        # The middle of each bin; the extremes are known.
        middle = ((bins << _LOW_BITS) | (1 << (_LOW_BITS - 1))).view(np.float32).astype(float)
        ranks = np.array(list(QUANTILES.values())) * (upto[-1] - 1)
        values = middle[np.searchsorted(upto, ranks, side="right")].clip(self.least, self.most)
        values[0], values[-1] = self.least, self.most
        return dict(zip(QUANTILES, values.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        bins = self.bins
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "cluster_counts": self.cluster_counts.tolist(),
            "bins": {str(each): bins[each] for each in sorted(bins)},
            "least": self.least if bins else None,
            "most": self.most if bins else None,
            "gaps": self.gaps,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        least, most = (value["least"], value["most"]) if value["bins"] else (math.inf, -math.inf)
        return cls(
            np.array(value["cluster_counts"], np.int64),
            value["rows"],
            value["rejected"],
            least,
            most,
            value.get("gaps", {}),  # 0.1 had none
            Counter({int(each): count for each, count in value["bins"].items()}),
        )
