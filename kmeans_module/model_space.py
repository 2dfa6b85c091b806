"""The model's space: raw points, shifted and scaled, in float32.

``z = (x - shift) / scale``. The shift is a number amid each column, so that float32 keeps its
digits for data far from the origin: the mean, which is that of a sample unless columns are
standardised; or where rows far out pull it away from nearly all others, the nearest number amid
those. The scale is 1, or each column's standard deviation, divided by the column's weight if there
are weights: a column of weight 2 counts as if it were twice as far. Distances and inertia are of
this space, and the exported graph maps into it, so that a caller never has to.

For cosine distance the space is the unit sphere, ``z / |z|``, and the shift is 0 unless columns
are standardised: the angle is that at the origin. The Euclidean distance of two rows there is the
chord, ``sqrt(2 - 2 cos)``, which orders rows as the cosine does (Dhillon and Modha 2001).
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from .array_types import Array, Float32, Float64, Table
from .blocks import block_ranges, rows_per_block
from .column_moments import Extent, column_extent, column_moments
from .errors import InvalidPoints, ZeroPoint
from .quiet_tensorflow import tf
from .row_share import RowShare
from .rows import Rows, place_rows, sample_rows
from .validation import check_extent, check_finite

Distance = Literal["euclidean", "cosine"]
DISTANCES: Final[tuple[Distance, ...]] = get_args(Distance)

#: A mean is amid the rows if this share of a column is on either side of it.
_OUTSIDE: Final = 0.05


@dataclass(frozen=True)
class ModelSpace:
    """The map that takes points into the model's space, and what is known of them there.

    Attributes:
        shift: float32 [d], in raw units.
        scale: float32 [d], in raw units; of a constant column 1, over its weight.
        mean: float64 [d], of the rows in the model's space; 0 where that is where they were shifted
            to.
        largest: float64 [d], at least every magnitude in the model's space of a row of positive
            weight.
        distance: "euclidean", or "cosine": the space is the unit sphere.
    """

    shift: Float32
    scale: Float32
    mean: Float64
    largest: Float64
    distance: Distance

    def to_model(self, raw: Array) -> Float32:
        """Map [n, d] from raw units into the model's space."""
        return _to_model(raw, self.shift, self.scale, self.distance)

    def to_raw(self, points: Array) -> Float32:
        """Map [n, d] from the model's space into raw units; of a direction, a point that has it."""
        return (points * self.scale + self.shift).astype(np.float32)

    def place(self, points: Array, first: int = 0) -> Rows:
        """The points [n, d], raw, to be read in blocks; their rows are numbered from ``first`` on.

        Raises ZeroPoint: for cosine distance, a row without a direction.
        """
        if self.distance == "cosine":
            return place_rows(_directions(points, self.shift, self.scale, first))
        return place_rows(points, self.shift, self.scale)


