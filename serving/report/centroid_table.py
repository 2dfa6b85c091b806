"""The centroids of a version as a table of a page, and as CSV."""

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .names import short_name
from .numbers import format_mean, format_number, format_share

if TYPE_CHECKING:
    from .version_profile import VersionProfile

#: Features and cells of the table at most; a cell is some 100 bytes of the page.
_MOST_ROWS: Final = 500
_MOST_CELLS: Final = 6_000

#: Numbers of the CSV at most; one is some 10 bytes of the page.
_MOST_NUMBERS: Final = 40_000

#: From so many standard deviations above or below the overall mean on, a cell is coloured so.
_LEVELS: Final = (0.25, 0.75, 1.25, 2.0)

#: What a spreadsheet takes for a formula when a cell begins with it.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Cell:
    """A number of the table: its text, the name of its colour, and its tooltip.

    The name is "a1" to "a4" above the overall mean, "b1" to "b4" below, or "".
    """

    value: str
    color: str
    text: str


@dataclass(frozen=True)
class FeatureRow:
    """A line of the table."""

    feature: str
    separation: str
    explained: str
    overall: str
    cells: list[Cell]


@dataclass(frozen=True)
class CentroidTable:
    """The centroids, with a row per feature and a column per cluster.

    Attributes:
        clusters: the numbers of the columns.
        rows: those features that separate the clusters most come first.
        more_features: how many are left out for the size of the page.
        csv: all features and clusters; None where they are too many for a page.
        has_shares: whether separation and explained are shown; one cluster has neither.
    """

    clusters: list[int]
    rows: list[FeatureRow]
    more_features: int
    csv: str | None
    has_shares: bool

    @classmethod
    def of(cls, profile: "VersionProfile") -> "CentroidTable":
        """The table of a version."""
        shown = profile.shown_clusters
        most = min(_MOST_ROWS, _MOST_CELLS // len(shown))
        features = profile.features_by_separation[:most]
        is_small = profile.raw_centroids.size <= _MOST_NUMBERS
        return cls(
            clusters=shown,
            rows=[_feature_row(profile, int(feature)) for feature in features],
            more_features=profile.card.n_features - len(features),
            csv=as_csv(profile) if is_small else None,
            has_shares=profile.card.n_clusters > 1,
        )


def as_csv(profile: "VersionProfile") -> str:
    """All centroids: a line per feature and a column per cluster, with the columns of the table.

    The first lines are the rows of the clusters and their shares. Centroids are the shortest
    numbers that give the same float32. A name that a spreadsheet would take for a formula has an
    apostrophe before it. The byte order mark tells Excel that the text is UTF-8.
    """
    text = io.StringIO()
    text.write("\ufeff")
    writer = csv.writer(text, lineterminator="\n")
    card = profile.card
    has_shares = card.n_clusters > 1
    shares = ["separation", "explained"] if has_shares else []
    numbers = [f"cluster {cluster.index}" for cluster in card.clusters]
    writer.writerow(["feature", *shares, "overall mean", *numbers])
    skipped = [""] * (len(shares) + 1)
    writer.writerow(["rows", *skipped, *(cluster.size for cluster in card.clusters)])
    writer.writerow(["share", *skipped, *(f"{cluster.share:.4f}" for cluster in card.clusters)])
    for feature in profile.features_by_separation:
        name = card.feature_names[feature]
        writer.writerow(
            [
                f"'{name}" if name.startswith(_FORMULA_STARTS) else name,
                *(_csv_shares(profile, int(feature)) if has_shares else []),
                f"{profile.overall[feature]:.7g}",
                *map(str, profile.raw_centroids[:, feature]),
            ]
        )
    return text.getvalue()


def _csv_shares(profile: "VersionProfile", feature: int) -> list[str]:
    """Separation and explained; explained is empty where it is undefined."""
    explained = np.nan if profile.explained is None else profile.explained[feature]
    return [
        f"{profile.separation[feature]:.4f}",
        "" if np.isnan(explained) else f"{explained:.4f}",
    ]


def _feature_row(profile: "VersionProfile", feature: int) -> FeatureRow:
    is_share = profile.card.are_shares[feature]
    overall = format_mean(profile.overall[feature], is_share=is_share)
    return FeatureRow(
        feature=short_name(profile.card.feature_names[feature]),
        separation=format_share(float(profile.separation[feature])),
        explained="-"
        if profile.explained is None
        else format_share(float(profile.explained[feature]), 0),
        overall=overall,
        cells=[
            _cell(profile, cluster, feature, is_share=is_share)
            for cluster in profile.shown_clusters
        ],
    )


def _cell(profile: "VersionProfile", cluster: int, feature: int, *, is_share: bool) -> Cell:
    value = float(profile.raw_centroids[cluster, feature])
    shown, whole = format_mean(value, is_share=is_share), format_number(value, 7)
    if not profile.has_mean(cluster):
        return Cell(shown, "", f"cluster {cluster}: {whole} (no rows here)")
    deviations = float(profile.deviations[cluster, feature])
    level = int(np.searchsorted(_LEVELS, abs(deviations), side="right"))
    # A centroid is not the mean of the rows where these are others or have no weights.
    mean = format_mean(profile.means[cluster, feature], is_share=is_share)
    differs = "" if mean == shown else f"mean of its rows {mean}, "
    return Cell(
        value=shown,
        color=f"{'a' if deviations > 0 else 'b'}{level}" if level else "",
        text=f"cluster {cluster}: {whole} ({differs}{deviations:+.2f} SD)",
    )


def describe_levels() -> list[tuple[str, Any]]:
    """The colours and their meanings, from far below to far above the overall mean."""
    below = [(f"b{level}", f"-{least:g}") for level, least in enumerate(_LEVELS, 1)]
    above = [(f"a{level}", f"+{least:g}") for level, least in enumerate(_LEVELS, 1)]
    return [*reversed(below), *above]
