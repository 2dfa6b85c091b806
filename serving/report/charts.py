"""The pictures of a report, drawn by matplotlib as SVG that takes its colours from the page.

matplotlib writes colours as numbers. What should follow the reader's light or dark scheme is drawn
in colours that nothing else has, and these become the page's variables.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from export.model_card import ModelCard

    from .version_profile import Plane, Portrait

#: Colours of clusters, which can be seen on white and on black; beyond them they come again.
CLUSTER_COLORS: Final = (
    *("#3b82f6", "#ef8a17", "#22a06b", "#d6457a", "#8b5cf6", "#0ea5b7"),
    *("#b58105", "#e0533d", "#6b7f99", "#7a9a01", "#c04fd0", "#4f6bd8"),
)
_MARKERS: Final = "os^Dv"

_INK: Final = "#010101"
_FAINT: Final = "#020202"
_VARIABLES: Final = {_INK: "var(--ink)", _FAINT: "var(--faint)"}

#: Inches of 72 points; the page shows a picture about as wide, so that text stays readable.
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


@dataclass(frozen=True)
class Picture:
    """A picture: its title, the text that stands for it, and the SVG."""

    title: str
    text: str
    svg: Markup


def color(cluster: int) -> str:
    return CLUSTER_COLORS[cluster % len(CLUSTER_COLORS)]


def iterations(card: "ModelCard") -> Picture | None:
    """Inertia and shift over the iterations; None where the card has none."""
    if not card.history:
        return None
    numbers = range(1, len(card.history) + 1)
    inertia = [each.inertia for each in card.history]
    shift = [each.shift for each in card.history]

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.plot(numbers, inertia, color=color(0), marker="o", markersize=3)
        upper.set_ylabel("inertia")
        lower.plot(numbers, shift, color=color(1), marker="o", markersize=3)
        # A last shift of 0 has no place on a logarithmic scale.
        if max(shift) > 0:
            lower.set_yscale("log", nonpositive="mask")
        lower.set_ylabel("shift")
        lower.set_xlabel("iteration")
        lower.xaxis.get_major_locator().set_params(integer=True)

    return _picture(
        "Inertia and shift over the iterations",
        f"{len(inertia)} iterations of the best start. The inertia goes from {inertia[0]:.6g} to "
        f"{inertia[-1]:.6g}, the squared move of the centroids from {shift[0]:.3g} to "
        f"{shift[-1]:.3g}.",
        draw,
    )


def sizes(card: "ModelCard") -> Picture:
    """Rows in each cluster."""
    counts = [cluster.size for cluster in card.clusters]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bars = axes.barh(
            range(len(counts)), counts, color=[color(index) for index in range(len(counts))]
        )
        if len(counts) <= 20:
            axes.bar_label(bars, [f"{count:,}" for count in counts], padding=3)
            axes.margins(x=0.15)
        _clusters_down(axes, len(counts))
        axes.set_xlabel("rows")
        axes.grid(visible=False, axis="y")

    shown = ", ".join(f"{c.index}: {c.size:,} ({c.share:.1%})" for c in card.clusters[:40])
    return _picture("Sizes", f"Rows in each cluster. {shown}.", draw)


def distances(card: "ModelCard") -> Picture | None:
    """Distances of the rows of each cluster to its centroid, by the card's quantiles."""
    known = [cluster for cluster in card.clusters if cluster.distance_quantiles]
    if not known:
        return None
    boxes = [
        {
            "med": q["0.5"],
            "q1": q["0.25"],
            "q3": q["0.75"],
            "whislo": q["0"],
            "whishi": q["0.95"],
            "fliers": [q["1"]],
        }
        for q in (cluster.distance_quantiles for cluster in known)
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _boxes(axes, boxes, [cluster.index for cluster in known])
        _clusters_down(axes, len(card.clusters))
        axes.set_xlabel("distance to the centroid")
        axes.set_xlim(left=0)

    shown = ", ".join(f"{c.index}: {c.distance_quantiles['0.5']:.4g}" for c in known[:40])
    return _picture(
        "Distances",
        "Distance of each cluster's rows to its centroid, in the model's space: quartiles, the "
        f"least and the 95th percentile, and the greatest as a dot. Medians: {shown}.",
        draw,
    )


def silhouettes(portrait: "Portrait") -> Picture | None:
    """The silhouettes of the rows, cluster by cluster, sorted (Rousseeuw 1987)."""
    if portrait.silhouettes is None:
        return None
    every = portrait.silhouettes
    mean = float(every.mean())
    clusters = range(portrait.card.n_clusters)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        gap = max(1.0, 0.02 * len(every))
        top = 0.0
        ticks = []
        for cluster in clusters:
            own = portrait.silhouettes_of(cluster)
            if own is None:
                continue
            axes.fill_betweenx(
                top + np.arange(len(own)), 0, own, facecolor=color(cluster), linewidth=0
            )
            ticks.append((top + len(own) / 2, str(cluster)))
            top += len(own) + gap
        axes.axvline(mean, color=_INK, linestyle="--", linewidth=1)
        axes.set_ylim(top, -gap)
        axes.grid(visible=False, axis="y")
        shown = ticks[:: max(1, len(ticks) // 12)]
        axes.set_yticks([place for place, _ in shown], [name for _, name in shown])
        axes.set_ylabel("cluster")
        axes.set_xlabel("silhouette (dashed: the mean)")

    means = ", ".join(
        f"{cluster}: {float(own.mean()):.3f}"
        for cluster in list(clusters)[:40]
        if (own := portrait.silhouettes_of(cluster)) is not None
    )
    below = float((every < 0).mean())
    return _picture(
        "Silhouettes",
        f"Silhouettes of {len(every):,} rows, sorted in each cluster. Their mean is {mean:.3f}; "
        f"{below:.1%} are below 0, nearer to another cluster than to their own. Means by "
        f"cluster: {means}.",
        draw,
    )


def in_two_dimensions(
    portrait: "Portrait",
    plane: "Plane",
    title: str = "The clusters in two dimensions",
    alike: Sequence[int] | None = None,
) -> Picture:
    """The rows and the centroids in a plane; a cluster has the colour of the one it is alike to."""
    alike = range(portrait.card.n_clusters) if alike is None else alike
    step = max(1, -(-len(portrait.rows) // _MOST_DOTS))
    shown = plane.project(portrait.rows[::step])
    labels = portrait.cluster_index[::step]
    centres = plane.project(portrait.centroids)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for cluster in range(portrait.card.n_clusters):
            own = shown[labels == cluster]
            axes.plot(
                *own.T,
                linestyle="none",
                marker=_MARKERS[alike[cluster] // len(CLUSTER_COLORS) % len(_MARKERS)],
                markersize=3,
                markeredgewidth=0,
                color=color(alike[cluster]),
                alpha=0.6,
            )
        axes.plot(*centres.T, linestyle="none", marker="x", markersize=8, color=_INK)
        if len(centres) <= 20:
            for cluster, place in enumerate(centres):
                axes.annotate(
                    str(cluster), place, xytext=(6, 4), textcoords="offset points", weight="bold"
                )
        first, second = plane.shares
        axes.set_xlabel(f"first component ({first:.0%} of the variance)")
        axes.set_ylabel(f"second ({second:.0%})")

    return _picture(
        title,
        f"{len(shown):,} rows on the plane of the first two principal components, which have "
        f"{sum(plane.shares):.0%} of the variance of the model's space; crosses are centroids. "
        "What the other components hold apart overlaps here.",
        draw,
    )


def differences(portrait: "Portrait") -> Picture:
    """How far each cluster's mean is from the mean of all rows, by feature."""
    order = np.argsort(-np.abs(portrait.deviations).max(axis=0), kind="stable")[:_MOST_FEATURES]
    order = np.sort(order)
    values = portrait.deviations[:, order]
    names = [_short(portrait.card.feature_names[feature]) for feature in order]
    limit = max(1.0, float(np.abs(values).max()))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        mesh = axes.pcolormesh(
            values.T, cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="none", linewidth=0
        )
        figure.colorbar(mesh, ax=axes, label="standard deviations from the mean")
        if values.size <= _MOST_NUMBERS:
            for (cluster, feature), value in np.ndenumerate(values):
                strong = abs(value) > 0.6 * limit
                axes.text(
                    *(cluster + 0.5, feature + 0.5, f"{value:+.1f}"),
                    ha="center",
                    va="center",
                    size=10,
                    color="#ffffff" if strong else "#1a1a1a",
                )
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        step = max(1, len(values) // 12)
        shown = range(0, len(values), step)
        axes.set_xticks([each + 0.5 for each in shown], [str(each) for each in shown])
        axes.invert_yaxis()
        axes.set_xlabel("cluster")
        axes.grid(visible=False)

    left_out = len(portrait.card.feature_names) - len(order)
    more = f" {left_out} features that differ less are not shown." if left_out else ""
    return _picture(
        "What makes each cluster different",
        "The mean of each cluster less the mean of all rows, in standard deviations of the "
        f"feature; the list of clusters has them in raw units.{more}",
        draw,
        height=max(_HEIGHT, 1.2 + 0.26 * len(names)),
    )


def curves(found: Mapping[str, Any]) -> Picture:
    """The measures over k."""
    rows: Sequence[Mapping[str, Any]] = found["measured"]
    suggestion = found.get("suggestion")

    def values(name: str) -> tuple[list[int], list[float]]:
        known = [(row["k"], row[name]) for row in rows if row.get(name) is not None]
        return [k for k, _ in known], [value for _, value in known]

    panels = (
        ("inertia", (("inertia", "inertia", "-"),)),
        ("silhouette", (("silhouette", "silhouette", "-"), ("noise_silhouette", "of noise", "--"))),
        ("stability", (("stability", "stability", "-"),)),
        ("Davies-Bouldin", (("davies_bouldin", "Davies-Bouldin", "-"),)),
        ("Calinski-Harabasz", (("calinski_harabasz", "Calinski-Harabasz", "-"),)),
    )

    def draw(figure: Figure) -> None:
        every = figure.subplots(len(panels), 1, sharex=True)
        for number, (axes, (name, lines)) in enumerate(zip(every, panels, strict=True)):
            for column, label, style in lines:
                axes.plot(
                    *values(column),
                    linestyle=style,
                    marker="o",
                    markersize=3,
                    color=color(number),
                    label=label,
                )
            if len(lines) > 1:
                axes.legend(fontsize=10)
            if suggestion is not None:
                axes.axvline(suggestion, color=_INK, linestyle=":", linewidth=1)
            axes.set_title(name, loc="left")
        every[-1].set_xlabel("k")
        every[-1].xaxis.get_major_locator().set_params(integer=True)

    return _picture(
        "The measures over k",
        f"Measures of k from {rows[0]['k']} to {rows[-1]['k']}. {found.get('reason', '')}",
        draw,
        height=6.4,
    )


def moves(table: np.ndarray, before: str, after: str) -> Picture:
    """Who moved where: shares of the rows of each cluster before, by their cluster after."""
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, where=totals > 0, out=np.zeros(table.shape))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        mesh = axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="none")
        figure.colorbar(mesh, ax=axes, label="share of the row")
        if table.size <= _MOST_NUMBERS:
            for (row, column), count in np.ndenumerate(table):
                axes.text(
                    *(column + 0.5, row + 0.5, f"{count:,}"),
                    ha="center",
                    va="center",
                    size=10,
                    color="#ffffff" if shares[row, column] > 0.5 else "#1a1a1a",
                )
        for axis, size in ((axes.yaxis, len(table)), (axes.xaxis, table.shape[1])):
            step = max(1, size // 12)
            shown = range(0, size, step)
            axis.set_ticks([each + 0.5 for each in shown], [str(each) for each in shown])
        axes.invert_yaxis()
        axes.set_ylabel(f"cluster of {before}")
        axes.set_xlabel(f"cluster of {after}")
        axes.grid(visible=False)

    return _picture(
        "Who moved where",
        f"Rows of each cluster of {before}, by their cluster of {after}; the table has numbers.",
        draw,
    )


def _boxes(axes: "Axes", boxes: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
    drawn = axes.bxp(
        boxes,
        positions=places,
        orientation="horizontal",
        widths=0.6,
        patch_artist=True,
        medianprops={"color": _INK},
        whiskerprops={"color": _INK},
        capprops={"color": _INK},
        flierprops={"marker": "o", "markersize": 3, "markeredgecolor": _INK},
    )
    for box, place in zip(drawn["boxes"], places, strict=True):
        box.set(facecolor=color(place), edgecolor=_INK, linewidth=0.8)


def _clusters_down(axes: "Axes", count: int) -> None:
    """Clusters from above to below, as in the table; some of the numbers when they are many."""
    shown = range(0, count, max(1, count // 12))
    axes.set_yticks(list(shown), [str(each) for each in shown])
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_ylabel("cluster")


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:20]}…"


def _picture(
    title: str, text: str, draw: Callable[[Figure], None], *, height: float = _HEIGHT
) -> Picture:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        written = StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(title, text, _embedded(written.getvalue(), title, text))


def _embedded(svg: str, title: str, text: str) -> Markup:
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
