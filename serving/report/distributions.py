"""The distribution of each feature in each cluster, as the data of a drawing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from .names import short_name
from .numbers import format_count, format_number, format_share

if TYPE_CHECKING:
    from .version_profile import VersionProfile

Array = NDArray[Any]

#: Features, and distributions of one in a cluster, that a page has at most; a distribution is some
#: 250 bytes.
_MOST_FEATURES: Final = 400
_MOST_DISTRIBUTIONS: Final = 4_000

_BINS: Final = 23

#: The drawing, in its own units: a line for each cluster, and in it the histogram.
LINE: Final = 18
LEFT: Final = 30
_BIN_WIDTH: Final = 10
RIGHT: Final = LEFT + _BINS * _BIN_WIDTH
WIDTH: Final = RIGHT + 70
_HEIGHT: Final = 15

#: Values beyond these quantiles of all rows are drawn in the first and the last bin.
_RANGE: Final = (0.005, 0.995)

_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Distribution:
    """The values of a feature in one cluster.

    Attributes:
        cluster: its number.
        path: what is drawn, in the drawing's own units.
        value: the median, or the share of a category's value; "-" without rows.
        text: the quantiles in words.
    """

    cluster: int
    path: str
    value: str
    text: str


@dataclass(frozen=True)
class FeatureDistributions:
    """The values of a feature, cluster by cluster.

    ``low`` and ``high`` are the ends of the axis, as they are written under it.
    """

    feature: str
    low: str
    high: str
    clusters: list[Distribution]
    text: str

    @property
    def height(self) -> int:
        """The height of the drawing, with the line of the axis."""
        return LINE * (len(self.clusters) + 1)


def measure_distributions(profile: "VersionProfile") -> list[FeatureDistributions]:
    """The distributions of the features that separate the clusters most, these first.

    All features, unless they are too many for a page; none without rows.
    """
    if len(profile.points) == 0:
        return []
    shown = profile.shown_clusters
    most = min(_MOST_FEATURES, _MOST_DISTRIBUTIONS // len(shown))
    of_cluster = [np.flatnonzero(profile.cluster_index == cluster) for cluster in shown]
    are_shares = profile.card.are_shares
    measured = []
    for feature in profile.features_by_separation[:most]:
        values = profile.points[:, feature]
        measure = _measure_shares if are_shares[feature] else _measure_numbers
        name = short_name(profile.card.feature_names[feature])
        measured.append(measure(name, values, shown, [values[rows] for rows in of_cluster]))
    return measured


def _measure_numbers(
    feature: str, values: Array, clusters: list[int], parts: list[Array]
) -> FeatureDistributions:
    least, greatest = float(values.min()), float(values.max())
    low, high = (float(each) for each in np.quantile(values, _RANGE))
    if not low < high:
        low, high = least, greatest
    edges = np.linspace(low, high, _BINS + 1)
    drawn = []
    for line, (cluster, part) in enumerate(zip(clusters, parts, strict=True)):
        if len(part) == 0:
            drawn.append(Distribution(cluster, "", "-", f"cluster {cluster}: no rows"))
            continue
        if low < high:
            counts = np.histogram(np.clip(part, low, high), edges)[0]
        else:
            counts = np.eye(1, _BINS, _BINS // 2, dtype=int)[0]
        heights = np.ceil(_HEIGHT * counts / counts.max()).astype(int)
        lowest, lower, median, upper, highest = map(format_number, np.quantile(part, _QUANTILES))
        drawn.append(
            Distribution(
                cluster,
                _outline(heights, LINE * (line + 1) - 1),
                median,
                f"cluster {cluster} ({format_count(len(part))}): median {median}; "
                f"50% from {lower} to {upper}; 90% from {lowest} to {highest}",
            )
        )
    return FeatureDistributions(
        feature,
        ("≤ " if least < low else "") + format_number(low),
        ("≥ " if greatest > high else "") + format_number(high),
        drawn,
        f"Distribution of {feature} in each cluster, from {format_number(low)} to "
        f"{format_number(high)}, with the medians.",
    )


def _measure_shares(
    feature: str, _values: Array, clusters: list[int], parts: list[Array]
) -> FeatureDistributions:
    """The share of rows with a value of a category, for each cluster."""
    drawn = []
    for line, (cluster, part) in enumerate(zip(clusters, parts, strict=True)):
        if len(part) == 0:
            drawn.append(Distribution(cluster, "", "-", f"cluster {cluster}: no rows"))
            continue
        share = float(part.mean())
        bottom = LINE * (line + 1) - 1
        path = f"M{LEFT} {bottom}v-{_HEIGHT}h{share * (RIGHT - LEFT):.1f}v{_HEIGHT}z"
        text = f"cluster {cluster}: {format_share(share)} of {format_count(len(part))}"
        drawn.append(Distribution(cluster, path, format_share(share), text))
    text = f"Share of the rows of each cluster that have {feature}, from 0% to 100%."
    return FeatureDistributions(feature, "0%", "100%", drawn, text)


def _outline(heights: NDArray[np.integer[Any]], bottom: int) -> str:
    """The path of a histogram, without empty bins at both ends."""
    filled = np.flatnonzero(heights)
    first, last = int(filled[0]), int(filled[-1])
    path = [f"M{LEFT + first * _BIN_WIDTH} {bottom}"]
    before, width = 0, 0
    for height in heights[first : last + 1].tolist():
        if height != before:
            path.append(f"h{width}v{before - height}" if width else f"v{before - height}")
            before, width = height, 0
        width += _BIN_WIDTH
    path.append(f"h{width}v{before}z")
    return "".join(path)
