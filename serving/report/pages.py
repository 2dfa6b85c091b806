"""A page from what was found: one HTML file that needs no network."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jinja2

from export.durable_files import write_atomically

from . import charts
from .errors import ReportNotWritten
from .version_profile import Plane

if TYPE_CHECKING:
    from export.model_card import ModelCard

    from .version_comparison import Meeting
    from .version_profile import Portrait

_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("serving.report", "templates"),
    autoescape=True,
    trim_blocks=True,
    undefined=jinja2.StrictUndefined,
)

_CURVES: Final = {
    "k": "k",
    "inertia": "inertia",
    "silhouette": "silhouette",
    "noise_silhouette": "of noise",
    "stability": "stability",
    "simplified_silhouette": "simplified silhouette",
    "davies_bouldin": "Davies-Bouldin",
    "calinski_harabasz": "Calinski-Harabasz",
}


def version_page(portrait: "Portrait", curves: Mapping[str, Any] | None = None) -> str:
    """The report of a version, with the curves over k when there are some."""
    card = portrait.card
    drawn = [
        charts.in_two_dimensions(portrait, Plane.of(portrait.rows)),
        charts.differences(portrait),
        charts.sizes(card),
        charts.distances(card),
        charts.silhouettes(portrait),
        charts.iterations(card),
    ]
    return _render(
        "version.html.j2",
        title=portrait.name,
        subtitle=f"k-means of {card.data.rows_used:,} rows, made {_when(card)}.",
        facts=_facts(card),
        notes=_notes(portrait),
        clusters=[_cluster(portrait, index) for index in range(card.n_clusters)],
        pictures=[picture for picture in drawn if picture is not None],
        curves=None if curves is None else _curves(curves),
    )


def comparison_page(meeting: "Meeting") -> str:
    """Two versions side by side."""
    before, after = meeting.before, meeting.after
    plane = Plane.of(before.rows)
    moved = meeting.after_in_space_of_before()
    return _render(
        "comparison.html.j2",
        title=f"{before.name} and {after.name}",
        subtitle=f"Both asked about the same {meeting.rows:,} rows.",
        facts=[
            ("rows that keep their cluster", f"{meeting.comparison.rows_kept:.1%}"),
            ("adjusted Rand index", f"{meeting.adjusted_rand_index:.4f}"),
            ("inertia a row", f"{meeting.comparison.inertia_rise:+.2%}"),
            ("largest change of a share", f"{meeting.comparison.share_change:.1%}"),
        ],
        before=before.name,
        measures={"names": ["", before.name, after.name], "rows": meeting.measures()},
        matches={
            "names": ["before", "after", "rows before", "rows after", "moved most in"],
            "rows": meeting.matches(),
        },
        moves={
            "names": [f"{before.name} \\ {after.name}", *map(str, range(meeting.moves.shape[1]))],
            "rows": [[str(row), *map(_count, line)] for row, line in enumerate(meeting.moves)],
        },
        pictures=[
            charts.moves(meeting.moves, before.name, after.name),
            charts.in_two_dimensions(before, plane, f"Before: {before.name}"),
            charts.in_two_dimensions(moved, plane, f"After: {after.name}", meeting.alike()),
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
        (
            "features",
            f"{card.n_features}: {', '.join(card.feature_names[:12])}"
            + (", …" if card.n_features > 12 else ""),
        ),
        ("distance", f"{card.distance}{', standardised' if card.standardize else ''}"),
        ("inertia", f"{card.inertia:.6g}"),
        ("silhouette", shown),
        ("iterations", f"{card.n_iter}, {'converged' if card.converged else 'not converged'}"),
        ("start", f"{parameters.init}, best of {parameters.n_init}, seed {parameters.seed}"),
    ]


def _when(card: "ModelCard") -> str:
    return f"{card.created[:16].replace('T', ' ')} UTC"


def _notes(portrait: "Portrait") -> list[str]:
    card, measured = portrait.card, len(portrait.rows)
    notes = []
    if portrait.drawn:
        notes.append(
            "The training rows are not known: the rows shown here are drawn around the centroids, "
            "and their silhouettes and planes say nothing of real rows."
        )
    elif measured < card.data.rows_used:
        notes.append(
            f"Sizes and distances are of all rows; silhouettes, differences and the plane are of "
            f"{measured:,} rows drawn from them."
        )
    notes += [f"The publish gate was told to pass over: {line}" for line in card.forced]
    return notes


def _cluster(portrait: "Portrait", index: int) -> dict[str, Any]:
    profile = portrait.card.clusters[index]
    median = profile.distance_quantiles.get("0.5")
    own = portrait.silhouettes_of(index)
    return {
        "index": index,
        "color": charts.color(index),
        "size": f"{profile.size:,}",
        "share": f"{profile.share:.1%}",
        "median": "-" if median is None else f"{median:.4g}",
        "silhouette": "-" if own is None else f"{own.mean():.3f}",
        "differences": portrait.stands_apart_by(index),
    }


def _curves(curves: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reason": curves.get("reason", ""),
        "picture": charts.curves(curves),
        "names": list(_CURVES.values()),
        "rows": [[_number(row.get(name)) for name in _CURVES] for row in curves["measured"]],
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _count(value: int) -> str:
    return f"{value:,}"