@dataclass(frozen=True)
class PlacedPoints(ModelSpace):
    """Points in the model's space.

    Attributes:
        rows: the points, to be read in blocks.
    """

    rows: Rows


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Each row [m, d] at length 1, float32; a row of zeros as it is.

    By way of float64, which holds the square of every float32, and whose rounding float32 does not
    see: the same bits on every machine.
    """
    wide = tf.cast(rows, tf.float64)
    length = tf.sqrt(tf.reduce_sum(tf.square(wide), -1, keepdims=True))
    return tf.cast(tf.math.divide_no_nan(wide, length), tf.float32)


def enter(
    points: Array,
    sample_weight: Float32,
    *,
    standardize: bool,
    distance: Distance = "euclidean",
    feature_weight: Float64 | None = None,
) -> PlacedPoints:
    """Bring raw points [n, d] into the model's space, in blocks.

    Float64 and integers are centred in float64 before they are rounded to float32. The errors are
    those of `find_space`.
    """
    space = find_space(
        points,
        sample_weight,
        points[sample_rows(sample_weight, points.shape[1])],
        has_zero_weight=not sample_weight.all(),
        standardize=standardize,
        distance=distance,
        feature_weight=feature_weight,
    )
    rows, parts = space.place(points), vars(space)
    if distance == "cosine":
        parts = parts | {"mean": mean_direction(rows.array, sample_weight)}
    return PlacedPoints(rows=rows, **parts)


def find_space(
    points: Table,
    sample_weight: Table,
    sample: Array,
    *,
    has_zero_weight: bool,
    standardize: bool,
    distance: Distance,
    feature_weight: Float64 | None = None,
    share: RowShare | None = None,
) -> ModelSpace:
    """The model's space of raw points [n, d]; without the mean of directions, `mean_direction`.

    The shift and the scale are those of the rows of positive weight, of which ``sample`` [m, d] are
    those that `sample_rows` gives. ``feature_weight`` is float64 [d], or None where each is 1. Each
    worker reads its share of the points, by default all.

    Raises:
        NonFinitePoint: a row with NaN or infinity.
        InvalidPoints: a column whose mean or squares float32 cannot hold.
    """
    d, on_sphere = points.shape[1], distance == "cosine"
    zeros, ones = np.zeros(d), np.ones(d)
    weight = ones if feature_weight is None else feature_weight
    if on_sphere and not standardize:
        check_finite(points, share=share)
        scale = _as_float32(1 / weight, "spread")
        if feature_weight is not None:
            low, high = column_extent(points, sample_weight, share)
            check_extent(np.maximum(high, -low), scale)
        return ModelSpace(zeros.astype(np.float32), scale, zeros, ones, distance)
    extent = column_extent(points, sample_weight, share)
    low, high = extent
    if not (np.isfinite(low) & np.isfinite(high)).all() or has_zero_weight:
        # Any row that is not finite is refused, also one of weight 0.
        check_finite(points, share=share)
    sample = np.sort(sample, axis=0).astype(np.float64)
    center = sample.mean(axis=0)
    scale = _as_float32(1 / weight, "spread")
    if standardize:
        pivot = sample[len(sample) // 2]
        found = column_moments(points, sample_weight, extent, pivot, share)
        center = found.mean
        variance = np.where(high > low, found.variance, 0)
        deviation = np.where(variance > 0, np.sqrt(variance), 1)
        scale = _as_float32(deviation / weight, "spread")
    if not on_sphere:
        # Distances are the same about any number, and float32 keeps the most digits amid the rows.
        outside = int(_OUTSIDE * (len(sample) - 1))
        center = np.clip(center, sample[outside], sample[-1 - outside])
    # The nearest float32, so that the served graph shifts by the very same number.
    shift = _as_float32(np.clip(center, low, high), "mean")
    check_extent(high - low, scale)
    largest = ones if on_sphere else np.maximum(high - shift, shift - low) / scale
    return ModelSpace(shift, scale, zeros, largest, distance)


def mean_direction(
    directions: Table, sample_weight: Table, share: RowShare | None = None
) -> Float64:
    """The mean float64 [d] of rows [n, d] of length 1, of which those of positive weight count.

    Each worker reads its share, by default all.
    """
    d = directions.shape[1]
    extent = Extent(np.full(d, -1.0), np.ones(d))
    return column_moments(directions, sample_weight, extent, np.zeros(d), share).mean


def place(points: Array, shift: Float32, scale: Float32, distance: Distance) -> Rows:
    """Raw points [n, d] in the space of a fitted model.

    Raises:
        NonFinitePoint: a row with NaN or infinity.
        ZeroPoint: for cosine distance, a row without a direction.
    """
    check_finite(points)
    d = points.shape[1]
    return ModelSpace(shift, scale, np.zeros(d), np.ones(d), distance).place(points)


def _as_float32(values: Float64, what: str) -> Float32:
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    wrong = ~np.isfinite(rounded)
    if wrong.any():
        column = int(np.argmax(wrong))
        raise InvalidPoints(
            f"column {column} has a {what} of {values[column]:g}, more than float32 can hold; "
            "divide the column by a constant"
        )
    return rounded


def _directions(points: Array, shift: Float32, scale: Float32, first: int) -> Float32:
    """The directions of the points, of which a copy is held."""
    n, d = points.shape
    directions = np.empty((n, d), np.float32)
    for start, stop in block_ranges(0, n, rows_per_block(2 * d)):
        directions[start:stop] = _to_model(points[start:stop], shift, scale, "cosine")
        lost = ~directions[start:stop].any(axis=1)
        if lost.any():
            row = first + start + int(np.argmax(lost))
            raise ZeroPoint(
                f"points hold zeros alone in row {row}, which has no direction for cosine "
                "distance; leave such rows out, or use euclidean distance"
            )
    return directions


def _to_model(points: Array, shift: Float32, scale: Float32, distance: Distance) -> Float32:
    """Raw points [n, d] as the served graph takes them into the model's space."""
    rows: Float32 = ((points - shift) / scale).astype(np.float32)
    return unit_rows(rows).numpy() if distance == "cosine" else rows
