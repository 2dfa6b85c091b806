"""Encode the columns of a table as points, in a graph that is also part of the served model.

A number column is one feature; ``fill`` replaces missing numbers. A category column has one feature
for each value: 1 for the value of the row, 0 for the others (one-hot). A column of vectors of w
numbers has w features. The features are in the order of the columns; maps may transform them
further.

A missing number or vector without a replacement stays NaN, and the row is a bad row.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

import numpy as np

from .array_types import Float64
from .columns import CategoryColumn, Column, NumberColumn
from .contract import TensorContract
from .errors import InvalidColumns
from .quiet_tensorflow import tf

Norm = Literal["l1", "l2", "max"]

#: The most bytes of the name of a column, which is also the name of an array in a file.
_LONGEST_NAME: Final = 1_000


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``x @ matrix + offset``, computed in float64.

    Attributes:
        matrix: float64 [d, m].
        offset: float64 [m].
    """

    matrix: Float64
    offset: Float64


@dataclass(frozen=True)
class UnitRows:
    """Divide each row by its norm, in float64; rows of zeros do not change."""

    norm: Norm = "l2"


class Encoder(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The columns of a model, and their encoding as points.

    Attributes:
        columns: the columns, in the order of their features.
        maps: transformations that are applied to the features in turn.
        feature_names: the names of the d features; after a `LinearMap` "0", "1", ...

    Example:
        >>> import tensorflow as tf
        >>> from tfkmeans import CategoryColumn, Encoder, NumberColumn
        >>> encoder = Encoder([NumberColumn("age", fill=40.0), CategoryColumn("plan", ("a", "b"))])
        >>> encoder.feature_names
        ('age', 'plan=a', 'plan=b')
        >>> encoder.encode([tf.constant([20.0, float("nan")]), tf.constant(["b", ""])]).numpy()
        array([[20.,  0.,  1.],
               [40.,  0.,  0.]], dtype=float32)
    """

    def __init__(
        self, columns: Sequence[Column], maps: Sequence[LinearMap | UnitRows] = ()
    ) -> None:
        """Take at least one column; names must differ. Raises InvalidColumns."""
        super().__init__(name="encoder")
        if not columns:
            raise InvalidColumns("there is no column; give at least one")
        for column in columns:
            _check_name(column.name)
        features = [name for column in columns for name in column.feature_names]
        for what, names in (("columns", [each.name for each in columns]), ("features", features)):
            (name, count), *_ = Counter(names).most_common(1)
            if count > 1:
                mend = "" if what == "columns" else ", or write its value in another way"
                raise InvalidColumns(f"two {what} are named {name!r}; rename a column{mend}")
        self.columns: tuple[Column, ...] = tuple(columns)
        self.maps = tuple(maps)
        self._tables = [
            _index_table(column) if isinstance(column, CategoryColumn) else None
            for column in columns
        ]
        linear = [each for each in maps if isinstance(each, LinearMap)]
        self._matrices = [tf.Variable(each.matrix, trainable=False) for each in linear]
        self._offsets = [tf.Variable(each.offset, trainable=False) for each in linear]
        self.feature_names: tuple[str, ...] = (
            tuple(map(str, range(len(linear[-1].offset)))) if linear else tuple(features)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the constructor arguments."""
        return type(self), (self.columns, self.maps)

    def encode(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Encode n rows as points float32 [n, d].

        Args:
            tensors: one for each column, in their order; see `Column.tensor`.

        Returns:
            The features of all columns, after the maps.

        Raises:
            ValueError: the number of tensors or the shape of a tensor is wrong.

        Example:
            >>> import tensorflow as tf
            >>> from tfkmeans import Encoder, NumberColumn
            >>> encoder = Encoder([NumberColumn("age"), NumberColumn("income", fill=3.0)])
            >>> ages, incomes = tf.constant([20.0, 30.0]), tf.constant([2.0, float("nan")])
            >>> encoder.encode([ages, incomes]).numpy()
            array([[20.,  2.],
                   [30.,  3.]], dtype=float32)
        """
        given = [
            (column, table, tf.ensure_shape(tensor, tensor_spec(column.tensor).shape))
            for column, table, tensor in zip(self.columns, self._tables, tensors, strict=True)
        ]
        features = []
        for are_numbers, group in groupby(given, lambda each: isinstance(each[0], NumberColumn)):
            if are_numbers:
                features.append(_stack_numbers(list(group)))
            else:
                features += [self._features(*each) for each in group]
        points = tf.concat(features, 1)
        if not self.maps:
            return points
        points = tf.cast(points, tf.float64)
        linear = iter(zip(self._matrices, self._offsets, strict=True))
        for each in self.maps:
            if isinstance(each, UnitRows):
                points = tf.math.divide_no_nan(points, _norm(points, each.norm))
            else:
                matrix, offset = next(linear)
                points = points @ matrix + offset
        return tf.cast(points, tf.float32)

    @staticmethod
    def _features(column: Column, table: Any, tensor: tf.Tensor) -> tf.Tensor:
        """The features of a category or vector column, float32 [n, width]."""
        if isinstance(column, CategoryColumn):
            # An index out of range, such as -1, gives only zeros.
            return tf.one_hot(table.lookup(tensor), len(column.feature_names))
        return tensor


def _stack_numbers(given: Sequence[tuple[Any, Any, tf.Tensor]]) -> tf.Tensor:
    """The features of number columns, float32 [n, columns].

    One operation for all columns: one per column would make the graph of many columns slow.
    """
    numbers = tf.stack([tensor for _, _, tensor in given], axis=1)
    fills = [np.nan if column.fill is None else column.fill for column, _, _ in given]
    if np.isnan(fills).all():
        return numbers
    return tf.where(tf.math.is_nan(numbers), np.array(fills, np.float32), numbers)


def tensor_spec(tensor: TensorContract, name: str | None = None) -> tf.TensorSpec:
    """The specification of an input of a graph, with variable or fixed dimensions."""
    shape = [int(dim) if dim.isdigit() else None for dim in tensor.shape]
    return tf.TensorSpec(shape, tensor.dtype, name)


def _check_name(name: str) -> None:
    """Raise InvalidColumns for a name that the files of a version cannot store."""
    try:
        fits = 0 < len(name.encode()) <= _LONGEST_NAME and "\0" not in name
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise InvalidColumns(
            f"a column is named {name[:60]!r}; give a name of 1 to {_LONGEST_NAME:,} bytes in "
            "UTF-8, without the character of the number 0"
        )


def _index_table(column: CategoryColumn) -> tf.lookup.StaticHashTable:
    """The table from values to features; other values map to the unknown feature, or to -1."""
    count = len(column.values)
    values = tf.lookup.KeyValueTensorInitializer(
        tf.constant(column.values, tf.string), tf.range(count)
    )
    return tf.lookup.StaticHashTable(values, count if column.has_unknown else -1)


def _norm(points: tf.Tensor, norm: Norm) -> tf.Tensor:
    """The norm of each row of points [n, d]: [n, 1]."""
    if norm == "l2":
        return tf.sqrt(tf.reduce_sum(tf.square(points), 1, keepdims=True))
    reduce = tf.reduce_sum if norm == "l1" else tf.reduce_max
    return reduce(tf.abs(points), 1, keepdims=True)
