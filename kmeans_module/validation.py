"""Checks of points, weights and parameters."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .array_input import read_array, read_named_array
from .array_types import Array, Float32, Float64, Table
from .blocks import block_ranges, rows_per_block
from .column_fitting import LARGEST_FEATURE_WEIGHT
from .errors import (
    InvalidParameter,
    InvalidPoints,
    InvalidWeights,
    KMeansError,
    NoArray,
    NonFinitePoint,
    TooFewDistinctPoints,
)
from .row_share import RowShare
from .rows import select_weighted

Choice = TypeVar("Choice", bound=str)

#: Outside these extents, squared distances leave the range of normal float32 numbers (1e-38 to
#: 3e38). The limits leave room for sums over many columns and for distances below the extent.
FARTHEST: Final = 1e17
_NARROWEST: Final = 1e-14

NO_WEIGHT: Final = "sample_weight is 0 for every row; give at least one row a weight"


def _is_masked(given: object) -> bool:
    # NumPy treats nullable arrays of pandas as masked, because of their attribute _mask.
    return isinstance(given, np.ma.MaskedArray) and bool(np.ma.is_masked(given))


def check_points(points: ArrayLike) -> Array:
    """Return points as an array of real numbers [n, d]; see `read_array` for accepted types.

    Raises:
        InvalidPoints: not two-dimensional, not numeric, masked, no rows or no columns.
        NonFinitePoint: NaN or infinity in points with names; `check_finite` checks others.
    """
    if _is_masked(points):
        raise InvalidPoints("points have masked values; leave such rows out, or fill them in")
    try:
        array, names = read_named_array(points)
    except NoArray as error:
        raise InvalidPoints(str(error)) from None
    if array.ndim != 2:
        raise InvalidPoints(
            f"points have shape {array.shape}; give two dimensions, [rows, features]"
        )
    if 0 in array.shape:
        raise InvalidPoints(
            f"points have shape {array.shape}; give at least one row and one feature"
        )
    if names is not None:  # which is not available later
        check_finite(array, features=names)
    return array


def check_numbers(
    name: str,
    given: ArrayLike,
    shape: tuple[int, ...],
    wanted: str,
    error: type[KMeansError],
) -> Array:
    """Return an argument as an array of real numbers with this shape.

    Args:
        name: the name of the argument.
        wanted: the expected value, in words.
        error: the error for an argument that is masked, ragged, not numeric or of another shape.
    """
    if _is_masked(given):
        raise error(f"{name} has masked values; give {wanted}")
    try:
        array = read_array(given, name, wanted)
    except NoArray as problem:
        raise error(str(problem)) from None
    if array.shape != shape:
        raise error(f"{name} has shape {array.shape}; give {wanted}")
    return array


def check_weights(sample_weight: ArrayLike | None, n: int) -> Float32:
    """Return one weight per row, float32 [n]; 1 by default.

    Raises:
        InvalidWeights: another length, masked, negative, not finite, all zero, or outside float32.
    """
    if sample_weight is None:
        return np.ones(n, np.float32)
    given = check_numbers(
        "sample_weight",
        sample_weight,
        (n,),
        f"one weight per row, shape ({n},); 0 leaves a row out",
        InvalidWeights,
    )
    weights = check_weight_values(given)
    if not weights.any():
        raise InvalidWeights(NO_WEIGHT)
    return weights


def check_weight_values(given: Array, first: int = 0) -> Float32:
    """Return the weights of rows from ``first`` on as float32 [n]; they may all be 0.

    Raises:
        InvalidWeights: a weight is negative, not finite, or outside float32.
    """
    wrong = ~(np.isfinite(given) & (given >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        said = "missing (nan)" if np.isnan(given[row]) else given[row]
        raise InvalidWeights(
            f"sample_weight of row {first + row} is {said}; weights are finite and not negative"
        )
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    # TensorFlow treats a subnormal number as 0.
    held = (given == 0) | (np.isfinite(weights) & (weights >= np.finfo(np.float32).tiny))
    if not held.all():
        row = int(np.argmin(held))
        raise InvalidWeights(
            f"sample_weight of row {first + row} is {given[row]}, which float32 cannot hold; "
            "multiply all weights by a constant"
        )
    return weights


def check_feature_weight(given: ArrayLike | None, d: int) -> tuple[float, ...] | None:
    """Return the weights of d columns, or None if all are 1. Raises InvalidParameter."""
    if given is None:
        return None
    weights = check_numbers(
        "feature_weight", given, (d,), f"one number per column, shape ({d},)", InvalidParameter
    ).astype(np.float64)
    wrong = ~((weights >= 1 / LARGEST_FEATURE_WEIGHT) & (weights <= LARGEST_FEATURE_WEIGHT))
    if wrong.any():
        column = int(np.argmax(wrong))
        raise InvalidParameter(
            f"feature_weight of column {column} is {weights[column]:g}; give a number above 0, "
            f"from {1 / LARGEST_FEATURE_WEIGHT:g} to {LARGEST_FEATURE_WEIGHT:g}; to give a column "
            "no weight, leave it out"
        )
    return tuple(weights.tolist())


def check_distinct(
    points: Table,
    to_model: Callable[[Array], Float32],
    sample_weight: Table,
    n_clusters: int,
    share: RowShare | None = None,
) -> None:
    """Check that at least ``n_clusters`` distinct rows have a positive weight.

    Rows are distinct if they differ in the model's space, to which ``to_model`` maps them. Each
    worker reads its share, by default all rows.

    Raises:
        TooFewDistinctPoints: there are fewer.
    """
    n = len(points)
    share = share or RowShare.whole(n)
    # A first block of twice k rows suffices for nearly every data set; the rest is read, in larger
    # blocks, only if most rows are duplicates.
    largest = max(2 * n_clusters, min(4096, rows_per_block(points.shape[1])))
    distinct = np.empty((0, points.shape[1]), np.float32)
    start, block = share.start, 2 * n_clusters
    while start < share.stop and len(distinct) < n_clusters:
        part = slice(start, min(start + block, share.stop))
        rows = select_weighted(points[part], sample_weight[part])
        start, block = start + block, min(4 * block, largest)
        # -0.0 and 0.0 are the same point.
        places = to_model(rows) + np.float32(0)
        distinct = _unique_rows(np.concatenate([distinct, places]))
    distinct = _unique_rows(share.reducer.gather(distinct))
    if len(distinct) >= n_clusters:
        return
    raise TooFewDistinctPoints(
        f"n_clusters is {n_clusters}, but only {len(distinct)} of {n} rows are distinct "
        f"and have a positive weight; use at most {len(distinct)} clusters",
        len(distinct),
    )


def _unique_rows(rows: Float32) -> Float32:
    """The distinct rows of [n, d], without NaN or -0.0, in any order: by their bytes.

    NumPy takes a hundred times as long where it compares column by column.
    """
    whole = np.dtype((np.void, rows.shape[1] * rows.itemsize))
    distinct: Float32 = np.unique(np.ascontiguousarray(rows).view(whole)).view(rows.dtype)
    return distinct.reshape(-1, rows.shape[1])


def check_choice(name: str, value: object, choices: Sequence[Choice], *, more: str = "") -> Choice:
    """Return the value if it is one of the choices; ``more`` names other accepted values.

    Raises:
        InvalidParameter: the value is not one of them.
    """
    for choice in choices:
        if isinstance(value, str) and value == choice:
            return choice
    given = repr(value) if isinstance(value, str | int | float | None) else f"of {type(value)}"
    known = ", ".join(repr(choice) for choice in choices)
    raise InvalidParameter(f"{name} is {given}; give one of {known}{more}")


def check_whole(name: str, value: object, least: int) -> int:
    """Return the value as an int of at least ``least``.

    Raises:
        InvalidParameter: the value is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidParameter(f"{name} is {value!r}; give a whole number of at least {least}")
    return int(value)


