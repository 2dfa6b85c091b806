"""Example rows of the clusters of a version: nearest to each centroid, and farthest.

They may be personal data: a page has them only where its reader asked for them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.column_rows import ColumnRows

from .names import short_name
from .numbers import format_number

if TYPE_CHECKING:
    from .version_profile import VersionProfile

#: Rows of each kind, nearest and farthest, of each cluster.
_EACH: Final = 3

#: Columns, and cells of the table, at most.
_MOST_COLUMNS: Final = 30
_MOST_CELLS: Final = 4_000

#: Numbers of a vector that are shown.
_MOST_OF_VECTOR: Final = 4


@dataclass(frozen=True)
class ExampleRows:
    """A table of rows: cluster, row number, distance, and values.

    ``more_columns`` are not shown: those that separate the clusters least.
    """

    names: list[str]
    rows: list[list[str]]
    more_columns: int

    @classmethod
    def of(cls, profile: "VersionProfile") -> "ExampleRows":
        """The nearest and farthest rows of each cluster that a page shows."""
        columns = _order_columns(profile)
        rows = 2 * _EACH * len(profile.shown_clusters)
        shown = columns[: min(_MOST_COLUMNS, _MOST_CELLS // rows)]
        return cls(
            names=["cluster", "row", "distance", *(short_name(name) for name, _ in shown)],
            rows=[
                [str(cluster), which, format_number(distance), *_values(shown, row)]
                for cluster in profile.shown_clusters
                for which, row, distance in _find_examples(profile, cluster)
            ],
            more_columns=len(columns) - len(shown),
        )


def _find_examples(profile: "VersionProfile", cluster: int) -> list[tuple[str, int, float]]:
    """The nearest and farthest rows of a cluster, with their distances; no row twice."""
    own = np.flatnonzero(profile.cluster_index == cluster)
    distances = np.linalg.norm(profile.rows[own] - profile.centroids[cluster], axis=1)
    order = np.argsort(distances, kind="stable")
    nearest = order[:_EACH]
    farthest = order[max(len(nearest), len(order) - _EACH) :]
    return [
        (which, int(own[place]), float(distances[place]))
        for which, places in (("nearest", nearest), ("farthest", farthest[::-1]))
        for place in places
    ]


def _order_columns(profile: "VersionProfile") -> list[tuple[str, NDArray[Any]]]:
    """Names and values of the columns, those that separate the clusters most first."""
    separation = profile.separation
    if not isinstance(profile.columns, ColumnRows):
        names = profile.card.feature_names
        return [(names[each], profile.points[:, each]) for each in profile.features_by_separation]
    starts = np.cumsum([0, *(len(column.feature_names) for column in profile.card.columns)])
    by_column = np.add.reduceat(separation, starts[:-1])
    arrays = list(profile.columns.tensors.items())
    return [arrays[each] for each in np.argsort(-by_column, kind="stable")]


def _values(columns: list[tuple[str, NDArray[Any]]], row: int) -> list[str]:
    return [_show(array[row]) for _, array in columns]


def _show(value: Any) -> str:
    if isinstance(value, bytes):
        return short_name(value.decode("utf-8", "replace"))
    if isinstance(value, np.ndarray):
        some = ", ".join(format_number(float(each)) for each in value[:_MOST_OF_VECTOR])
        return f"{some} ... ({len(value):,} numbers)" if len(value) > _MOST_OF_VECTOR else some
    return format_number(float(value), 6)
