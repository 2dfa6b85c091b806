"""The charts of a report, drawn by matplotlib as SVG that takes its colours from the page.

matplotlib writes colours as numbers. What should follow the reader's light or dark scheme is drawn
in colours that nothing else has, and these become the page's variables.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, TypeVar

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from export.feature_names import show_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import NDArray

    from export.model_card import ModelCard

    from .version_profile import Plane, VersionProfile

#: Colours of clusters, which can be seen on white and on black; beyond them they come again.
CLUSTER_COLORS: Final = (
    *("#3b82f6", "#ef8a17", "#22a06b", "#d6457a", "#8b5cf6", "#0ea5b7"),
    *("#b58105", "#e0533d", "#6b7f99", "#7a9a01", "#c04fd0", "#4f6bd8"),
)
_MARKERS: Final = "os^Dv"
_DOTS: Final[Any] = {"marker": "o", "markersize": 3}

_INK: Final = "#010101"
_FAINT: Final = "#020202"
_VARIABLES: Final = {_INK: "var(--ink)", _FAINT: "var(--faint)"}

#: The measures over k that a report has in a table.
CURVE_TITLES: Final = {
    "k": "k",
    "inertia": "inertia",
    "silhouette": "silhouette",
    "noise_silhouette": "of noise",
    "stability": "stability",
    "simplified_silhouette": "simplified silhouette",
    "davies_bouldin": "Davies-Bouldin",
    "calinski_harabasz": "Calinski-Harabasz",
}

#: Inches of 72 points; the page shows a chart about as wide, so that text stays readable.
_WIDTH: Final = 5.2
_HEIGHT: Final = 3.4

_STYLE: Final[Any] = {  # matplotlib wants each key as a literal
    "svg.fonttype": "none",
    "svg.hashsalt": "tfkmeans",
    "font.size": 11,
    "axes.titlesize": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.alpha": 0.35,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

#: Rows that are drawn in two dimensions, at most; a row is some 100 bytes of the page.
_MOST_DOTS: Final = 1_500
_MOST_FEATURES: Final = 24
_MOST_NUMBERS: Final = 120
_MOST_LISTED: Final = 40


_Draw = TypeVar("_Draw", bound=Callable[..., Any])

#: A decorator of functions that draw: matplotlib has the style inside them.
_with_style: Final[Callable[[_Draw], _Draw]] = mpl.rc_context(_STYLE)


@dataclass(frozen=True)
class Chart:
    """A chart: its title, the text that stands for it, and the SVG."""

    title: str
    text: str
    svg: Markup


def color(cluster: int) -> str:
    """The colour of a cluster."""
    return CLUSTER_COLORS[cluster % len(CLUSTER_COLORS)]


def _list_some(items: Sequence[str]) -> str:
    """The first items in a line of text, and how many more there are."""
    more = len(items) - _MOST_LISTED
    return ", ".join(items[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


@_with_style
def draw_iterations(card: "ModelCard") -> Chart | None:
    """Inertia and shift over the iterations; None where the card has none."""
    if not card.history:
        return None
    numbers = range(1, len(card.history) + 1)
    inertia = [each.inertia for each in card.history]
    shift = [each.shift for each in card.history]
    figure = _new_figure()
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(numbers, inertia, color=color(0), **_DOTS)
    upper.set(ylabel="inertia")
    lower.plot(numbers, shift, color=color(1), **_DOTS)
    # A last shift of 0 has no place on a logarithmic scale.
    if max(shift) > 0:
        lower.set_yscale("log", nonpositive="mask")
    lower.set(xlabel="iteration", ylabel="shift")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return _render(
        figure,
        "Inertia and shift over the iterations",
        f"{len(inertia)} iterations of the best start. The inertia goes from {inertia[0]:.6g} to "
        f"{inertia[-1]:.6g}, the squared move of the centroids from {shift[0]:.3g} to "
        f"{shift[-1]:.3g}.",
    )


@_with_style
def draw_sizes(card: "ModelCard") -> Chart:
    """Rows in each cluster."""
    counts = [cluster.size for cluster in card.clusters]
    figure = _new_figure()
    axes = figure.subplots()
    colors = [color(cluster) for cluster in range(len(counts))]
    bars = axes.barh(range(len(counts)), counts, color=colors)
    if len(counts) <= 20:
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3)
        axes.margins(x=0.15)
    _set_cluster_axis(axes, len(counts), xlabel="rows")
    axes.grid(visible=False, axis="y")

    shown = _list_some([f"{c.index}: {c.size:,} ({c.share:.1%})" for c in card.clusters])
    return _render(figure, "Sizes", f"Rows in each cluster. {shown}.")


@_with_style
def draw_distances(card: "ModelCard") -> Chart | None:
    """Distances of the rows of each cluster to its centroid, by the card's quantiles."""
    known = [cluster for cluster in card.clusters if cluster.distance_quantiles]
    if not known:
        return None
    figure = _new_figure()
    axes = figure.subplots()
    ink = {"color": _INK}
    drawn = axes.bxp(
        [_box(cluster.distance_quantiles) for cluster in known],
        positions=[cluster.index for cluster in known],
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        medianprops=ink,
        whiskerprops=ink,
        capprops=ink,
        flierprops={**_DOTS, "markeredgecolor": _INK},
    )
    for patch, cluster in zip(drawn["boxes"], known, strict=True):
        patch.set(facecolor=color(cluster.index), edgecolor=_INK, linewidth=0.8)
    _set_cluster_axis(axes, len(card.clusters), xlabel="distance to the centroid")
    axes.set_xlim(left=0)

    shown = _list_some([f"{c.index}: {c.distance_quantiles['0.5']:.4g}" for c in known])
    return _render(
        figure,
        "Distances",
        "Distance of each cluster's rows to its centroid, in the model's space: quartiles, the "
        f"least and the 95th percentile, and the greatest as a dot. Medians: {shown}.",
    )


