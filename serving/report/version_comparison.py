"""Two versions on the same rows: matched clusters, and the number of moved rows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from export.common_rows import CommonRows, Rows, find_difference, read_rows
from export.comparison import Answers, Comparison, compare, match_clusters
from export.feature_names import shorten_names
from export.model_card import ModelCard
from export.replay import answer_rows
from kmeans_module import UndefinedMeasure, adjusted_rand_index, silhouette
from kmeans_module.contract import BAD_ROW

from .errors import NotComparable
from .names import short_name
from .numbers import format_mean, format_number, format_time
from .version_profile import VersionProfile

Array = NDArray[Any]

_MOST_FEATURES: Final = 3


@dataclass(frozen=True)
class VersionComparison:
    """Two versions, on rows that both answer.

    Attributes:
        before, after: their profiles on these rows, each of its own points and in its own space.
        comparison: the figures of the publish gate, in the space of ``before``.
        match: for each cluster of ``after``, that of ``before``; -2 for one without.
        contingency: int64 [k before, k after], how many rows are of the one and of the other.
        adjusted_rand_index: how far they agree on pairs of rows.
        centroids_after: [k after, d], the centroids of ``after`` in the space of ``before``.
        raw_centroids: those of ``before`` and of ``after`` in raw units, of the features of
            ``before``.
    """

    match_columns: ClassVar = ("before", "after", "rows before", "rows after", "moved most in")

    before: VersionProfile
    after: VersionProfile
    comparison: Comparison
    match: NDArray[np.int64]
    contingency: NDArray[np.int64]
    adjusted_rand_index: float
    centroids_after: Array
    raw_centroids: tuple[Array, Array]

    @classmethod
    def measure(
        cls, before: tuple[Path, str], after: tuple[Path, str], rows: Rows | None = None
    ) -> "VersionComparison":
        """Compare two versions, each by its directory and its name, on rows as ``after`` takes
        them; by default on those that ``after``, or else ``before``, travels with.

        Raises:
            NotComparable: they take other columns, or no row is answered by both.
            InvalidCandidate: a version lacks a part.
        """
        mine, theirs = ModelCard.read(before[0]), ModelCard.read(after[0])
        if difference := find_difference(mine, theirs):
            raise NotComparable(
                f"{after[1]} {difference[1]}, and {before[1]} {difference[0]}: compare models of "
                "the same columns"
            )
        given = read_rows(before[0], mine, after[0], theirs) if rows is None else rows
        raw = CommonRows.of(mine, theirs, given)
        one = answer_rows(before[0], raw.before, mine)
        other = answer_rows(after[0], raw.after, mine, raw.align)
        both = (one.cluster_index != BAD_ROW) & (other.cluster_index != BAD_ROW)
        found = compare(mine.to_model_space(raw.before), one, other, int(before[0].name))
        if found is None:
            raise NotComparable(
                f"{before[1]} and {after[1]}: there is no row that both answer; give others by "
                "--rows"
            )
        first, second = one.cluster_index[both], other.cluster_index[both]
        contingency = np.zeros((mine.n_clusters, theirs.n_clusters), np.int64)
        np.add.at(contingency, (first, second), 1)
        return cls(
            before=VersionProfile.measure(before[0], before[1], raw.before[both]),
            after=VersionProfile.measure(after[0], after[1], raw.after[both]),
            comparison=found,
            match=match_clusters(one.centroids, other.centroids),
            contingency=contingency,
            adjusted_rand_index=adjusted_rand_index(first, second),
            centroids_after=other.centroids,
            raw_centroids=(_raw_centroids(one, mine), _raw_centroids(other, mine)),
        )

    @property
    def rows(self) -> int:
        """The number of rows that both versions answered."""
        return int(self.contingency.sum())

    def features_of_one(self) -> tuple[list[str], list[str]]:
        """The features of ``before`` that ``after`` lacks, and vice versa."""
        mine, theirs = (each.card.feature_names for each in (self.before, self.after))
        return (
            [name for name in mine if name not in set(theirs)],
            [name for name in theirs if name not in set(mine)],
        )

    def after_in_space_of_before(self) -> VersionProfile:
        """``after`` in the space of ``before``, for a drawing in the same plane."""
        return replace(self.after, rows=self.before.rows, centroids=self.centroids_after)

    def color_numbers(self) -> list[int]:
        """The match of each cluster of ``after``, or a number that ``before`` lacks."""
        new = len(self.contingency)
        numbers = []
        for cluster in self.match:
            numbers.append(int(cluster) if cluster >= 0 else new)
            new += cluster < 0
        return numbers

    def measure_rows(self) -> list[list[str]]:
        """Rows of a table: a measure, of ``before`` and of ``after``."""
        rows = self.before.rows
        labels = (self.before.cluster_index, self.after.cluster_index)
        cards = (self.before.card, self.after.card)
        own = [shorten_names(names) for names in self.features_of_one()]
        inertias = (self.comparison.live_inertia, self.comparison.candidate_inertia)
        return [
            ["clusters", *(str(card.n_clusters) for card in cards)],
            ["distance", *(card.distance for card in cards)],
            ["standardised", *("yes" if card.standardize else "no" for card in cards)],
            ["training rows", *(f"{card.data.rows_used:,}" for card in cards)],
            [
                f"inertia per row, in the space of {self.before.name}",
                *(format_number(each, 6) for each in inertias),
            ],
            [
                f"silhouette, in the space of {self.before.name}",
                *(_format_silhouette(rows, each) for each in labels),
            ],
            *([["features of its own", *own]] if any(own) else []),
            ["created", *(format_time(card.created) for card in cards)],
        ]

    def match_rows(self) -> list[list[str]]:
        """Rows of a table of matched clusters, with the columns ``match_columns``."""
        rows_before, rows_after = self.contingency.sum(axis=1), self.contingency.sum(axis=0)
        lines = []
        for cluster, count in enumerate(rows_before):
            partners = np.flatnonzero(self.match == cluster)
            if len(partners):
                partner = int(partners[0])
                lines.append(
                    [
                        *(str(cluster), str(partner), f"{count:,}", f"{rows_after[partner]:,}"),
                        self._describe_move(cluster, partner),
                    ]
                )
            else:
                lines.append([str(cluster), "none", f"{count:,}", "-", ""])
        lines += [
            ["none", str(cluster), "-", f"{rows_after[cluster]:,}", ""]
            for cluster in np.flatnonzero(self.match < 0)
        ]
        return lines

    def as_json(self) -> dict[str, Any]:
        """The figures for JSON."""
        return {
            "rows": self.rows,
            "adjusted_rand_index": self.adjusted_rand_index,
            "features_of_one": self.features_of_one(),
            "rows_kept": self.comparison.rows_kept,
            "share_change": self.comparison.share_change,
            "inertia_a_row": [self.comparison.live_inertia, self.comparison.candidate_inertia],
            "match": [
                {"before": int(cluster) if cluster >= 0 else None, "after": number}
                for number, cluster in enumerate(self.match)
            ],
            "moves": self.contingency.tolist(),
        }

    def _describe_move(self, cluster: int, partner: int) -> str:
        """The features in which the centroid moved most, by the spread of the rows; raw units."""
        one, other = self.raw_centroids[0][cluster], self.raw_centroids[1][partner]
        moved = (other - one) / np.asarray(self.before.card.scale)
        order = np.argsort(-np.abs(moved), kind="stable")[:_MOST_FEATURES]
        names, shares = self.before.card.feature_names, self.before.card.are_shares
        return "; ".join(
            f"{short_name(names[each])} {format_mean(one[each], is_share=shares[each])} → "
            f"{format_mean(other[each], is_share=shares[each])}"
            for each in order
            if moved[each]
        )


def _raw_centroids(found: Answers, card: ModelCard) -> Array:
    return np.asarray(found.centroids * np.asarray(card.scale) + np.asarray(card.shift))


def _format_silhouette(rows: Array, labels: NDArray[np.integer[Any]]) -> str:
    try:
        return f"{silhouette(rows, labels).mean:.4f}"
    except UndefinedMeasure:
        return "undefined"
