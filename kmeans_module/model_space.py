"""The model's space: raw points, shifted and scaled, in float32.

``z = (x - shift) / scale``. The shift is a central number of each column, so that float32 keeps its
digits for data far from the origin: the mean (of a sample, unless columns are standardised); or, if
outliers pull the mean away from nearly all rows, the nearest number within these. The scale is 1,
or the standard deviation of each column, divided by the weight of the column if there are weights:
distances along a column of weight 2 count twice. Distances and inertia are those of this space. The
exported graph maps points to it, so callers use raw units.

For cosine distance the space is the unit sphere, ``z / |z|``, and the shift is 0 unless columns are
standardised, because angles are measured at the origin. The Euclidean distance of two rows there is
the chord, ``sqrt(2 - 2 cos)``, which gives the same order as the cosine (Dhillon and Modha 2001).
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

#: A mean is central if at least this share of a column is on each side of it.
_OUTSIDE: Final = 0.05


@dataclass(frozen=True)
class ModelSpace:
    """The map from raw points to the model's space, and properties of the points there.

    Attributes:
        shift: float32 [d], in raw units.
        scale: float32 [d], in raw units; for a constant column 1, divided by its weight.
        mean: float64 [d], the mean of the rows in the model's space; 0 if the shift is the mean.
        largest: float64 [d], an upper bound of the magnitudes in the model's space, over the rows
            of positive weight.
        distance: "euclidean", or "cosine" for the unit sphere.
    """

    shift: Float32
    scale: Float32
    mean: Float64
    largest: Float64
    distance: Distance

    def to_model(self, raw: Array) -> Float32:
        """Map [n, d] from raw units to the model's space."""
        return _to_model(raw, self.shift, self.scale, self.distance)

    def to_raw(self, points: Array) -> Float32:
        """Map [n, d] from the model's space to raw units; a direction gives a point on it."""
        return (points * self.scale + self.shift).astype(np.float32)

    def place(self, points: Array, first: int = 0) -> Rows:
        """Return raw points [n, d] as `Rows`; row numbers in errors begin at ``first``.

        Raises ZeroPoint: for cosine distance, a row without a direction.
        """
        if self.distance == "cosine":
            return place_rows(_directions(points, self.shift, self.scale, first))
        return place_rows(points, self.shift, self.scale)


@dataclass(frozen=True)
class PlacedPoints(ModelSpace):
    """Points in the model's space.

    Attributes:
        rows: the points, readable in blocks.
    """

    rows: Rows


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Normalise each row [m, d] to length 1, float32; a row of zeros does not change.

    Computed in float64, which holds the square of every float32 and whose rounding errors vanish in
    float32, so the bits are the same on every machine.
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
    """Map raw points [n, d] to the model's space, in blocks.

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
    """Find the model's space of raw points [n, d]; the mean of directions is `mean_direction`.

    The shift and the scale are computed from the rows of positive weight; ``sample`` [m, d] has the
    rows of `sample_rows`. ``feature_weight`` is float64 [d], or None if all are 1. Each worker
    reads its share of the points, by default all rows.

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
        # Rows that are not finite are refused, also those of weight 0.
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
        # The shift does not change distances, and float32 keeps the most digits near the rows.
        outside = int(_OUTSIDE * (len(sample) - 1))
        center = np.clip(center, sample[outside], sample[-1 - outside])
    # The nearest float32, so that the served graph shifts by the same number.
    shift = _as_float32(np.clip(center, low, high), "mean")
    check_extent(high - low, scale)
    largest = ones if on_sphere else np.maximum(high - shift, shift - low) / scale
    return ModelSpace(shift, scale, zeros, largest, distance)


def mean_direction(
    directions: Table, sample_weight: Table, share: RowShare | None = None
) -> Float64:
    """Return the mean float64 [d] of the rows of positive weight among rows [n, d] of length 1.

    Each worker reads its share, by default all rows.
    """
    d = directions.shape[1]
    extent = Extent(np.full(d, -1.0), np.ones(d))
    return column_moments(directions, sample_weight, extent, np.zeros(d), share).mean


def place(points: Array, shift: Float32, scale: Float32, distance: Distance) -> Rows:
    """Map raw points [n, d] to the space of a fitted model.

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
    """Return the directions of the points, as a copy."""
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
    """Map raw points [n, d] to the model's space like the served graph."""
    rows: Float32 = ((points - shift) / scale).astype(np.float32)
    return unit_rows(rows).numpy() if distance == "cosine" else rows
