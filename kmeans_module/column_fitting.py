"""Fit columns: the values of a category, and the replacement of missing numbers.

The results do not depend on the order of the rows. Does not import TensorFlow.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final, Literal, get_args

import numpy as np

from .array_types import Float32
from .columns import MOST_CATEGORY_VALUES, CategoryColumn, Column
from .errors import InvalidColumns, InvalidParameter
from .near_names import find_near_name

#: The replacement of missing numbers: a statistic of the column, or a number; None for none.
Impute = Literal["mean", "median"] | float | None
STATISTICS: Final = ("mean", "median")

#: The encoding of a category value that was not in the fit, or is missing: only zeros, or a feature
#: of its own.
Unknown = Literal["zeros", "category"]
UNKNOWN: Final[tuple[Unknown, ...]] = get_args(Unknown)

#: Weights of features are between this and its inverse, so that float32 holds scaled values.
LARGEST_FEATURE_WEIGHT: Final = 1e9

#: Numbers per partial sum: float64 represents the sum of this many mantissas exactly.
_BLOCK: Final = 2**20

#: All float32 numbers are integer multiples of 2 to the power of minus this, also with mantissas of
#: 24 bits.
_BITS_BELOW_ONE: Final = 172


def fit_category(name: str, texts: Iterable[str], *, has_unknown: bool) -> CategoryColumn:
    """Return the category column of these texts; the empty text is a missing value.

    Raises InvalidColumns if there is no value, or more than 1,000.
    """
    values = sorted(set(texts) - {""})
    if not values:
        raise InvalidColumns(f"column {name!r} holds no value; leave it out")
    if len(values) > MOST_CATEGORY_VALUES:
        raise InvalidColumns(
            f"column {name!r} has {len(values):,} values, and a category may have "
            f"{MOST_CATEGORY_VALUES:,}; leave it out, or join values"
        )
    return CategoryColumn(name, tuple(values), has_unknown)


def find_fill(numbers: Float32, impute: Impute) -> float | None:
    """Return the replacement, a float32 number, of the missing ones among these numbers [n].

    Infinite numbers are ignored: the fit refuses them. Raises InvalidParameter.
    """
    if impute is None:
        return None
    if isinstance(impute, int | float) and not isinstance(impute, bool):
        with np.errstate(over="ignore"):
            held = np.float32(impute)
        if not np.isfinite(held):
            raise InvalidParameter(f"impute is {impute!r}, which float32 cannot represent")
        return float(held)
    if impute not in STATISTICS:
        raise InvalidParameter(f"impute is {impute!r}; give 'mean', 'median' or a number")
    present = numbers[np.isfinite(numbers)]
    if not len(present):
        return None
    if impute == "mean":
        found = exact_mean(sum_exactly(present), len(present))
    else:
        found = float(np.median(present.astype(np.float64)))
    return float(np.float32(found))


def sum_exactly(numbers: Float32) -> int:
    """Return the exact sum of finite numbers, in units of 2**-172; sums of parts add up exactly."""
    total = 0
    for start in range(0, len(numbers), _BLOCK):
        mantissas, exponents = np.frexp(numbers[start : start + _BLOCK])
        whole = mantissas.astype(np.float64) * 2**24
        sums = np.bincount(exponents + (_BITS_BELOW_ONE - 24), weights=whole)
        total += sum(int(each) << place for place, each in enumerate(sums) if each)
    return total


def exact_mean(total: int, count: int) -> float:
    """Return the mean of ``count`` numbers with this sum of `sum_exactly`, rounded once."""
    return float(Fraction(total, count << _BITS_BELOW_ONE))


def weigh_features(
    columns: Sequence[Column], weights: Mapping[str, float] | None
) -> list[float] | None:
    """Return the weight of each feature, from the weights of columns; None without weights.

    Raises InvalidParameter for a name that is not a column, and for a weight that is not above 0.
    """
    if not weights:
        return None
    names = [column.name for column in columns]
    for name, weight in weights.items():
        if name not in names:
            hint = find_near_name(str(name), names) or f"; there are {', '.join(names)}"
            raise InvalidParameter(f"feature_weight names {name!r}, which is not a column{hint}")
        is_number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not is_number or not 1 / LARGEST_FEATURE_WEIGHT <= weight <= LARGEST_FEATURE_WEIGHT:
            raise InvalidParameter(
                f"feature_weight of {name!r} is {weight!r}; give a number above 0, from "
                f"{1 / LARGEST_FEATURE_WEIGHT:g} to {LARGEST_FEATURE_WEIGHT:g}"
            )
    return [float(weights.get(column.name, 1)) for column in columns for _ in column.feature_names]
