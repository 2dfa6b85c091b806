"""The pages of a report, each one HTML file that needs no network."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from export.column_weights import describe_weights
from export.durable_files import write_atomically
from export.feature_names import shorten_names

from . import charts
from .curves import describe_sample
from .errors import ReportNotWritten
from .version_profile import MOST_FEATURES, Plane

if TYPE_CHECKING:
    from export.model_card import ModelCard

    from .version_comparison import VersionComparison
    from .version_profile import VersionProfile

#: Columns that a page describes at most.
_MOST_COLUMNS: Final = 100

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("serving.report", "templates"),
    autoescape=True,
    trim_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def render_version(profile: "VersionProfile", curves: Mapping[str, Any] | None = None) -> str:
    """The report of a version, with the curves over k when there are some."""
    card = profile.card
    made = card.created[:16].replace("T", " ")
    drawn = [
        charts.draw_plane(profile, Plane.fit(profile.rows)),
        charts.draw_differences(profile),
        charts.draw_sizes(card),
        charts.draw_distances(card),
        charts.draw_silhouettes(profile),
        charts.draw_iterations(card),
    ]
    return _render(
        "version.html.j2",
        title=profile.name,
        subtitle=f"k-means of {card.data.rows_used:,} rows, made {made} UTC.",
        facts=_facts(card),
        notes=_notes(profile),
        columns=_column_rows(card),
        more_columns=max(0, len(card.columns) - _MOST_COLUMNS),
        clusters=[_cluster_values(profile, index) for index in range(card.n_clusters)],
        more_features=max(0, card.n_features - MOST_FEATURES),
        charts=[chart for chart in drawn if chart is not None],
        curves=None if curves is None else _curve_values(curves),
    )


def render_comparison(comparison: "VersionComparison") -> str:
    """Two versions side by side."""
    before, after = comparison.before, comparison.after
    plane = Plane.fit(before.rows)
    after_moved = comparison.after_in_space_of_before()
    return _render(
        "comparison.html.j2",
        title=f"{before.name} and {after.name}",
        subtitle=f"Both asked about the same {comparison.rows:,} rows.",
        facts=[
            ("rows that keep their cluster", f"{comparison.comparison.rows_kept:.1%}"),
            ("adjusted Rand index", f"{comparison.adjusted_rand_index:.4f}"),
            ("inertia a row", f"{comparison.comparison.inertia_rise:+.2%}"),
            ("largest change of a share", f"{comparison.comparison.share_change:.1%}"),
        ],
        before=before.name,
        measures={"names": ["", before.name, after.name], "rows": comparison.measure_rows()},
        matches={"names": comparison.match_columns, "rows": comparison.match_rows()},
        moves={
            "names": [
                f"{before.name} \\ {after.name}",
                *map(str, range(comparison.contingency.shape[1])),
            ],
            "rows": [
                [str(row), *map("{:,}".format, line)]
                for row, line in enumerate(comparison.contingency)
            ],
        },
        charts=[
            charts.draw_contingency(comparison.contingency, before.name, after.name),
            charts.draw_plane(before, plane, f"Before: {before.name}"),
            charts.draw_plane(
                after_moved, plane, f"After: {after.name}", comparison.color_numbers()
            ),
        ],
    )


def write(path: Path, page: str) -> None:
    """Write a page, whole or not at all. Raises ReportNotWritten."""
    try:
        write_atomically(path, page)
    except OSError as error:
        raise ReportNotWritten(
            f"{path}: cannot be written: {error.strerror}; name a file in a folder that can be "
            "written to"
        ) from error


def _render(template: str, **values: Any) -> str:
    page: str = _TEMPLATES.get_template(template).render(
        package_version=version("tfkmeans"), **values
    )
    return page


def _facts(card: "ModelCard") -> list[tuple[str, str]]:
    silhouette = card.silhouette
    shown = "undefined" if silhouette.value is None else f"{silhouette.value:.4f}"
    if silhouette.standard_error:
        shown += f" ± {silhouette.standard_error:.4f}"
    parameters = card.parameters
    return [
        ("clusters", str(card.n_clusters)),
        ("rows", f"{card.data.rows_used:,} used, {card.data.rows_left_out:,} left out"),
        *([("weights", weights)] if (weights := card.data.weight_column) else []),
        *([("columns", _describe_columns(card))] if card.encoder is not None else []),
        (
            "features",
            f"{card.n_features:,}: {shorten_names(card.feature_names)}",
        ),
        *([("feature weights", weighed)] if (weighed := describe_weights(card)) else []),
        ("distance", f"{card.distance}{', standardised' if card.standardize else ''}"),
        ("inertia", f"{card.inertia:.6g}"),
        ("silhouette", shown),
        ("iterations", f"{card.n_iter}, {'converged' if card.converged else 'not converged'}"),
        ("start", f"{parameters.init}, best of {parameters.n_init}, seed {parameters.seed}"),
    ]


def _describe_columns(card: "ModelCard") -> str:
    """The columns that the model makes features of, by their kinds."""
    assert card.encoder is not None
    plural = {"number": "numbers", "category": "categories", "vector": "vectors"}
    named = [
        (words, [each.name for each in card.encoder.columns if each.kind == kind])
        for kind, words in plural.items()
    ]
    return "; ".join(f"{words}: {shorten_names(names)}" for words, names in named if names)


def _column_rows(card: "ModelCard") -> list[tuple[str, str]]:
    """The first columns that the model encodes, and what becomes of a missing value of each."""
    if card.encoder is None:
        return []
    return [
        (each.name if each.name.isprintable() else repr(each.name), each.describe())
        for each in card.encoder.columns[:_MOST_COLUMNS]
    ]


def _notes(profile: "VersionProfile") -> list[str]:
    card, measured = profile.card, len(profile.rows)
    notes = []
    if profile.is_synthetic:
        notes.append(
            "The training rows are not known: the rows shown here are drawn around the centroids, "
            "and their silhouettes and planes say nothing of real rows."
        )
    elif measured < card.data.rows_used:
        notes.append(
            f"Sizes and distances are of all rows; silhouettes, differences and the plane are of "
            f"{measured:,} rows drawn from them."
        )
    if any(card.are_shares):
        notes.append(
            "Of a value of a category, as in plan=free, the figures are shares of the rows that "
            "have it."
        )
    if card.encoder is not None and card.encoder.maps:
        maps = ", ".join(card.encoder.maps)
        notes.append(f"The features are what the model makes of the columns by {maps}.")
    notes += [f"The publish gate was told to pass over: {line}" for line in card.forced]
    return notes


def _cluster_values(profile: "VersionProfile", index: int) -> dict[str, Any]:
    cluster = profile.card.clusters[index]
    median = cluster.distance_quantiles.get("0.5")
    own = profile.cluster_silhouettes(index)
    return {
        "index": index,
        "color": charts.color(index),
        "size": f"{cluster.size:,}",
        "share": f"{cluster.share:.1%}",
        "median": _format_number(median),
        "silhouette": "-" if own is None else f"{own.mean():.3f}",
        "differences": profile.top_differences(index),
    }


def _curve_values(curves: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reason": curves.get("reason", ""),
        "sample": describe_sample(curves),
        "chart": charts.draw_curves(curves),
        "names": list(charts.CURVE_TITLES.values()),
        "rows": [
            [_format_number(row.get(name)) for name in charts.CURVE_TITLES]
            for row in curves["measured"]
        ],
    }


def _format_number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
