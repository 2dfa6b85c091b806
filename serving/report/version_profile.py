"""The figures of a version in a report, measured with its own graph."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from export import sample_rows
from export.column_rows import ColumnRows
from export.common_rows import CommonRows, Rows
from export.errors import InvalidCandidate
from export.model_card import ModelCard
from export.replay import ask_graph
from kmeans_module import UndefinedMeasure, silhouette_samples
from kmeans_module.contract import BAD_ROW

from .errors import NoRowsToShow
from .names import short_name
from .numbers import format_mean

Array = NDArray[Any]

#: Features that are named for each cluster.
MOST_FEATURES: Final = 4

#: Standard deviations below which a difference is none: it would be written as 0.00.
_LEAST_DEVIATION: Final = 0.005

#: Clusters that a page shows at most, the largest.
_MOST_CLUSTERS: Final = 100

#: Rows whose silhouettes are taken at most: the time grows with their square.
_MOST_SILHOUETTES: Final = 4096

#: Where the rows of a profile are from: training rows that travel with the version, rows drawn
#: around the centroids, rows that the reader gave, or none.
Origin = Literal["training", "synthetic", "given", "none"]


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
    """A version, measured on m rows; on none, what its card and its centroids tell.

    Attributes:
        name: as in "penguins, version 1".
        card: its card.
        origin: where the rows are from.
        points: [m, d], in raw units; bad rows are left out.
        columns: the same rows as the columns that the model takes by name, where they are known.
        rows: [m, d], in the model's space.
        cluster_index: int32 [m].
        drawn: int [s], the rows whose silhouettes were taken.
        silhouettes: float32 [s], or None where there are none.
        centroids: [k, d], in the model's space.
        raw_centroids: float32 [k, d], in raw units, as the version's ``decode`` gives them.
        rows_left_out: how many other given rows the model gives no cluster.
        means: [k, d], the mean of the rows of each cluster, in raw units; NaN for a cluster that
            has none of the rows.
        overall: [d], the mean of all rows, in raw units.
        deviations: [k, d], how far the means are from the overall mean, in standard deviations of
            the rows; without rows, of the clusters' means. 0 for a feature that is constant.
    """

    name: str
    card: ModelCard
    origin: Origin
    points: Array
    columns: ColumnRows | None
    rows: Array
    cluster_index: NDArray[np.integer[Any]]
    drawn: NDArray[np.intp]
    silhouettes: NDArray[np.float32] | None
    centroids: Array
    raw_centroids: NDArray[np.float32]
    rows_left_out: int
    means: Array
    overall: Array
    deviations: Array

    @classmethod
    def measure(cls, directory: Path, name: str, given: Rows | None = None) -> "VersionProfile":
        """Measure a version on rows, by default those it travels with.

        Args:
            directory: the version.
            name: what the page calls it.
            given: points [n, d] in raw units, or the columns that the model takes by name.

        Raises:
            InvalidCandidate: the version lacks a part or cannot be loaded.
            NoRowsToShow: the model gives none of the rows a cluster, or cannot be asked about them.
        """
        card = ModelCard.read(directory)
        origin, points, columns = _find_rows(directory, card, given)
        labels, raw_centroids = ask_graph(directory, points)
        good = labels != BAD_ROW
        if given is not None and not good.any():
            raise NoRowsToShow(
                f"{name}: the model gives none of the {len(points):,} rows a cluster; check the "
                "values of its columns"
            )
        points, labels = points[good].astype(np.float64), labels[good]
        rows, centroids = card.to_model_space(points), card.to_model_space(raw_centroids)
        drawn = sample_rows.draw_rows(len(rows), _MOST_SILHOUETTES, np.random.default_rng(0))
        silhouettes = None
        if len(drawn):
            with suppress(UndefinedMeasure):
                silhouettes = silhouette_samples(rows[drawn], labels[drawn])
        means = raw_centroids.astype(np.float64)
        # The means are those of the rows, and each row counts once. A centroid replaces the mean
        # only if the rows are a sample, and it is not weighted and not a direction, as for cosine.
        is_mean = (
            card.distance == "euclidean"
            and card.data.weight_column is None
            and (origin == "synthetic" or len(points) < card.data.rows_used)
        )
        if len(points) and (origin == "given" or not is_mean):
            means = _cluster_means(points, labels, card.n_clusters)
        overall, spread = _mean_and_spread(points, means, _shares(card))
        offset = means - overall
        return cls(
            name=name,
            card=card,
            origin=origin,
            points=points,
            columns=None if columns is None else columns.take(np.flatnonzero(good)),
            rows=rows,
            cluster_index=labels,
            drawn=drawn,
            silhouettes=silhouettes,
            centroids=centroids,
            raw_centroids=raw_centroids,
            rows_left_out=len(good) - len(points),
            means=means,
            overall=overall,
            deviations=np.divide(offset, spread, where=spread > 0, out=np.zeros_like(offset)),
        )

    @property
    def is_weighted(self) -> bool:
        """Whether the model was fitted with weights, which the rows of the page do not have."""
        return self.card.data.weight_column is not None

    def has_mean(self, cluster: int) -> bool:
        """Whether a cluster has a row, and therefore a mean."""
        return bool(np.isfinite(self.means[cluster]).all())

    @property
    def is_synthetic(self) -> bool:
        """Whether the rows are no training rows, but drawn around the centroids."""
        return self.origin == "synthetic"

    @cached_property
    def shown_clusters(self) -> list[int]:
        """The clusters that a page shows, ascending: all, or the largest of many."""
        sizes = np.array([cluster.size for cluster in self.card.clusters])
        return sorted(np.argsort(-sizes, kind="stable")[:_MOST_CLUSTERS].tolist())

    @cached_property
    def separation(self) -> Array:
        """[d], the share of each feature in what separates the clusters; they add up to 1.

        That is the sum of squared distances of the centroids to their mean, each weighted by its
        rows, in the model's space. All are 0 where nothing separates them.
        """
        shares = _shares(self.card)[:, None]
        middle = (shares * self.centroids).sum(axis=0)
        between = (shares * np.square(self.centroids - middle)).sum(axis=0)
        total = float(between.sum())
        return np.asarray(between / total if total > 0 else np.zeros_like(between))

    @cached_property
    def explained(self) -> Array | None:
        """[d], the share of each feature's variance that the clusters explain; None without rows.

        It is 1 where a feature is constant in each cluster, and 0 where all clusters have one mean.
        NaN where it is undefined: of one cluster, or a feature that is constant in all rows.
        """
        if len(self.points) == 0:
            return None
        undefined = np.full(self.card.n_features, np.nan)
        if self.card.n_clusters == 1:
            return undefined
        means = _cluster_means(self.points, self.cluster_index, self.card.n_clusters)
        within = np.square(self.points - means[self.cluster_index]).sum(axis=0)
        total = np.square(self.points - self.points.mean(axis=0)).sum(axis=0)
        share = np.divide(within, total, where=_varies(self.points), out=undefined)
        return np.asarray(np.clip(1 - share, 0, 1))

    @cached_property
    def features_by_separation(self) -> NDArray[np.intp]:
        """[d], the features, those that separate the clusters most first."""
        return np.argsort(-self.separation, kind="stable")

    def cluster_silhouettes(self, cluster: int) -> NDArray[np.float32] | None:
        """The silhouettes of the rows of one cluster, ascending."""
        if self.silhouettes is None:
            return None
        own = np.sort(self.silhouettes[self.cluster_index[self.drawn] == cluster])
        return own if len(own) else None

    def top_differences(self, cluster: int) -> Sequence[Difference]:
        """The features in which a cluster differs most, those that differ most first."""
        deviations, shares = self.deviations[cluster], self.card.are_shares
        order = np.argsort(-np.abs(deviations), kind="stable")[:MOST_FEATURES]
        return [
            Difference(
                short_name(self.card.feature_names[feature]),
                format_mean(self.means[cluster, feature], is_share=shares[feature]),
                format_mean(self.overall[feature], is_share=shares[feature]),
                float(deviations[feature]),
            )
            for feature in order
            if abs(deviations[feature]) >= _LEAST_DEVIATION
        ]


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


def _cluster_means(rows: Array, labels: NDArray[np.integer[Any]], n_clusters: int) -> Array:
    """[k, d], the mean of the rows of each cluster; NaN where it has none."""
    counts = np.bincount(labels, minlength=n_clusters)[:, None]
    sums = np.zeros((n_clusters, rows.shape[1]))
    np.add.at(sums, labels, rows)
    means = np.divide(sums, counts, where=counts > 0, out=np.full_like(sums, np.nan))
    return np.asarray(means)


def _varies(rows: Array) -> NDArray[np.bool_]:
    """[d], whether a feature has two values in rows [m, d], m > 0."""
    return np.asarray(rows.min(axis=0) < rows.max(axis=0))


def _find_rows(
    directory: Path, card: ModelCard, given: Rows | None
) -> tuple[Origin, Array, ColumnRows | None]:
    """The origin of the rows, their points [n, d], and their columns if these are known."""
    if given is not None:
        if card.encoder is not None and card.encoder.maps:
            raise NoRowsToShow(
                f"{directory}: the model maps its columns by {', '.join(card.encoder.maps)}, and "
                "a report cannot do so: leave out --rows"
            )
        columns = given if isinstance(given, ColumnRows) else None
        return "given", CommonRows.of(card, card, given).before, columns
    if sample_rows.are_left_out(card):
        return "none", np.zeros((0, card.n_features), np.float32), None
    if not (directory / sample_rows.SAMPLE_FILE).exists():
        raise InvalidCandidate(
            f"{directory}: {sample_rows.SAMPLE_FILE} is missing; give rows by --rows FILE"
        )
    points = sample_rows.read(directory)
    if card.data.fingerprint:
        has_columns = (directory / sample_rows.COLUMNS_FILE).exists()
        return (
            "training",
            points,
            sample_rows.read_columns(directory, card.columns) if has_columns else None,
        )
    return "synthetic", points, None


def _shares(card: ModelCard) -> Array:
    """[k], the share of the training rows of each cluster; equal ones where none is known."""
    shares = np.array([cluster.share for cluster in card.clusters])
    total = float(shares.sum())
    return shares / total if total > 0 else np.full(len(shares), 1 / len(shares))


def _mean_and_spread(points: Array, means: Array, shares: Array) -> tuple[Array, Array]:
    """[d] and [d], mean and standard deviation of the points; without any, of the means."""
    if len(points):
        # Sums of equal numbers differ from them by rounding.
        return points.mean(axis=0), np.where(_varies(points), points.std(axis=0), 0)
    overall = shares @ means
    return overall, np.sqrt(shares @ np.square(means - overall))
