"""Rows of the columns of a model, stored in a version.

Does not import TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_module.columns import CategoryColumn, Column
from kmeans_module.raw_columns import read_columns

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ColumnRows:
    """n rows of columns.

    Attributes:
      tensors: an array for each column by name, in order: numbers float32 [n], categories as UTF-8
          texts [n] (NumPy's ``S``), vectors float32 [n, w].
    """

    tensors: Mapping[str, Array]

    @classmethod
    def read(cls, columns: Sequence[Column], table: Any) -> Self:
        """Read the columns of a model from a table. Raises InvalidColumns."""
        arrays = read_columns(columns, table)
        return cls(
            {
                column.name: np.char.encode(array.astype(str), "utf-8")
                if isinstance(column, CategoryColumn)
                else array
                for column, array in zip(columns, arrays, strict=True)
            }
        )

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def take(self, rows: NDArray[np.integer[Any]] | slice) -> Self:
        """Select rows."""
        return type(self)({name: array[rows] for name, array in self.tensors.items()})

    def with_missing_values(self) -> Self:
        """Append a row in which every value is missing."""
        return type(self)(
            {
                name: np.concatenate([array, np.full_like(array[:1], _missing(array))])
                for name, array in self.tensors.items()
            }
        )

    def find_missing(self) -> NDArray[np.bool_]:
        """Return a mask of the rows in which every value is missing."""
        missing = np.stack([_is_missing(array) for array in self.tensors.values()])
        return np.asarray(missing.all(axis=0))


def _is_missing(array: Array) -> NDArray[np.bool_]:
    if array.dtype.kind == "S":
        return np.asarray(array == b"")
    return np.asarray(np.isnan(array).all(axis=tuple(range(1, array.ndim))))


def _missing(array: Array) -> Any:
    return b"" if array.dtype.kind == "S" else np.nan
