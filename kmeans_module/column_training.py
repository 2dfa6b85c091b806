"""``fit_columns``: fit a model to the columns of a table."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .array_types import Array, Float32
from .blocks import block_ranges, rows_per_block
from .category_texts import read_texts
from .column_fitting import (
    UNKNOWN,
    Impute,
    Unknown,
    find_fill,
    fit_category,
    weigh_features,
)
from .columns import Column, NumberColumn, VectorColumn
from .encoder import Encoder, tensor_spec
from .errors import InvalidColumns, InvalidParameter, NonFinitePoint
from .graphs import trace
from .quiet_tensorflow import tf
from .raw_columns import check_lengths, named_columns, read_numbers
from .training import FitResult, fit
from .validation import check_choice, check_finite


def fit_columns(
    table: Any,
    n_clusters: int,
    *,
    categories: Iterable[str] = (),
    impute: Impute = None,
    unknown: Unknown = "zeros",
    feature_weight: Mapping[str, float] | None = None,
    **options: Any,
) -> FitResult:
    """Cluster the rows of a table by its columns: numbers, categories and vectors.

    The module of the result takes the same columns by name in ``assign_columns``, ``score_columns``
    and ``transform_columns``, and encodes them.

    Args:
        table: a pandas or polars frame, an Arrow table, or a mapping of names to columns, with n
            rows. Booleans count as the numbers 0 and 1; the vectors of a column have the same
            length.
        n_clusters: the number of clusters, k.
        categories: the names of the category columns; each has at most 1,000 values.
        impute: the replacement of missing numbers: the "mean" or "median" of the column, or a
            number. With None, no number may be missing.
        unknown: the encoding of a category value that is missing or was not in the table of the
            fit: "zeros" in all features of its column, or a "category" of its own.
        feature_weight: the weights of columns by name, default 1; see `fit`. The weight of a
            category or vector column applies to each of its features.
        options: see `fit`.

    Returns:
        The result of `fit`. ``result.module.encoder`` describes the encoding of each column and the
        features.

    Raises:
        InvalidColumns: columns have different lengths or no values, a column of text is not a
            category, or a category has too many values.
        InvalidParameter: a name in ``categories`` or ``feature_weight`` is not a column, or an
            option is out of range.
        InvalidPoints: and the other errors of `fit`, which refer to the features.

    Example:
        >>> from tfkmeans import fit_columns
        >>> table = {"age": [20.0, 22.0, 61.0, None], "plan": ["a", "a", "b", "b"]}
        >>> result = fit_columns(table, 2, categories=["plan"], impute="mean", standardize=True)
        >>> result.module.encoder.feature_names
        ('age', 'plan=a', 'plan=b')
        >>> len(set(result.assignments[:2])), len(set(result.assignments))
        (1, 2)
    """
    encoder, arrays = fit_encoder(table, categories=categories, impute=impute, unknown=unknown)
    weights = weigh_features(encoder.columns, feature_weight)
    points = encode_arrays(encoder, arrays)
    try:
        check_finite(points, features=encoder.feature_names)
    except NonFinitePoint as error:
        raise NonFinitePoint(f"{error}; impute='mean' fills in missing numbers") from None
    result = fit(points, n_clusters, feature_weight=weights, **options)
    result.module.take_columns(encoder)
    return result


def fit_encoder(
    table: Any,
    *,
    categories: Iterable[str] = (),
    impute: Impute = None,
    unknown: Unknown = "zeros",
) -> tuple[Encoder, list[Array]]:
    """Fit the encoder to the columns of a table; return it and its input arrays.

    Arguments and errors: see `fit_columns`.
    """
    check_choice("unknown", unknown, UNKNOWN)
    columns = named_columns(table)
    if not columns:
        raise InvalidColumns("there is no column; give at least one")
    chosen = set(categories)
    for name in chosen - set(columns):
        raise InvalidParameter(
            f"categories name {name!r}, which is not a column; there are {', '.join(columns)}"
        )
    kinds: list[Column] = []
    arrays: list[Array] = []
    kind: Column
    for name, values in columns.items():
        if name in chosen:
            array = read_texts(name, values)
            kind = fit_category(name, array, has_unknown=unknown == "category")
        else:
            kind, array = _fit_numbers(name, values, impute)
        kinds.append(kind)
        arrays.append(array)
    check_lengths(dict(zip(columns, arrays, strict=True)))
    return Encoder(kinds), arrays


def encode_arrays(encoder: Encoder, arrays: list[Array]) -> Float32:
    """Encode columns, given as arrays in the order of the encoder, to points float32 [n, d].

    The served graph gives the same points.
    """
    n, d = len(arrays[0]), len(encoder.feature_names)
    points = np.empty((n, d), np.float32)
    specs = [tensor_spec(column.tensor) for column in encoder.columns]
    encode = trace(lambda *tensors: encoder.encode(tensors), specs)
    for start, stop in block_ranges(0, n, rows_per_block(d)):
        points[start:stop] = encode(*(tf.constant(array[start:stop]) for array in arrays))
    return points


def _fit_numbers(name: str, given: Any, impute: Impute) -> tuple[Column, Array]:
    try:
        numbers = read_numbers(name, given)
    except InvalidColumns as error:
        raise InvalidColumns(f"{error}, leave it out, or name it in categories") from None
    if np.isnan(numbers).all():
        raise InvalidColumns(f"column {name!r} holds no value; leave it out")
    if numbers.ndim == 2:
        return VectorColumn(name, numbers.shape[1]), numbers
    return NumberColumn(name, find_fill(numbers, impute)), numbers