@_with_style
def draw_silhouettes(profile: "VersionProfile") -> Chart | None:
    """The silhouettes of the rows, cluster by cluster, sorted (Rousseeuw 1987)."""
    if profile.silhouettes is None:
        return None
    every = profile.silhouettes
    mean = float(every.mean())
    by_cluster = {
        cluster: own
        for cluster in range(profile.card.n_clusters)
        if (own := profile.cluster_silhouettes(cluster)) is not None
    }
    figure = _new_figure()
    axes = figure.subplots()
    gap = max(1.0, 0.02 * len(every))
    top = 0.0
    places = []
    for cluster, own in by_cluster.items():
        axes.fill_betweenx(top + np.arange(len(own)), 0, own, facecolor=color(cluster), linewidth=0)
        places.append(top + len(own) / 2)
        top += len(own) + gap
    axes.axvline(mean, color=_INK, linestyle="--", linewidth=1)
    axes.set(xlabel="silhouette (dashed: the mean)", ylabel="cluster", ylim=(top, -gap))
    axes.grid(visible=False, axis="y")
    _set_ticks(axes.yaxis, places, by_cluster)

    means = _list_some([f"{cluster}: {own.mean():.3f}" for cluster, own in by_cluster.items()])
    below = float((every < 0).mean())
    return _render(
        figure,
        "Silhouettes",
        f"Silhouettes of {len(every):,} rows, sorted in each cluster. Their mean is {mean:.3f}; "
        f"{below:.1%} are below 0, nearer to another cluster than to their own. Means by "
        f"cluster: {means}.",
    )


