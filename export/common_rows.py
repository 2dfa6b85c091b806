"""The same rows as points of two versions, for comparing the versions.

Two versions that take the same columns by name are comparable: each encodes a row itself. So are
two versions with the same features in the same order, of which at most one takes columns by name.
Features are matched by name: a feature that a version lacks, for a category value that was not in
its fit, is 0 in its centroids.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module.column_training import encode_arrays
from kmeans_module.columns import Column, NumberColumn
from kmeans_module.encoder import Encoder
from kmeans_module.raw_columns import read_columns

from . import sample_rows
from .array_files import InvalidArray, read_npy
from .column_rows import ColumnRows
from .errors import InvalidCandidate
from .feature_names import shorten_names
from .model_card import ModelCard

Array = NDArray[Any]

#: Rows for a version: points [n, d] in raw units, or columns.
Rows = Array | ColumnRows


def find_difference(before: ModelCard, after: ModelCard) -> tuple[str, str] | None:
    """Return why two versions are not comparable, as a text for each; None if they are."""
    cards = (before, after)
    if any(card.encoder is not None and card.encoder.maps for card in cards):
        first, second = (
            f"maps its features ({', '.join(card.encoder.maps)}) to a space of its own, so its "
            "distances cannot be compared with those of any other version"
            if card.encoder is not None and card.encoder.maps
            else f"has the features {shorten_names(card.feature_names)}"
            for card in cards
        )
        return "does so too" if first == second else first, second
    if before.encoder is not None and after.encoder is not None:
        first_columns, second_columns = (
            {(each.name, each.tensor) for each in card.columns} for card in cards
        )
        if first_columns == second_columns:
            return None
    elif before.feature_names == after.feature_names:
        return None
    return _describe_columns(before, after), _describe_columns(after, before)


def _describe_columns(card: ModelCard, other: ModelCard) -> str:
    """Describe the columns of a version; those that the other version lacks come first."""
    if card.encoder is None:
        return f"takes the columns {shorten_names(card.feature_names)}"
    there = {(each.name, each.tensor) for each in other.columns}
    kinds = {each.name: each.kind for each in card.encoder.columns}
    ordered = sorted(card.columns, key=lambda each: (each.name, each.tensor) in there)
    named = [f"{each.name} ({kinds[each.name]})" for each in ordered]
    return f"takes by name the columns {shorten_names(named)}"


class NoRowsTravel(InvalidCandidate):
    """Neither of two versions contains rows for a comparison, on purpose."""


def read_rows(before: Path, its_card: ModelCard, after: Path, card: ModelCard) -> Rows:
    """Read the rows in ``after``; if it has none on purpose, those in ``before``.

    Raises InvalidCandidate; NoRowsTravel if both have none on purpose.
    """
    if not sample_rows.are_left_out(card):
        return _read_sample(after, card)
    if not sample_rows.are_left_out(its_card):
        return _read_sample(before, its_card)
    raise NoRowsTravel(
        f"{after}: neither it nor {before} contains sample rows; give rows with --rows"
    )


def _read_sample(version_directory: Path, card: ModelCard) -> Rows:
    if card.encoder is None:
        return sample_rows.read(version_directory)
    return sample_rows.read_columns(version_directory, card.columns)


def read_holdout(file: Path, card: ModelCard) -> Rows:
    """Read the rows of a file for the version of a card.

    For a version that takes columns by name, the file is one of ``sample_rows.write_columns``;
    otherwise an .npy file of points. Raises InvalidCandidate.
    """
    if card.encoder is not None:
        return sample_rows.read_columns(file, card.columns)
    try:
        rows = read_npy(file)
    except (OSError, InvalidArray) as error:
        raise InvalidCandidate(f"{file}: the rows are unreadable: {error}") from None
    if rows.ndim != 2 or rows.shape[1] != card.n_features or rows.dtype.kind not in "fiu":
        raise InvalidCandidate(
            f"{file}: holds {rows.dtype} {rows.shape}, not rows of {card.n_features} features"
        )
    return np.asarray(rows, np.float32)


@dataclass(frozen=True, eq=False)
class CommonRows:
    """n rows of two comparable versions.

    Attributes:
      before, after: float32 [n, d], the points of each version, in raw units.
      places: int [d of before], the index of each feature of ``before`` in ``after``; -1 if absent.
    """

    before: Array
    after: Array
    places: NDArray[np.intp]

    @classmethod
    def of(cls, before: ModelCard, after: ModelCard, rows: Rows) -> "CommonRows":
        """Encode rows as the points of the versions of two cards; one of them takes these rows."""
        known = {name: place for place, name in enumerate(after.feature_names)}
        places = np.array([known.get(name, -1) for name in before.feature_names])
        if not isinstance(rows, ColumnRows):
            return cls(_fill(rows, before.columns), _fill(rows, after.columns), places)
        # For a version that takes points, the rows are the points.
        first = before.columns or tuple(map(_without_fill, after.columns))
        second = after.columns or tuple(map(_without_fill, before.columns))
        return cls(_encode(first, rows), _encode(second, rows), places)

    def align(self, centroids: Array) -> Array:
        """Return centroids [k, d] of ``after`` in the features of ``before``."""
        return np.where(self.places >= 0, centroids[:, self.places], 0)


def _encode(columns: tuple[Column, ...], rows: ColumnRows) -> Array:
    return encode_arrays(Encoder(columns), read_columns(columns, rows.tensors))


def _without_fill(column: Column) -> Column:
    return replace(column, fill=None) if isinstance(column, NumberColumn) else column


def _fill(points: Array, columns: tuple[Column, ...]) -> Array:
    """Return points with missing numbers replaced as by the columns."""
    fills = [
        each.fill if isinstance(each, NumberColumn) and each.fill is not None else np.nan
        for each in columns
        for _ in each.feature_names
    ]
    if not fills:
        return points
    return np.where(np.isnan(points), np.array(fills, np.float32), points)
