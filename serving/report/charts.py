"""The charts of a report, drawn by matplotlib as SVG that takes its colours from the page.

matplotlib writes colours as numbers. What should follow the reader's light or dark scheme is drawn
in colours that nothing else has, and these become the page's variables. What a browser shows of a
part that the reader points at is the part's ``<title>``.
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
from matplotlib.ticker import MaxNLocator

from .numbers import format_count, format_number, format_share

if TYPE_CHECKING:
    from matplotlib.artist import Artist
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
    "noise_silhouette": "silhouette of noise",
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
_MOST_LISTED: Final = 40

#: Clusters that have a line of their own in a chart, with its number; it grows with them.
_MOST_LINES: Final = 40

#: Points of a curve that the reader can point at.
_MOST_POINTS: Final = 60


_Draw = TypeVar("_Draw", bound=Callable[..., Any])

#: A decorator of functions that draw: matplotlib has the style inside them.
_with_style: Final[Callable[[_Draw], _Draw]] = mpl.rc_context(_STYLE)


@dataclass(frozen=True)
class Chart:
    """A chart: its title, its alternative text, and the SVG."""

    title: str
    text: str
    svg: Markup


def color(cluster: int) -> str:
    """The colour of a cluster."""
    return CLUSTER_COLORS[cluster % len(CLUSTER_COLORS)]


def _list_some(items: Sequence[str]) -> str:
    """The first items as text, and the number of the others."""
    more = len(items) - _MOST_LISTED
    return ", ".join(items[:_MOST_LISTED]) + (f" and {more:,} more" if more > 0 else "")


class _Drawing:
    """A figure, and the tooltips of its parts."""

    def __init__(self, height: float = _HEIGHT) -> None:
        self.figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        self._hints: dict[str, str] = {}

    def hint(self, part: "Artist", text: str) -> None:
        """Add the tooltip of a part."""
        name = f"hint{len(self._hints)}"
        part.set_gid(name)
        self._hints[name] = text

    def plot_with_hints(
        self, axes: "Axes", xs: Sequence[int], ys: Sequence[float], text: str, **style: Any
    ) -> None:
        """Draw a curve whose points have the tooltip ``text`` with x and y; at most some points."""
        axes.plot(xs, ys, **style)
        step = max(1, -(-len(xs) // _MOST_POINTS))
        for x, y in list(zip(xs, ys, strict=True))[::step]:
            (dot,) = axes.plot([x], [y], **{**style, "marker": "o", "markersize": 4})
            self.hint(dot, text.format(x=x, y=format_number(y, 6)))

    def render(self, title: str, text: str) -> Chart:
        """The chart."""
        written = StringIO()
        with warnings.catch_warnings():
            # The text stays text in the SVG: the browser has the glyphs that the font lacks.
            warnings.filterwarnings("ignore", "Glyph ")
            self.figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        svg = written.getvalue()
        for name, hint in self._hints.items():
            start = f'<g id="{name}">'
            svg = svg.replace(start, f"{start}<title>{escape(hint)}</title>", 1)
        return Chart(title, text, _svg_element(svg, title, text))


@_with_style
def draw_iterations(card: "ModelCard") -> Chart | None:
    """Inertia and shift over the iterations; None where the card has none."""
    if not card.history:
        return None
    # An iteration knows the inertia before it moved the centroids; the card, that at the end.
    inertia = [*(each.inertia for each in card.history), card.inertia]
    shift = [each.shift for each in card.history]
    drawing = _Drawing()
    upper, lower = drawing.figure.subplots(2, 1, sharex=True)
    drawing.plot_with_hints(
        upper,
        range(len(inertia)),
        inertia,
        "after iteration {x}: inertia {y}",
        color=color(0),
        **_DOTS,
    )
    upper.set(ylabel="inertia")
    upper.yaxis.set_major_formatter(_show_tick)
    drawing.plot_with_hints(
        lower,
        range(1, len(inertia)),
        shift,
        "iteration {x}: shift {y}",
        color=color(1),
        **_DOTS,
    )
    # A last shift of 0 has no place on a logarithmic scale.
    if max(shift) > 0:
        lower.set_yscale("log", nonpositive="mask")
    lower.set(xlabel="iteration", ylabel="shift")
    lower.xaxis.get_major_locator().set_params(integer=True)
    return drawing.render(
        "Training",
        f"{len(shift):,} iterations of the best start. The inertia went from "
        f"{format_number(inertia[0], 6)} to {format_number(inertia[-1], 6)}; the shift, the "
        f"squared distance that the centroids moved, from {format_number(shift[0])} to "
        f"{format_number(shift[-1])}.",
    )


@_with_style
def draw_sizes(card: "ModelCard", shown: Sequence[int]) -> Chart:
    """Rows in each cluster of those shown."""
    clusters = [card.clusters[index] for index in shown]
    counts = [cluster.size for cluster in clusters]
    drawing = _Drawing(_height_of_lines(len(clusters)))
    axes = drawing.figure.subplots()
    colors = [color(cluster) for cluster in shown]
    bars = axes.barh(range(len(counts)), counts, color=colors)
    for bar, cluster in zip(bars, clusters, strict=True):
        drawing.hint(
            bar,
            f"cluster {cluster.index}: {format_count(cluster.size)}, {format_share(cluster.share)}",
        )
    if len(counts) <= _MOST_LINES:
        axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3)
        axes.margins(x=0.2)
    _set_cluster_axis(axes, shown, xlabel="rows")
    axes.xaxis.set_major_locator(_few_ticks(integer=True))
    axes.xaxis.set_major_formatter(_show_tick)
    axes.grid(visible=False, axis="y")

    listed = _list_some([f"{c.index}: {c.size:,} ({format_share(c.share)})" for c in clusters])
    return drawing.render("Sizes", f"Rows in each cluster. {listed}.")


@_with_style
def draw_distances(card: "ModelCard", shown: Sequence[int]) -> Chart | None:
    """Distances of the rows of each cluster to its centroid, by the card's quantiles."""
    known = [each for each in (card.clusters[index] for index in shown) if each.distance_quantiles]
    if not known:
        return None
    drawing = _Drawing(_height_of_lines(len(shown)))
    axes = drawing.figure.subplots()
    ink = {"color": _INK}
    drawn = axes.bxp(
        [_box(cluster.distance_quantiles) for cluster in known],
        positions=[shown.index(cluster.index) for cluster in known],
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
        values = {q: format_number(value) for q, value in cluster.distance_quantiles.items()}
        drawing.hint(
            patch,
            f"cluster {cluster.index}: median {values['0.5']}, half of the rows from "
            f"{values['0.25']} to {values['0.75']}, greatest {values['1']}",
        )
    _set_cluster_axis(axes, shown, xlabel="distance to the centroid")
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter(_show_tick)
    axes.set_xlim(left=0)

    medians = _list_some(
        [f"{c.index}: {format_number(c.distance_quantiles['0.5'])}" for c in known]
    )
    return drawing.render(
        "Distances",
        "Distance of each cluster's rows to its centroid, in the model's space. The box holds half "
        "of the rows, the line in it is the median, the whiskers reach from the smallest distance "
        f"to the 95th percentile, and the dot is the greatest distance. Medians: {medians}.",
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
        for cluster in profile.shown_clusters
        if (own := profile.cluster_silhouettes(cluster)) is not None
    }
    drawing = _Drawing(_height_of_lines(len(by_cluster)))
    axes = drawing.figure.subplots()
    # Each cluster is high enough for its number.
    gap = max(1.0, 0.02 * len(every))
    top = 0.0
    places = []
    for cluster, own in by_cluster.items():
        height = max(len(own), len(every) / (2 * len(by_cluster)))
        some = own[:: max(1, len(every) // _MOST_DOTS)]
        levels = top + np.linspace(0, height, len(some) + 1)
        area = axes.fill_betweenx(
            levels, 0, np.append(some, some[-1]), facecolor=color(cluster), linewidth=0, step="post"
        )
        drawing.hint(
            area, f"cluster {cluster}: mean silhouette {own.mean():.3f} of {format_count(len(own))}"
        )
        places.append(top + height / 2)
        top += height + gap
    axes.axvline(mean, color=_INK, linestyle="--", linewidth=1)
    axes.set(xlabel="silhouette (dashed: the mean)", ylabel="cluster", ylim=(top, -gap))
    axes.grid(visible=False, axis="y")
    _set_ticks(axes.yaxis, places, by_cluster)

    means = _list_some([f"{cluster}: {own.mean():.3f}" for cluster, own in by_cluster.items()])
    below = float((every < 0).mean())
    return drawing.render(
        "Silhouettes",
        f"How well each of {format_count(len(every))} fits its cluster, from -1 to 1, sorted in "
        f"each cluster. The mean is {mean:.3f}; {format_share(below)} of the rows are below 0: "
        "such a row is nearer to its own centroid than to any other, but its mean distance to the "
        "rows of another cluster is less than to those of its own, as at the border of two "
        f"clusters. Means by cluster: {means}.",
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
    drawing = _Drawing()
    axes = drawing.figure.subplots()
    for cluster in profile.shown_clusters:
        number = numbers[cluster]
        (dots,) = axes.plot(
            *shown[labels == cluster].T,
            linestyle="none",
            marker=_MARKERS[number // len(CLUSTER_COLORS) % len(_MARKERS)],
            markersize=3,
            markeredgewidth=0,
            color=color(number),
            alpha=0.6,
        )
        drawing.hint(dots, f"row of cluster {cluster}")
    for cluster in profile.shown_clusters:
        (cross,) = axes.plot(*centers[cluster], marker="x", markersize=8, color=_INK)
        drawing.hint(cross, f"centroid of cluster {cluster}")
    first, second = plane.shares
    axes.set(
        xlabel=f"first component ({first:.0%} of the variance)", ylabel=f"second ({second:.0%})"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_few_ticks())
        axis.set_major_formatter(_show_tick)
    are_numbered = _number_centers(drawing.figure, axes, centers, profile.shown_clusters)
    unnumbered = "" if are_numbered else "; numbers that would lie over others are left out"
    return drawing.render(
        title,
        f"{format_count(len(shown))} on the plane of the first two principal components, which "
        f"have {sum(plane.shares):.0%} of the variance of the model's space. Crosses are "
        f"centroids, with the numbers of their clusters{unnumbered}. Clusters separated by other "
        "components may overlap here.",
    )


@_with_style
def draw_curves(curves: Mapping[str, Any]) -> Chart:
    """The measures over k; ``curves`` are from ``select-k --out``."""
    rows: Sequence[Mapping[str, Any]] = curves["measured"]
    suggestion = curves.get("suggestion")

    def values(name: str) -> tuple[list[int], list[float]]:
        known = [(row["k"], row[name]) for row in rows if row.get(name) is not None]
        return [k for k, _ in known], [value for _, value in known]

    measures = ("inertia", "silhouette", "stability", "davies_bouldin", "calinski_harabasz")
    drawing = _Drawing(6.4)
    every = drawing.figure.subplots(len(measures), 1, sharex=True)
    for number, (axes, name) in enumerate(zip(every, measures, strict=True)):
        what = "k = {x}: " + CURVE_TITLES[name] + " {y}"
        drawing.plot_with_hints(axes, *values(name), what, color=color(number), **_DOTS)
        title = CURVE_TITLES[name]
        if name == "silhouette":
            drawing.plot_with_hints(
                axes,
                *values("noise_silhouette"),
                "k = {x}: silhouette of noise {y}",
                linestyle="--",
                color=color(number),
                **_DOTS,
            )
            title = "silhouette (dashed: of noise)"
        if suggestion is not None:
            axes.axvline(suggestion, color=_INK, linestyle=":", linewidth=1)
        axes.yaxis.set_major_formatter(_show_tick)
        axes.set_title(title, loc="left")
    every[-1].set(xlabel="k")
    every[-1].xaxis.get_major_locator().set_params(integer=True)
    return drawing.render(
        "The measures over k",
        f"Measures of k from {rows[0]['k']} to {rows[-1]['k']}. {curves.get('reason', '')}",
    )


def _number_centers(
    figure: Figure, axes: "Axes", centers: "NDArray[Any]", clusters: Sequence[int]
) -> bool:
    """Write the numbers of the clusters at their centroids, where one has room beside the others.

    A number is some 18 points wide and 13 high; one without room is read by pointing at the cross.
    Returns whether all have room.
    """
    figure.draw_without_rendering()  # finds where the axes are
    points = axes.transData.transform(centers[clusters]) * 72 / figure.dpi
    taken: list[Any] = []
    for cluster, point in zip(clusters, points, strict=True):
        if all(abs(point - other)[0] > 18 or abs(point - other)[1] > 13 for other in taken):
            taken.append(point)
            axes.annotate(
                str(cluster),
                centers[cluster],
                xytext=(6, 4),
                textcoords="offset points",
                weight="bold",
            ).set_gid(f"number-{cluster}")
    return len(taken) == len(clusters)


def _show_tick(value: float, _place: float) -> str:
    return format_number(value)


def _few_ticks(**options: Any) -> MaxNLocator:
    """Limit the ticks, so that long numbers do not touch."""
    return MaxNLocator(5, **options)


def _box(quantiles: Mapping[str, float]) -> dict[str, Any]:
    """A box of a box plot, as matplotlib names its parts."""
    parts = {"med": "0.5", "q1": "0.25", "q3": "0.75", "whislo": "0", "whishi": "0.95"}
    return {part: quantiles[q] for part, q in parts.items()} | {"fliers": [quantiles["1"]]}


def _set_ticks(axis: "Axis", places: Sequence[float], clusters: Iterable[int]) -> None:
    """Number the clusters at ``places``; only some of many clusters."""
    step = -(-len(places) // _MOST_LINES) if places else 1
    axis.set_ticks(places[::step], [str(cluster) for cluster in clusters][::step])


def _set_cluster_axis(axes: "Axes", clusters: Sequence[int], *, xlabel: str) -> None:
    """Clusters from above to below, as in the table."""
    count = len(clusters)
    _set_ticks(axes.yaxis, range(count), clusters)
    axes.set(xlabel=xlabel, ylabel="cluster", ylim=(count - 0.4, -0.6))


def _height_of_lines(count: int) -> float:
    """The height in inches of a chart with a line per cluster, up to a maximum."""
    return max(_HEIGHT, 0.9 + 0.21 * min(count, _MOST_LINES))


def _svg_element(svg: str, title: str, text: str) -> Markup:
    """The SVG element alone, with a name for screen readers, and unique ids."""
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
