"""Quantiles of the distances of many rows, from counts only.

A distance is counted by its exponent and the first eight bits of its mantissa, and is represented
by the middle of its bin: the relative error is at most 2^-9. These are the logarithmic bins of
DDSketch (Masson, Rim and Lee 2019). The memory grows with the octaves of the distances, 2 KiB per
octave and cluster, not with the rows.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .model_card import QUANTILES

#: Bits of the mantissa that give the bins of an octave; and exponents of float32.
_BITS: Final = 8
_BINS: Final = 2**_BITS
_EXPONENTS: Final = 256
_MANTISSA_BITS: Final = 23


class DistanceHistogram:
    """Counts of the distances of n rows by cluster.

    Attributes:
        sizes: int64 [k], the rows of each cluster.
    """

    def __init__(self, n_clusters: int) -> None:
        self.sizes = np.zeros(n_clusters, np.int64)
        self._least = np.full(n_clusters, np.inf, np.float32)
        self._greatest = np.zeros(n_clusters, np.float32)
        # The index of the counts of an octave of a cluster, -1 if it has none.
        self._places = np.full(n_clusters * _EXPONENTS, -1, np.int64)
        self._counts = np.zeros((0, _BINS), np.int64)

    def add(self, cluster_index: NDArray[np.int32], distance: NDArray[np.float32]) -> None:
        """Count rows: their clusters int32 [m], and distances [m], not negative and finite."""
        self.sizes += np.bincount(cluster_index, minlength=len(self.sizes))
        np.minimum.at(self._least, cluster_index, distance)
        np.maximum.at(self._greatest, cluster_index, distance)
        bits = distance.view(np.int32)
        octave = cluster_index.astype(np.int64) * _EXPONENTS + (bits >> _MANTISSA_BITS)
        new = np.flatnonzero(np.bincount(octave, minlength=len(self._places)))
        new = new[self._places[new] < 0]
        if len(new):
            self._places[new] = len(self._counts) + np.arange(len(new))
            self._counts = np.pad(self._counts, [(0, len(new)), (0, 0)])
        mantissa = (bits >> (_MANTISSA_BITS - _BITS)) & (_BINS - 1)
        np.add.at(self._counts.reshape(-1), self._places[octave] * _BINS + mantissa, 1)

    def quantiles(self) -> dict[str, float]:
        """Return the quantiles of a card over all rows; minimum and maximum are exact."""
        return self._quantiles(0, len(self.sizes))

    def cluster_quantiles(self) -> list[dict[str, float]]:
        """Return the quantiles of a card for each cluster; empty for an empty cluster."""
        return [self._quantiles(index, index + 1) for index in range(len(self.sizes))]

    def _quantiles(self, first: int, last: int) -> dict[str, float]:
        """Return the quantiles over the clusters ``first`` to ``last`` (exclusive)."""
        if not self.sizes[first:last].any():
            return {}
        places = self._places[first * _EXPONENTS : last * _EXPONENTS].reshape(-1, _EXPONENTS)
        exponents = np.flatnonzero((places >= 0).any(axis=0))
        counts = np.stack([self._octave(places[:, exponent]) for exponent in exponents]).ravel()
        values = np.concatenate([_middles(int(exponent)) for exponent in exponents])
        least, greatest = self._least[first:last].min(), self._greatest[first:last].max()
        found = _weighted_quantiles(values.clip(least, greatest), counts, QUANTILES)
        return found | {"0": float(least), "1": float(greatest)}

    def _octave(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        counts: NDArray[np.int64] = self._counts[places[places >= 0]].sum(axis=0)
        return counts


def _middles(exponent: int) -> NDArray[np.float64]:
    """Return the middle of each bin of an octave; 0 for the lowest, of subnormal numbers."""
    first = np.arange(_BINS, dtype=np.uint32) << (_MANTISSA_BITS - _BITS)
    low = (first | np.uint32(exponent << _MANTISSA_BITS)).view(np.float32).astype(np.float64)
    if exponent == 0:
        return np.zeros(_BINS)
    middles: NDArray[np.float64] = low + np.ldexp(0.5 / _BINS, exponent - 127)
    return middles


def _weighted_quantiles(
    values: NDArray[np.float64], counts: NDArray[np.int64], levels: Mapping[str, float]
) -> dict[str, float]:
    """Return quantiles of ascending values with counts, interpolated like ``np.quantile``."""
    ends = np.cumsum(counts)
    ranks = np.array(list(levels.values())) * (ends[-1] - 1)
    below, above = (
        values[np.searchsorted(ends, each, side="right")]
        for each in (np.floor(ranks), np.ceil(ranks))
    )
    found = below + (above - below) * (ranks - np.floor(ranks))
    return dict(zip(levels, found.tolist(), strict=True))
