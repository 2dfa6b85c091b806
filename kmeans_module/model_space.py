"""The model's space: raw points, shifted and scaled, in float32.

``z = (x - shift) / scale``. The shift is the mean of each column, so that float32 keeps its digits
for data far from the origin; the scale is 1, or each column's standard deviation. Distances and
inertia are of this space, and the exported graph maps into it, so that a caller never has to.

For cosine distance the space is the unit sphere, ``z / |z|``, and the shift is 0 unless columns
are standardised: the angle is that at the origin. The Euclidean distance of two rows there is the
chord, ``sqrt(2 - 2 cos)``, which orders rows as the cosine does (Dhillon and Modha 2001).
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from .column_moments import column_moments
from .errors import (
    InvalidParameter,
    InvalidPoints,
    InvalidWeights,
    KMeansError,
    NonFinitePoint,
    TooFewDistinctPoints,
    ZeroPoint,
)

Distance = Literal["euclidean", "cosine"]
DISTANCES: Final[tuple[Distance, ...]] = get_args(Distance)

#: Bytes of the largest temporary that a pass over rows may hold.
BLOCK_BYTES = 4 * 2**20

#: TensorFlow's kernels abort on a buffer that is not aligned to so many bytes.
_ALIGNMENT = 64
ALIGNED_NUMBERS: Final = _ALIGNMENT // 4

#: Beyond these extents squared distances leave the range in which float32 keeps its digits
#: (1e-38 to 3e38), with room for a sum over many columns and for distances below the extent.
FARTHEST, _NARROWEST = 1e17, 1e-14

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Rows(NamedTuple):
    """Points that TensorFlow reads in blocks from where they lie, without a copy of the whole.

    Attributes:
        head: float32 [h], the first numbers of the table, h < 16: NumPy's memory begins where it
            likes, and TensorFlow's kernels take only aligned buffers.
        body: float32 [n d - h], the numbers after those, in NumPy's memory.
        shift: float32 [d]; scale: float32 [d]. What is read is ``(x - shift) / scale``.
    """

    head: tf.Tensor
    body: tf.Tensor
    shift: tf.Tensor
    scale: tf.Tensor

    def block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Rows ``start`` to ``stop``, or to the last, in the model's space: float32 [m, d]."""
        return self._enter(self.raw_block(start, stop))

    def gather(self, rows: tf.Tensor) -> tf.Tensor:
        """The given rows, int [m], in the model's space: float32 [m, d]."""
        return tf.map_fn(
            lambda row: self.block(row, row + 1)[0], rows, fn_output_signature=tf.float32
        )

    def raw_block(self, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
        """Rows ``start`` to ``stop``, or to the last, as they lie: float32 [m, d]."""
        d = tf.size(self.shift, tf.int64)
        h = tf.size(self.head, tf.int64)
        first, last = tf.cast(start, tf.int64) * d, tf.cast(stop, tf.int64) * d
        body = self.body[tf.maximum(first - h, 0) : tf.maximum(last - h, 0)]
        numbers = tf.cond(
            first < h, lambda: tf.concat([self.head[first:last], body], 0), lambda: body
        )
        return tf.reshape(numbers, [-1, d])

    def _enter(self, raw: tf.Tensor) -> tf.Tensor:
        return (raw - self.shift) / self.scale


_VECTOR = tf.TensorSpec([None], tf.float32)
ROWS_SPEC = Rows(_VECTOR, _VECTOR, _VECTOR, _VECTOR)


@dataclass(frozen=True)
class ModelSpace:
    """Points in the model's space, and how they came there.

    Attributes:
        rows: the points, to be read in blocks.
        shift: float32 [d], in raw units.
        scale: float32 [d], in raw units; 1 for a constant column.
        mean_variance: mean over the columns of their variance, in the model's space.
        distance: "euclidean", or "cosine": the space is the unit sphere.
    """

    rows: Rows
    shift: Float32
    scale: Float32
    mean_variance: float
    distance: Distance = "euclidean"

    def to_model(self, raw: Array) -> Float32:
        """Map [n, d] from raw units into the model's space."""
        if self.distance == "cosine":
            return _to_sphere(raw, self.shift, self.scale)
        return ((raw - self.shift) / self.scale).astype(np.float32)

    def to_raw(self, points: Array) -> Float32:
        """Map [n, d] from the model's space into raw units; of a direction, a point that has it."""
        return (points * self.scale + self.shift).astype(np.float32)


def rows_per_block(width: int) -> int:
    """How many rows of ``width`` numbers a block may have: the one bound on memory in n."""
    return max(1, BLOCK_BYTES // (4 * max(1, width)))


def check_points(points: ArrayLike) -> Array:
    """The points as an array of real numbers [n, d].

    Raises:
        InvalidPoints: not two-dimensional, not numeric, masked, no rows or no columns.
    """
    if np.ma.is_masked(points):
        raise InvalidPoints("points have masked values; leave such rows out, or fill them in")
    is_frame = hasattr(getattr(points, "dtypes", None), "items")
    if is_frame:
        _check_columns(points)
    try:
        array = _of_frame(points) if is_frame else np.asarray(points)
    except ValueError as error:
        raise InvalidPoints(f"points are no table: {error}") from None
    if array.dtype.kind not in "buif":
        raise InvalidPoints(f"points have dtype {array.dtype}, which is not numeric; give numbers")
    if array.ndim != 2:
        raise InvalidPoints(
            f"points have shape {array.shape}; give two dimensions, [rows, features]"
        )
    if 0 in array.shape:
        raise InvalidPoints(
            f"points have shape {array.shape}; give at least one row and one feature"
        )
    return array


def _check_columns(frame: Any) -> None:
    """Check that each column of a data frame is numeric. Raises InvalidPoints."""
    for name, dtype in frame.dtypes.items():
        if dtype.kind not in "buif":
            raise InvalidPoints(
                f"points have a column {name!r} of dtype {dtype}, which is not numeric; "
                "leave it out, or give it as numbers"
            )


def _of_frame(frame: Any) -> Array:
    """The numbers of a data frame, whose columns may be of several dtypes, or lack values."""
    array = np.asarray(frame)
    if array.dtype == object:
        # Columns that have no common dtype in NumPy, or a marker for what is missing.
        array = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def check_numbers(
    name: str,
    given: ArrayLike,
    shape: tuple[int, ...],
    wanted: str,
    error: type[KMeansError],
) -> Array:
    """An argument as an array of real numbers of this shape.

    Args:
        name: of the argument.
        wanted: says in words what is to be given.
        error: raised where it is masked, ragged, not numeric or of another shape.
    """
    if np.ma.is_masked(given):
        raise error(f"{name} has masked values; give {wanted}")
    try:
        array = np.asarray(given)
    except ValueError as problem:
        kind = "table" if len(shape) == 2 else "list of numbers"
        raise error(f"{name} is no {kind}: {problem}") from None
    if array.dtype.kind not in "buif" or array.shape != shape:
        raise error(f"{name} has shape {array.shape} and dtype {array.dtype}; give {wanted}")
    return array


def check_weights(sample_weight: ArrayLike | None, n: int) -> Float32:
    """One weight a row, float32 [n]; 1 where none is given.

    Raises:
        InvalidWeights: another length, masked, negative, not finite, all zero, or beyond float32.
    """
    if sample_weight is None:
        return np.ones(n, np.float32)
    given = check_numbers(
        "sample_weight",
        sample_weight,
        (n,),
        f"one number a row, shape ({n},), 0 for one to leave out",
        InvalidWeights,
    )
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidWeights(
            f"sample_weight of row {row} is {given[row]}; weights are finite and not negative"
        )
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    # TensorFlow takes a subnormal number for 0.
    held = (given == 0) | (np.isfinite(weights) & (weights >= np.finfo(np.float32).tiny))
    if not held.all():
        row = int(np.argmin(held))
        raise InvalidWeights(
            f"sample_weight of row {row} is {given[row]}, which float32 cannot hold; "
            "multiply all weights by a constant"
        )
    if not weights.any():
        raise InvalidWeights("sample_weight is 0 for every row; give at least one row a weight")
    return weights


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Each row [m, d] at length 1, float32; a row of zeros as it is.

    By way of float64, which holds the square of every float32, and whose rounding float32 does not
    see: the same bits on every machine.
    """
    wide = tf.cast(rows, tf.float64)
    length = tf.sqrt(tf.reduce_sum(tf.square(wide), -1, keepdims=True))
    return tf.cast(tf.math.divide_no_nan(wide, length), tf.float32)


def check_distance(distance: object) -> Distance:
    """The distance, when it is a known one.

    Raises:
        InvalidParameter: it is not.
    """
    for known in DISTANCES:
        if isinstance(distance, str) and distance == known:
            return known
    raise InvalidParameter(
        f"distance is {distance!r}; give {' or '.join(repr(known) for known in DISTANCES)}"
    )


def enter(
    points: Array,
    sample_weight: Float32,
    *,
    standardize: bool,
    distance: Distance = "euclidean",
) -> ModelSpace:
    """Bring raw points [n, d] into the model's space, in blocks.

    The shift and the scale are those of the rows of positive weight. Float64 and integers are
    centred in float64 before they are rounded to float32.

    Raises:
        NonFinitePoint: a row with NaN or infinity.
        ZeroPoint: for cosine distance, a row without a direction.
        InvalidPoints: a column whose mean or squares float32 cannot hold.
    """
    if distance == "cosine" and not standardize:
        d = points.shape[1]
        return _enter_sphere(points, sample_weight, np.zeros(d, np.float32), np.ones(d, np.float32))
    found = column_moments(points, sample_weight)
    low, high = found.low, found.high
    if not np.isfinite(found.mean).all() or not sample_weight.all():
        # Any row that is not finite is refused, also one of weight 0.
        _check_finite(points)
    # The nearest float32 of the mean, so that the served graph shifts by the very same number.
    shift = _as_float32(np.clip(found.mean, low, high), "mean")
    variance = np.where(high > low, found.variance, 0)
    d = len(shift)
    scale = np.ones(d, np.float32)
    if standardize:
        scale = _as_float32(np.where(variance > 0, np.sqrt(variance), 1), "spread")
    _check_extent(high - low, scale)
    if distance == "cosine":
        return _enter_sphere(points, sample_weight, shift, scale)

    return ModelSpace(
        rows=_rows(points, shift, scale),
        shift=shift,
        scale=scale,
        mean_variance=float(np.mean(variance / np.square(scale, dtype=np.float64))),
    )


def place(points: Array, shift: Float32, scale: Float32, distance: Distance) -> Rows:
    """Finite raw points [n, d] in the space of a fitted model.

    Raises:
        ZeroPoint: for cosine distance, a row without a direction.
    """
    if distance == "cosine":
        return _enter_sphere(points, np.ones(len(points), np.float32), shift, scale).rows
    return _rows(points, shift, scale)


def check_distinct(
    points: Array, space: ModelSpace, sample_weight: Float32, n_clusters: int
) -> None:
    """Check that at least ``n_clusters`` distinct rows have a positive weight.

    Distinct are rows that differ in the model's space, where they are clustered.

    Raises:
        TooFewDistinctPoints: there are fewer.
    """
    n = len(points)
    # A first block of twice k settles nearly every data set; the rest is read, in larger ones, only
    # for those that are mostly duplicates.
    largest = max(2 * n_clusters, min(4096, rows_per_block(points.shape[1])))
    distinct = np.empty((0, points.shape[1]), np.float32)
    start, block = 0, 2 * n_clusters
    while start < n:
        rows = _counted(points, sample_weight, start, block)
        start, block = start + block, min(4 * block, largest)
        # -0.0 and 0.0 are the same place.
        places = space.to_model(rows) + np.float32(0)
        distinct = np.unique(np.concatenate([distinct, places]), axis=0)
        if len(distinct) >= n_clusters:
            return
    raise TooFewDistinctPoints(
        f"n_clusters is {n_clusters}, but only {len(distinct)} of {n} rows are distinct "
        f"and have a positive weight; ask for at most {len(distinct)} clusters",
        len(distinct),
    )


def check_whole(name: str, value: object, least: int) -> int:
    """The value as an int of at least ``least``.

    Raises:
        InvalidParameter: it is no whole number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidParameter(f"{name} is {value!r}; give a whole number of at least {least}")
    return int(value)


def _counted(points: Array, sample_weight: Float32, start: int, block: int) -> Array:
    """The rows of positive weight of one block."""
    rows, weight = points[start : start + block], sample_weight[start : start + block]
    return rows if weight.all() else rows[weight > 0]


def _check_extent(extent: Float64, scale: Float32) -> None:
    """Check that float32 holds the squares of the columns' extents, and tells them from 0."""
    if (scale < np.finfo(np.float32).tiny).any():
        column = int(np.argmin(scale))
        raise InvalidPoints(
            f"column {column} extends over {extent[column]:g}, less than float32 keeps digits of; "
            "multiply the column by a constant"
        )
    scaled = extent / scale
    column = int(np.argmax(scaled))
    widest = scaled[column]
    if widest > FARTHEST:
        raise InvalidPoints(
            f"column {column} extends over {widest:g}, and float32 cannot hold its square; "
            "divide the column by a constant"
        )
    if 0 < widest < _NARROWEST:
        raise InvalidPoints(
            f"no column extends over more than {widest:g} (column {column}), and float32 cannot "
            "tell its square from 0; multiply the columns by a constant"
        )


def _check_finite(points: Array) -> None:
    block = rows_per_block(points.shape[1])
    for start in range(0, len(points), block):
        rows = points[start : start + block]
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.unravel_index(int(np.argmin(finite)), rows.shape)
            raise NonFinitePoint(
                f"points hold {rows[row, column]} in row {start + row}, column {column}; "
                "leave such rows out, or fill them in"
            )


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


def _enter_sphere(
    points: Array, sample_weight: Float32, shift: Float32, scale: Float32
) -> ModelSpace:
    """The directions of the points, of which a copy is held."""
    n, d = points.shape
    directions = np.empty((n, d), np.float32)
    total = np.zeros(d)
    block = rows_per_block(2 * d)
    _check_finite(points)
    for start in range(0, n, block):
        stop = min(n, start + block)
        directions[start:stop] = _to_sphere(points[start:stop], shift, scale)
        lost = ~directions[start:stop].any(axis=1)
        if lost.any():
            row = start + int(np.argmax(lost))
            raise ZeroPoint(
                f"points hold zeros alone in row {row}, which has no direction for cosine "
                "distance; leave such rows out, or use euclidean distance"
            )
        counted = _counted(directions, sample_weight, start, block)
        total += counted.sum(axis=0, dtype=np.float64)
    mean = total / np.count_nonzero(sample_weight)
    return ModelSpace(
        rows=_rows(directions, np.zeros(d, np.float32), np.ones(d, np.float32)),
        shift=shift,
        scale=scale,
        # Every row has the length 1.
        mean_variance=max(0.0, 1.0 - float(mean @ mean)) / d,
        distance="cosine",
    )


def _to_sphere(points: Array, shift: Float32, scale: Float32) -> Float32:
    """The directions of raw points [n, d], as the served graph takes them; zeros have none."""
    directions: Float32 = unit_rows(((points - shift) / scale).astype(np.float32)).numpy()
    return directions


def _rows(points: Array, shift: Float32, scale: Float32) -> Rows:
    flags = points.flags
    if points.dtype == np.float32 and flags.c_contiguous and flags.aligned and flags.writeable:
        flat, offset = points.reshape(-1), shift
    else:
        # Float64 and integers are centred before they are rounded; DLPack refuses read-only memory.
        flat, offset = _centred(points, shift).reshape(-1), np.zeros_like(shift)
    h = min(-flat.ctypes.data % _ALIGNMENT // flat.itemsize, flat.size)
    # An empty array has no memory to share.
    body = tf.experimental.dlpack.from_dlpack(flat[h:].__dlpack__()) if flat.size > h else flat[h:]
    return Rows(tf.constant(flat[:h]), tf.constant(body), tf.constant(offset), tf.constant(scale))


def shared_numbers(size: int) -> tuple[Float32, tf.Tensor]:
    """Zeros float32 [size], size at least 1, as an array and as a tensor in the same memory."""
    room = np.zeros(size + ALIGNED_NUMBERS, np.float32)
    first = -room.ctypes.data % _ALIGNMENT // room.itemsize
    numbers = room[first : first + size]
    return numbers, tf.experimental.dlpack.from_dlpack(numbers.__dlpack__())


def _centred(points: Array, shift: Float32) -> Float32:
    n, d = points.shape
    centred = np.empty((n, d), np.float32)
    wide = np.float32 if points.dtype == np.float32 else np.float64
    block = rows_per_block(2 * d)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        centred[rows] = np.subtract(points[rows], shift, dtype=wide)
    return centred
