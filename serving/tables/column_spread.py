"""Find a column that dominates the clusters, by its variance in the space of the distance.

The sum of squared distances is a sum over columns, proportional to their variances. A column of
vectors counts as one column: its variance is the sum of the variances of its numbers. After
standardisation each number has variance 1, and a vector the length of the vector.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from export.feature_names import group_vectors

#: Columns whose spreads differ by at most this factor count as having one scale.
_SAME_SCALE: Final = 10

#: The share of the variance from which on a vector of standardised numbers dominates.
_NEARLY_ALL: Final = 0.9

#: Numbers per block.
_BLOCK_NUMBERS: Final = 2**20

Rows = NDArray[np.floating[Any]]


def spread_note(
    points: Rows,
    feature_names: Sequence[str],
    weights: Rows | None,
    *,
    is_cosine: bool,
    is_standardized: bool = False,
    columns: Sequence[tuple[str, int]] | None = None,
    feature_weight: Sequence[float] | None = None,
) -> str | None:
    """Return a note for the user if one column dominates the clusters; else None.

    This is so if the spreads of columns differ by more than a factor of 10, or, for standardised
    columns, if a vector has at least nine tenths of the numbers.

    Args:
        points: finite numbers [n, d], raw units.
        feature_names: d names.
        weights: the weights of the rows [n]; None for 1.
        is_cosine: whether the distance is that of rows with length 1.
        is_standardized: whether each number is divided by its standard deviation.
        columns: the names of the columns and their numbers of features; by default from the names
            of the features.
        feature_weight: the weights of the features [d]; None for 1.
    """
    columns = group_vectors(feature_names) if columns is None else columns
    if len(columns) < 2:
        return None
    if feature_weight is not None:
        points = points * np.asarray(feature_weight, np.float32)
    variance = _variance(points, weights, is_cosine=is_cosine and not is_standardized)
    shares: dict[str, float] = {}
    numbers: dict[str, int] = {}
    start = 0
    for column, width in columns:
        of_column = variance[start : start + width]
        shares[column] = float(of_column.sum() / variance.sum().clip(1e-300))
        numbers[column] = int(np.count_nonzero(of_column))
        start += width
    if is_standardized:
        return _standardized_note(numbers)
    varied = {column: share for column, share in shares.items() if share > 0}
    if len(varied) < 2:
        return None
    widest, narrowest = max(varied, key=varied.__getitem__), min(varied, key=varied.__getitem__)
    times = np.sqrt(varied[widest] / varied[narrowest])
    if times <= _SAME_SCALE:
        return None
    decides = "decides the clusters" if varied[widest] >= 0.5 else "is the widest"
    space = " of the rows at length 1" if is_cosine else ""
    return (
        f"warning: the spreads of the columns differ by {times:,.0f} times: {widest!r} {decides}, "
        f"with {_percent(varied[widest])} of the variance{space}, and {narrowest!r} has "
        f"{_percent(varied[narrowest])}; --standardize gives each {_each_of(numbers)} the same"
    )


def _standardized_note(numbers: Mapping[str, int]) -> str | None:
    """Return the note if one vector has nearly all numbers that vary; ``numbers`` counts them per
    column.
    """
    widest, total = max(numbers, key=numbers.__getitem__), sum(numbers.values())
    if numbers[widest] == total or numbers[widest] < _NEARLY_ALL * total or numbers[widest] == 1:
        return None
    return (
        f"warning: --standardize gives each number the same, so that {widest!r} decides the "
        f"clusters, with {numbers[widest]:,} of {total:,} numbers; choose other columns with "
        "--columns, or leave it out with --exclude"
    )


def _each_of(numbers: Mapping[str, int]) -> str:
    """Return the word for the units with equal variance after standardisation."""
    widest = max(numbers, key=numbers.__getitem__)
    if numbers[widest] == 1:
        return "column"
    return f"number ({widest!r} has {numbers[widest]:,} of {sum(numbers.values()):,})"


def _variance(points: Rows, weights: Rows | None, *, is_cosine: bool) -> NDArray[np.float64]:
    """Return the variance of each column, float64 [d]."""
    total = 0.0
    first = next(_blocks(points, weights, is_cosine=is_cosine))[0][0]
    sums, squares = np.zeros_like(first), np.zeros_like(first)
    for block, weight in _blocks(points, weights, is_cosine=is_cosine):
        # Relative to the first row, so that a constant column has a variance of exactly 0.
        moved = np.subtract(block, first, out=block)
        total += float(weight.sum())
        sums += weight @ moved
        squares += weight @ np.square(moved, out=moved)
    variance: NDArray[np.float64] = squares / total - np.square(sums / total)
    return variance.clip(min=0)


def _blocks(
    points: Rows, weights: Rows | None, *, is_cosine: bool
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield rows in the space of the distance, float64, and their weights."""
    rows = max(1, _BLOCK_NUMBERS // points.shape[1])
    for start in range(0, len(points), rows):
        block = points[start : start + rows].astype(np.float64)
        if is_cosine:
            length = np.linalg.norm(block, axis=1, keepdims=True)
            np.divide(block, length, out=block, where=length > 0)
        given = np.ones(len(block)) if weights is None else weights[start : start + rows]
        yield block, given.astype(np.float64, copy=False)


def _percent(share: float) -> str:
    if share > 0.999:
        return "more than 99.9%"
    return f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
