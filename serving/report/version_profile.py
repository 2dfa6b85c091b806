"""What a report shows of a version, measured by its own graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export import sample_rows
from export.feature_names import show_name
from export.model_card import ModelCard
from export.replay import answer_rows
from kmeans_module import UndefinedMeasure, silhouette_samples
from kmeans_module.contract import BAD_ROW

Array = NDArray[Any]

#: Features that are named for each cluster.
MOST_FEATURES: Final = 4


@dataclass(frozen=True)
class Difference:
    """How the mean of a cluster differs from that of all rows in one feature.

    ``mean`` and ``overall`` are in raw units, as they are read: of a category's value, shares of
    the rows. ``deviations`` is their difference in standard deviations of the rows.
    """

    feature: str
    mean: str
    overall: str
    deviations: float


@dataclass(frozen=True)
class VersionProfile:
    """A version, measured on m rows.

    Attributes:
        name: as in "penguins, version 1".
        card: its card.
        rows: [m, d], in the model's space.
        cluster_index: int32 [m]; bad rows are left out.
        silhouettes: float32 [m], or None where there are none.
        centroids: [k, d], in the model's space.
        deviations: [k, d], how far the centroids are from the rows' mean, in raw units over the
            rows' standard deviations.
        means: [k, d], the mean of each cluster's rows, in raw units; its centroid without rows.
        overall: [d], the rows' mean, in raw units.
        is_synthetic: whether the rows are no training rows, but drawn around the centroids.
    """

    name: str
    card: ModelCard
    rows: Array
    cluster_index: NDArray[np.integer[Any]]
    silhouettes: NDArray[np.float32] | None
    centroids: Array
    deviations: Array
    means: Array
    overall: Array
    is_synthetic: bool

    @classmethod
    def measure(cls, directory: Path, name: str, raw: Array | None = None) -> "VersionProfile":
        """Measure a version on ``raw`` rows [m, d], by default those it travels with.

        Raises InvalidCandidate when the version lacks a part or cannot be loaded.
        """
        card = ModelCard.read(directory)
        is_synthetic = raw is None and not card.data.fingerprint
        given = sample_rows.read(directory) if raw is None else raw
        found = answer_rows(directory, given, card)
        good = found.cluster_index != BAD_ROW
        given, labels = given[good].astype(np.float64), found.cluster_index[good]
        rows = card.to_model_space(given)
        try:
            silhouettes = silhouette_samples(rows, labels)
        except UndefinedMeasure:
            silhouettes = None
        means = _cluster_means(given, labels, found.centroids * card.scale + card.shift)
        spread = given.std(axis=0)
        overall = given.mean(axis=0)
        offset = means - overall
        return cls(
            name=name,
            card=card,
            rows=rows,
            cluster_index=labels,
            silhouettes=silhouettes,
            centroids=found.centroids,
            deviations=np.divide(offset, spread, where=spread > 0, out=np.zeros_like(offset)),
            means=means,
            overall=overall,
            is_synthetic=is_synthetic,
        )

    def cluster_silhouettes(self, cluster: int) -> NDArray[np.float32] | None:
        """Those of one cluster's rows, ascending."""
        if self.silhouettes is None:
            return None
        own = np.sort(self.silhouettes[self.cluster_index == cluster])
        return own if len(own) else None

    def top_differences(self, cluster: int) -> Sequence[Difference]:
        """The features in which a cluster differs most, those that differ most first."""
        deviations, shares = self.deviations[cluster], self.card.are_shares
        order = np.argsort(-np.abs(deviations), kind="stable")[:MOST_FEATURES]
        return [
            Difference(
                show_name(self.card.feature_names[feature]),
                format_mean(self.means[cluster, feature], is_share=shares[feature]),
                format_mean(self.overall[feature], is_share=shares[feature]),
                float(deviations[feature]),
            )
            for feature in order
            if deviations[feature] != 0
        ]


def format_mean(mean: float, *, is_share: bool) -> str:
    """The mean of a feature as it is read: one that is a share of rows in percent."""
    return f"{mean:.1%}" if is_share else f"{mean:.4g}"


@dataclass(frozen=True)
class Plane:
    """A plane that rows are projected on.

    Attributes:
        middle: [d]; axes: [2, d], the two directions in which the rows vary most.
        shares: the share of all variance that each has.
    """

    middle: Array
    axes: Array
    shares: tuple[float, float]

    @classmethod
    def fit(cls, rows: Array) -> "Plane":
        """The plane of the first two principal components (Pearson 1901) of rows [m, d]."""
        middle = rows.mean(axis=0)
        _, lengths, axes = np.linalg.svd(rows - middle, full_matrices=False)
        variances = np.square(lengths)
        total = float(variances.sum()) or 1.0
        two = np.zeros((2, rows.shape[1]))
        two[: len(axes[:2])] = axes[:2]
        first, second = (*(float(each) / total for each in variances[:2]), 0.0)[:2]
        return cls(middle, two, (first, second))

    def project(self, rows: Array) -> Array:
        """Rows [m, d] in the plane, [m, 2]."""
        return np.asarray((rows - self.middle) @ self.axes.T)


def _cluster_means(rows: Array, labels: NDArray[np.integer[Any]], centroids: Array) -> Array:
    counts = np.bincount(labels, minlength=len(centroids))
    sums = np.zeros(centroids.shape)
    np.add.at(sums, labels, rows)
    means = np.divide(sums, counts[:, None], where=counts[:, None] > 0, out=centroids.copy())
    return np.asarray(means)