@_with_style
def draw_plane(
    profile: "VersionProfile",
    plane: "Plane",
    title: str = "The clusters in two dimensions",
    color_numbers: Sequence[int] | None = None,
) -> Chart:
    """The rows and the centroids in a plane; ``color_numbers`` [k] are the clusters' numbers."""
    numbers = range(profile.card.n_clusters) if color_numbers is None else color_numbers
    step = max(1, -(-len(profile.rows) // _MOST_DOTS))
    shown = plane.project(profile.rows[::step])
    labels = profile.cluster_index[::step]
    centers = plane.project(profile.centroids)
    figure = _new_figure()
    axes = figure.subplots()
    for cluster, number in enumerate(numbers):
        axes.plot(
            *shown[labels == cluster].T,
            linestyle="none",
            marker=_MARKERS[number // len(CLUSTER_COLORS) % len(_MARKERS)],
            markersize=3,
            markeredgewidth=0,
            color=color(number),
            alpha=0.6,
        )
    axes.plot(*centers.T, linestyle="none", marker="x", markersize=8, color=_INK)
    if len(centers) <= 20:
        for cluster, place in enumerate(centers):
            axes.annotate(
                str(cluster), place, xytext=(6, 4), textcoords="offset points", weight="bold"
            )
    first, second = plane.shares
    axes.set(
        xlabel=f"first component ({first:.0%} of the variance)", ylabel=f"second ({second:.0%})"
    )
    return _render(
        figure,
        title,
        f"{len(shown):,} rows on the plane of the first two principal components, which have "
        f"{sum(plane.shares):.0%} of the variance of the model's space; crosses are centroids. "
        "Clusters separated by other components may overlap here.",
    )


@_with_style
def draw_differences(profile: "VersionProfile") -> Chart:
    """How far each cluster's mean is from the mean of all rows, by feature."""
    order = np.argsort(-np.abs(profile.deviations).max(axis=0), kind="stable")[:_MOST_FEATURES]
    order = np.sort(order)
    values = profile.deviations[:, order].T
    names = [_shorten(profile.card.feature_names[feature]) for feature in order]
    limit = max(1.0, float(np.abs(values).max()))
    figure = _new_figure(max(_HEIGHT, 1.2 + 0.26 * len(names)))
    axes = _draw_heatmap(
        figure,
        values,
        [f"{value:+.1f}" for value in values.flat],
        np.abs(values) > 0.6 * limit,
        "standard deviations from the mean",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        linewidth=0,
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set(xlabel="cluster")

    left_out = len(profile.card.feature_names) - len(order)
    more = f" {left_out} features that differ less are not shown." if left_out else ""
    return _render(
        figure,
        "What makes each cluster different",
        "The mean of each cluster less the mean of all rows, in standard deviations of the "
        f"feature; the list of clusters has them in raw units.{more}",
    )


@_with_style
def draw_curves(curves: Mapping[str, Any]) -> Chart:
    """The measures over k; ``curves`` is what ``select-k --out`` wrote."""
    rows: Sequence[Mapping[str, Any]] = curves["measured"]
    suggestion = curves.get("suggestion")

    def values(name: str) -> tuple[list[int], list[float]]:
        known = [(row["k"], row[name]) for row in rows if row.get(name) is not None]
        return [k for k, _ in known], [value for _, value in known]

    measures = ("inertia", "silhouette", "stability", "davies_bouldin", "calinski_harabasz")
    figure = _new_figure(6.4)
    every = figure.subplots(len(measures), 1, sharex=True)
    for number, (axes, name) in enumerate(zip(every, measures, strict=True)):
        axes.plot(*values(name), color=color(number), **_DOTS)
        if name == "silhouette":
            axes.plot(*values("noise_silhouette"), "--", color=color(number), **_DOTS)
            axes.legend(["silhouette", "of noise"], fontsize=10)
        if suggestion is not None:
            axes.axvline(suggestion, color=_INK, linestyle=":", linewidth=1)
        axes.set_title(CURVE_TITLES[name], loc="left")
    every[-1].set(xlabel="k")
    every[-1].xaxis.get_major_locator().set_params(integer=True)
    return _render(
        figure,
        "The measures over k",
        f"Measures of k from {rows[0]['k']} to {rows[-1]['k']}. {curves.get('reason', '')}",
    )


@_with_style
def draw_contingency(table: "NDArray[np.int64]", before: str, after: str) -> Chart:
    """Shares of the rows of each cluster before, by their cluster after."""
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, where=totals > 0, out=np.zeros(table.shape))
    figure = _new_figure()
    axes = _draw_heatmap(
        figure,
        shares,
        [f"{count:,}" for count in table.flat],
        shares > 0.5,
        "share of the row",
        cmap="Blues",
        vmin=0,
        vmax=1,
    )
    axes.set(xlabel=f"cluster of {after}", ylabel=f"cluster of {before}")
    return _render(
        figure,
        "Who moved where",
        f"Rows of each cluster of {before}, by their cluster of {after}; the table has numbers.",
    )


def _draw_heatmap(
    figure: Figure,
    values: "NDArray[Any]",
    texts: Sequence[str],
    is_dark: "NDArray[np.bool_]",
    label: str,
    **options: Any,
) -> "Axes":
    """Draw ``values`` [r, c] as coloured cells, with their texts unless they are too many."""
    axes: Axes = figure.subplots()
    mesh = axes.pcolormesh(values, edgecolors="none", **options)
    figure.colorbar(mesh, ax=axes, label=label)
    if values.size <= _MOST_NUMBERS:
        for ((row, column), dark), text in zip(np.ndenumerate(is_dark), texts, strict=True):
            axes.text(
                *(column + 0.5, row + 0.5, text),
                ha="center",
                va="center",
                size=10,
                color="#ffffff" if dark else "#1a1a1a",
            )
    for axis, count in zip((axes.yaxis, axes.xaxis), values.shape, strict=True):
        _set_ticks(axis, [cell + 0.5 for cell in range(count)], range(count))
    axes.invert_yaxis()
    axes.grid(visible=False)
    return axes


def _box(quantiles: Mapping[str, float]) -> dict[str, Any]:
    """A box of a box plot, as matplotlib names its parts."""
    parts = {"med": "0.5", "q1": "0.25", "q3": "0.75", "whislo": "0", "whishi": "0.95"}
    return {part: quantiles[q] for part, q in parts.items()} | {"fliers": [quantiles["1"]]}


def _set_ticks(axis: "Axis", places: Sequence[float], clusters: Iterable[int]) -> None:
    """Number the clusters, which lie at ``places``; some of them when they are many."""
    step = max(1, len(places) // 12)
    axis.set_ticks(places[::step], [str(cluster) for cluster in clusters][::step])


def _set_cluster_axis(axes: "Axes", count: int, *, xlabel: str) -> None:
    """Clusters from above to below, as in the table."""
    _set_ticks(axes.yaxis, range(count), range(count))
    axes.set(xlabel=xlabel, ylabel="cluster", ylim=(count - 0.4, -0.6))


def _shorten(name: str) -> str:
    shown = show_name(name)
    return shown if len(shown) <= 22 else f"{shown[:20]}…"


def _new_figure(height: float = _HEIGHT) -> Figure:
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _render(figure: Figure, title: str, text: str) -> Chart:
    written = StringIO()
    with warnings.catch_warnings():
        # The text stays text in the SVG: the browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", "Glyph ")
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return Chart(title, text, _svg_element(written.getvalue(), title, text))


def _svg_element(svg: str, title: str, text: str) -> Markup:
    """The SVG element alone: named for those who don't see it, its ids its own on the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    for number, variable in _VARIABLES.items():
        svg = svg.replace(number, variable)
    label = escape(f"{title}. {text}")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))
