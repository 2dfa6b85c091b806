"""The centroids of a version as a table of a page, and as CSV."""

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .names import short_name
from .numbers import format_mean, format_number

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
        csv: all centroids, a line a cluster; None where they are too many for a page.
    """

    clusters: list[int]
    rows: list[FeatureRow]
    more_features: int
    csv: str | None

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
        )


def as_csv(profile: "VersionProfile") -> str:
    """The centroids: a line per cluster with its rows and share, and a column per feature.

    Numbers are the shortest that give the same float32. A name that a spreadsheet would take for a
    formula has an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [
        f"'{name}" if name.startswith(_FORMULA_STARTS) else name
        for name in profile.card.feature_names
    ]
    writer.writerow(["cluster", "rows", "share", *names])
    for cluster, centroid in zip(profile.card.clusters, profile.raw_centroids, strict=True):
        writer.writerow([cluster.index, cluster.size, cluster.share, *map(str, centroid)])
    return text.getvalue()


def _feature_row(profile: "VersionProfile", feature: int) -> FeatureRow:
    is_share = profile.card.are_shares[feature]
    overall = format_mean(profile.overall[feature], is_share=is_share)
    return FeatureRow(
        feature=short_name(profile.card.feature_names[feature]),
        separation=f"{profile.separation[feature]:.1%}",
        explained="-" if profile.explained is None else f"{profile.explained[feature]:.0%}",
        overall=overall,
        cells=[
            _cell(
                cluster,
                profile.raw_centroids[cluster, feature],
                float(profile.deviations[cluster, feature]),
                is_share=is_share,
            )
            for cluster in profile.shown_clusters
        ],
    )


def _cell(cluster: int, value: "np.float32", deviations: float, *, is_share: bool) -> Cell:
    level = int(np.searchsorted(_LEVELS, abs(deviations), side="right"))
    whole = format_number(float(value), 7)
    return Cell(
        value=format_mean(float(value), is_share=is_share),
        color=f"{'a' if deviations > 0 else 'b'}{level}" if level else "",
        text=f"cluster {cluster}: {whole} ({deviations:+.2f} SD)",
    )


def describe_levels() -> list[tuple[str, Any]]:
    """The colours and their meanings, from far below to far above the overall mean."""
    below = [(f"b{level}", f"-{least:g}") for level, least in enumerate(_LEVELS, 1)]
    above = [(f"a{level}", f"+{least:g}") for level, least in enumerate(_LEVELS, 1)]
    return [*reversed(below), *above]