def check_extent(extent: Float64, scale: Float32) -> None:
    """Check that squared extents of columns neither overflow nor vanish in float32."""
    if (scale < np.finfo(np.float32).tiny).any():
        column = int(np.argmin(scale))
        raise InvalidPoints(
            f"column {column} has a range of {extent[column]:g}, too small for float32; "
            "multiply the column by a constant"
        )
    scaled = extent / scale
    column = int(np.argmax(scaled))
    widest = scaled[column]
    if widest > FARTHEST:
        raise InvalidPoints(
            f"column {column} has a range of {widest:g}, too large for float32; "
            "divide the column by a constant"
        )
    if 0 < widest < _NARROWEST:
        raise InvalidPoints(
            f"no column extends over more than {widest:g} (column {column}), and float32 cannot "
            "tell its square from 0; multiply the columns by a constant"
        )


def check_finite(
    points: Table,
    name: str = "points",
    features: Sequence[str] | None = None,
    share: RowShare | None = None,
) -> None:
    """Check that each number is finite. Raises NonFinitePoint, with the feature's name if given.

    Each worker reads its share, by default all rows.
    """
    share = share or RowShare.whole(len(points))
    for start, stop in block_ranges(share.start, share.stop, rows_per_block(points.shape[1])):
        rows = points[start:stop]
        finite = np.isfinite(rows)
        if finite.all():
            continue
        row, column = np.unravel_index(int(np.argmin(finite)), rows.shape)
        mend = "leave such rows out, or fill them in"
        if rows.shape[1] > 1 and np.isnan(rows[row]).all():
            raise NonFinitePoint(
                f"row {start + row} of the {name} is missing (NaN in each column); {mend}"
            )
        label = "" if features is None else f" ({features[int(column)]!r})"
        value = "NaN" if np.isnan(rows[row, column]) else rows[row, column]
        raise NonFinitePoint(
            f"{name} hold {value} in row {start + row}, column {column}{label}; {mend}"
        )
    # If another worker has such a row, this worker ends here too.
    share.reducer.sum([0])
