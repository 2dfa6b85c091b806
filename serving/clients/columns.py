"""Match the columns of a table by name with those of a model. Does not import TensorFlow."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module.columns import (
    CategoryColumn,
    Column,
    NumberColumn,
    VectorColumn,
    column_signature,
)
from kmeans_module.contract import ASSIGN, BAD_ROW, MOST_COLUMNS, SignatureContract
from kmeans_module.errors import InvalidColumns
from kmeans_module.raw_columns import read_columns

from ..errors import InvalidInput
from .results import ModelMetadata, Prediction, Tensor
from .target import Target
from .tensor_sizes import Arrays

#: Rows of features by position, or columns by name; NumPy accepts a data frame as an array too.
Points = ArrayLike | Mapping[str, Any]


def declared_columns(
    signature: str, metadata: ModelMetadata, target: Target
) -> tuple[SignatureContract, list[Column]]:
    """The inputs of a signature over columns, as the model declares them.

    Raises:
        InvalidInput: the model has no such signature, so it takes no columns by name.
    """
    declared = metadata.signatures.get(signature)
    if declared is None:
        raise target.error(
            InvalidInput,
            f"version {metadata.version} takes no columns by name; give its features in their "
            f"order, such as points.to_numpy(){_hint_of_many_columns(metadata)}",
        )
    columns = [_column(name, tensor) for name, tensor in declared.inputs.items()]
    return column_signature(signature, columns), columns


def _hint_of_many_columns(metadata: ModelMetadata) -> str:
    """The end of the message for a model that may have too many columns for these signatures."""
    assign = metadata.signatures.get(ASSIGN)
    points = assign.inputs.get("points") if assign is not None else None
    # Each column gives at least one feature.
    width = points.shape[-1] if points is not None and points.shape else None
    if width is None or width <= MOST_COLUMNS:
        return ""
    return (
        f"; a model that encodes more than {MOST_COLUMNS} columns accepts a table only through "
        "tfkmeans.load"
    )


def _column(name: str, tensor: Tensor) -> Column:
    if tensor.dtype == "string":
        return CategoryColumn(name, ())
    if tensor.shape is not None and len(tensor.shape) == 2:
        return VectorColumn(name, tensor.shape[1] or 0)
    return NumberColumn(name)


def read_table(columns: list[Column], table: Any, target: Target) -> Arrays:
    """Read the columns of a model from a table, which may have other columns too.

    Raises:
        InvalidInput: a column is missing, or has values that the model does not take.
    """
    try:
        arrays = read_columns(columns, table)
    except InvalidColumns as error:
        raise target.error(InvalidInput, str(error)) from None
    return {column.name: array for column, array in zip(columns, arrays, strict=True)}


def refuse_bad_answers(prediction: Prediction, target: Target) -> None:
    """Raise InvalidInput for the first row whose answer marks it as bad."""
    values: NDArray[Any] = next(iter(prediction.outputs.values()))
    bad = (values.reshape(len(values), -1) == BAD_ROW).any(axis=1)
    if bad.any():
        raise target.error(
            InvalidInput,
            f"row {int(np.argmax(bad))} has a missing or infinite value, as do {int(bad.sum())} of "
            f"{len(bad)} rows; fill in the values, or give on_bad_row='answer'",
        )
