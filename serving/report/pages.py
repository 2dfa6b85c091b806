"""The pages of a report, each one HTML file that needs no network."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import jinja2
import numpy as np
from markupsafe import Markup, escape

from export.column_weights import describe_weights
from export.durable_files import write_atomically
from export.feature_names import group_vectors, shorten_names

from . import centroid_table, charts, distributions
from .curves import describe_sample
from .errors import NoRowsToShow, ReportNotWritten
from .example_rows import ExampleRows
from .names import one_line, short_name
from .numbers import format_count, format_number, format_share, format_time
from .version_profile import MOST_FEATURES, Plane

if TYPE_CHECKING:
    from export.model_card import ModelCard

    from .version_comparison import VersionComparison
    from .version_profile import VersionProfile

#: Columns that a page describes at most.
_MOST_COLUMNS: Final = 100

#: Features, or columns of categories and of vectors, whose part in the clustering is drawn.
_MOST_BARS: Final = 15

#: Characters of the names of all features that the facts list.
_LONGEST_NAMES: Final = 80

#: Features whose distributions are not folded away.
_MOST_UNFOLDED: Final = 8

#: Where a name may go on in the next line. A number may not, nor an amount such as -1.5.
_BREAKS: Final = re.compile(r"(?<=[_./=\[-])(?=[^_./=\[-])")
_NUMBER: Final = re.compile(r"[(<>≤≥±+-]*[\d.,-]+[%),.;:]*")

_TABLE_SCRIPT: Final = (files("serving.report") / "templates" / "tables.js").read_text("utf-8")


def _breakable(text: str) -> Markup:
    """A text in which a browser may break words, such as names, after separators."""
    return Markup(" ").join(
        Markup("<wbr>").join(
            map(escape, [word] if _NUMBER.fullmatch(word) else _BREAKS.split(word))
        )
        for word in text.split(" ")
    )


_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("serving.report", "templates"),
    autoescape=True,
    trim_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_TEMPLATES.filters["breakable"] = _breakable
_TEMPLATES.filters["color"] = charts.color
_TEMPLATES.globals.update(
    cluster_colors=charts.CLUSTER_COLORS,
    script=Markup(_TABLE_SCRIPT),
    # The one script that the page's policy lets a browser run.
    script_sha256=base64.b64encode(hashlib.sha256(_TABLE_SCRIPT.encode()).digest()).decode(),
    spread=distributions,
)


def render_version(
    profile: "VersionProfile",
    curves: Mapping[str, Any] | None = None,
    *,
    example_rows: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """The report of a version.

    Args:
        profile: the version, measured.
        curves: the curves over k, to show them too.
        notes: what there is to say of the rows, such as how many were left out.
        example_rows: whether the page shows rows as they are. They may be personal data.

    Raises:
        NoRowsToShow: example rows are asked for, and no training rows travel with the version.
    """
    card = profile.card
    has_rows = len(profile.points) > 0
    if example_rows and (profile.is_synthetic or not has_rows):
        raise NoRowsToShow(
            f"{profile.name}: no training rows travel with it to show as examples; give rows by "
            "--rows FILE"
        )
    overview = [
        charts.draw_plane(profile, Plane.fit(profile.rows)) if has_rows else None,
        charts.draw_sizes(card, profile.shown_clusters),
    ]
    quality = [
        charts.draw_distances(card, profile.shown_clusters),
        charts.draw_silhouettes(profile),
        charts.draw_iterations(card),
    ]
    table = centroid_table.CentroidTable.of(profile)
    spreads = distributions.measure_distributions(profile)
    return _render(
        "version.html.j2",
        title=profile.name,
        subtitle=f"k-means model of {format_count(card.data.rows_used)}, created",
        created=format_time(card.created),
        facts=_facts(card),
        notes=[*_notes(profile), *notes],
        columns=_column_rows(card),
        more_columns=max(0, len(card.columns) - _MOST_COLUMNS),
        clusters=[_cluster_values(profile, index) for index in profile.shown_clusters],
        more_clusters=card.n_clusters - len(profile.shown_clusters),
        more_features=max(0, card.n_features - MOST_FEATURES),
        deciding=_deciding_features(profile),
        table=table,
        download=None if table.csv is None else _download(profile.name, table.csv),
        levels=centroid_table.describe_levels(),
        is_cosine=card.distance != "euclidean",
        is_single=card.n_clusters == 1,
        has_rows=has_rows,
        unfolded=spreads[:_MOST_UNFOLDED],
        folded=spreads[_MOST_UNFOLDED:],
        more_spreads=card.n_features - len(spreads),
        examples=ExampleRows.of(profile) if example_rows else None,
        overview=[chart for chart in overview if chart is not None],
        quality=[chart for chart in quality if chart is not None],
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
        subtitle=f"Both versions assigned the same {format_count(comparison.rows)}.",
        facts=[
            ("rows that keep their cluster", format_share(comparison.comparison.rows_kept), ""),
            (
                "adjusted Rand index",
                f"{comparison.adjusted_rand_index:.4f}",
                "1: the same clusters; 0: as alike as chance",
            ),
            ("change of the inertia per row", f"{comparison.comparison.inertia_rise:+.2%}", ""),
            (
                "largest change of a share",
                format_share(comparison.comparison.share_change),
                "of a cluster in all rows",
            ),
        ],
        before=before.name,
        after=after.name,
        measures={"names": ["", before.name, after.name], "rows": comparison.measure_rows()},
        matches={"names": comparison.match_columns, "rows": comparison.match_rows()},
        moves=_move_values(comparison),
        charts=[
            charts.draw_plane(before, plane, f"Before: {before.name}"),
            charts.draw_plane(
                after_moved, plane, f"After: {after.name}", comparison.color_numbers()
            ),
        ],
    )


def write(path: Path, page: str) -> None:
    """Write a page atomically. Raises ReportNotWritten."""
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


def _facts(card: "ModelCard") -> list[tuple[str, str, str]]:
    """Names, values, and explanations where needed."""
    silhouette = card.silhouette
    shown = "undefined" if silhouette.value is None else f"{silhouette.value:.4f}"
    if silhouette.standard_error:
        shown += f" ± {silhouette.standard_error:.4f}"
    parameters = card.parameters
    ended = "converged" if card.converged else "not converged"
    return [
        ("clusters", f"{card.n_clusters:,}", ""),
        (
            "training rows",
            f"{card.data.rows_used:,} used, {card.data.rows_left_out:,} left out",
            "",
        ),
        *([("weights", weights, "")] if (weights := card.data.weight_column) else []),
        *([("columns", _describe_columns(card), "")] if card.encoder is not None else []),
        ("features", _describe_features(card), ""),
        *([("feature weights", weighed, "")] if (weighed := describe_weights(card)) else []),
        ("distance", f"{card.distance}{', standardised' if card.standardize else ''}", ""),
        (
            "inertia",
            format_number(card.inertia, 6),
            "sum of the squared distances of the rows to their centroids",
        ),
        (
            "silhouette",
            shown,
            "how clearly the clusters are separated: 1 clearly, 0 not at all",
        ),
        ("iterations", f"{card.n_iter:,}, {ended}", ""),
        (
            "start",
            f"{parameters.init}, best of {parameters.n_init:,}, seed\u00a0{parameters.seed}",
            "",
        ),
    ]


def _describe_features(card: "ModelCard") -> str:
    """The number of features, and their names if these are short."""
    names = shorten_names(tuple(map(one_line, card.feature_names)))
    return (
        f"{card.n_features:,}: {names}" if len(names) <= _LONGEST_NAMES else f"{card.n_features:,}"
    )


def _describe_columns(card: "ModelCard") -> str:
    """The columns that the model encodes, by kind."""
    assert card.encoder is not None
    plural = {"number": "numbers", "category": "categories", "vector": "vectors"}
    named = [
        (words, [one_line(each.name) for each in card.encoder.columns if each.kind == kind])
        for kind, words in plural.items()
    ]
    return "; ".join(f"{words}: {shorten_names(names)}" for words, names in named if names)


def _column_rows(card: "ModelCard") -> list[tuple[str, str, str]]:
    """The first columns that the model encodes, and their replacements of missing values."""
    if card.encoder is None:
        return []
    return [
        (short_name(each.name), each.describe(), "")
        for each in card.encoder.columns[:_MOST_COLUMNS]
    ]


def _notes(profile: "VersionProfile") -> list[str]:
    card, measured = profile.card, len(profile.points)
    notes = []
    match profile.origin:
        case "synthetic":
            notes.append(
                "The training rows are not known. The rows of this page were generated around the "
                "centroids: distributions, silhouettes and the plane say nothing about real rows."
            )
        case "given":
            notes.append(
                "Means, explained shares, distributions, silhouettes and the plane are of "
                f"{format_count(measured, 'given row')}; centroids, separation, "
                "sizes, distances and the inertia are of the training rows."
            )
            if left_out := profile.rows_left_out:
                notes.append(describe_left_out(left_out, measured + left_out))
        case "training" if measured < card.data.rows_used:
            notes.append(
                "Sizes, distances and the inertia are of all rows; distributions, silhouettes and "
                f"the plane are of a sample of {measured:,} rows."
            )
    if profile.is_weighted:
        notes.append(
            f"The model was fitted with the weights of the column "
            f"{short_name(card.data.weight_column or '')}, and its centroids and inertia are "
            "weighted. Rows are not weighted here: all other figures count each row once, and so "
            "the mean of a cluster's rows may differ from its centroid."
        )
    if any(card.are_shares):
        notes.append(
            "A feature such as plan=free is a value of a category: its figures are the share of "
            "the rows that have this value."
        )
    if card.encoder is not None and card.encoder.maps:
        maps = ", ".join(card.encoder.maps)
        notes.append(f"The features are what the model computes from the columns by {maps}.")
    notes += [
        f"A check was bypassed when this version was published: {each}" for each in card.forced
    ]
    return notes


def _cluster_values(profile: "VersionProfile", index: int) -> dict[str, Any]:
    cluster = profile.card.clusters[index]
    own = profile.cluster_silhouettes(index)
    return {
        "index": index,
        "size": format_count(cluster.size),
        "share": format_share(cluster.share),
        "width": f"{100 * cluster.share:.1f}%",
        "median": format_number(cluster.distance_quantiles.get("0.5")),
        "silhouette": "-" if own is None else f"{own.mean():.3f}",
        "absent": "" if profile.has_mean(index) else _describe_absence(profile),
        "differences": profile.top_differences(index),
    }


def describe_left_out(left_out: int, rows: int) -> str:
    """How many given rows the model gives no cluster."""
    verb = "has" if left_out == 1 else "have"
    return (
        f"{left_out:,} of {format_count(rows, 'given row')} {verb} no cluster and "
        f"{'is' if left_out == 1 else 'are'} left out: a value is missing, infinite or out of "
        "range."
    )


def _describe_absence(profile: "VersionProfile") -> str:
    kind = "given rows" if profile.origin == "given" else "rows of the sample"
    return f"no {kind} in this cluster"


def _deciding_features(profile: "VersionProfile") -> dict[str, Any] | None:
    """The shares of the features in the separation of the clusters; None without separation.

    Features of one column, of a category or a vector, are taken together.
    """
    card = profile.card
    if not profile.separation.any():
        return None
    groups = group_vectors(card.feature_names)
    if card.encoder is not None and not card.encoder.maps:
        groups = tuple((each.name, len(each.feature_names)) for each in card.columns)
    starts = np.cumsum([0, *(width for _, width in groups)])[:-1]
    shares = np.add.reduceat(profile.separation, starts)
    order = np.argsort(-shares, kind="stable")
    return {
        "bars": [
            {
                "name": short_name(groups[each][0]),
                "width": f"{100 * shares[each] / shares[order[0]]:.1f}%",
                "share": format_share(float(shares[each])),
            }
            for each in order[:_MOST_BARS]
        ],
        "more": max(0, len(groups) - _MOST_BARS),
        "rest": format_share(float(shares[order[_MOST_BARS:]].sum())),
    }


def _download(name: str, text: str) -> dict[str, str]:
    """The CSV as a link without a script: the name of the file and its address."""
    return {
        "name": f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name).strip('-')}-centroids.csv",
        "url": f"data:text/csv;charset=utf-8,{quote(text, safe=',.-')}",
    }


def _move_values(comparison: "VersionComparison") -> dict[str, Any]:
    """The number of rows for each pair of clusters; the colour shows the share of the old."""
    table = comparison.contingency
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, where=totals > 0, out=np.zeros(table.shape))
    levels = np.ceil(4 * shares).astype(int)
    return {
        "columns": list(range(table.shape[1])),
        "rows": [
            [
                {
                    "value": f"{count:,}",
                    "color": f"a{level}" if level else "",
                    "text": f"{format_share(float(share))} of the rows of cluster {row}",
                }
                for count, level, share in zip(counts, row_levels, row_shares, strict=True)
            ]
            for row, (counts, row_levels, row_shares) in enumerate(
                zip(table, levels, shares, strict=True)
            )
        ],
    }


def _curve_values(curves: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reason": curves.get("reason", ""),
        "sample": describe_sample(curves),
        "chart": charts.draw_curves(curves),
        "names": list(charts.CURVE_TITLES.values()),
        "rows": [
            [format_number(row.get(name)) for name in charts.CURVE_TITLES]
            for row in curves["measured"]
        ],
    }
