"""The columns of a table that a model takes: numbers, categories and vectors.

Does not import TensorFlow, so the card of a version and the clients can use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .contract import COLUMN_SIGNATURES, SIGNATURES, SignatureContract, TensorContract

#: The most values of a category; each value is a feature.
MOST_CATEGORY_VALUES: Final = 1_000

#: The feature of a category for rows whose value is missing or was not in the fit.
_UNKNOWN: Final = "(unknown)"


@dataclass(frozen=True)
class NumberColumn:
    """A column with one number per row, float32 [n]; NaN is a missing value.

    Attributes:
        name: the name of the column.
        fill: the replacement of missing values; None keeps them missing.

    Example:
        >>> from tfkmeans import NumberColumn
        >>> NumberColumn("age", fill=40.0).feature_names
        ('age',)
    """

    name: str
    fill: float | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def tensor(self) -> TensorContract:
        """The input of a signature for this column."""
        return TensorContract(self.name, "float32", ("n",))


@dataclass(frozen=True)
class CategoryColumn:
    """A column with one of several values per row, string [n]; "" is a missing value.

    Attributes:
        name: the name of the column.
        values: the values that are features; never the empty string.
        has_unknown: whether rows with none of the values have a feature of their own; else such a
            row has 0 in every feature of the column.

    Example:
        >>> from tfkmeans import CategoryColumn
        >>> CategoryColumn("plan", ("basic", "pro"), has_unknown=True).feature_names
        ('plan=basic', 'plan=pro', 'plan=(unknown)')
    """

    name: str
    values: tuple[str, ...]
    has_unknown: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        names = [*self.values, _UNKNOWN] if self.has_unknown else self.values
        return tuple(f"{self.name}={value}" for value in names)

    @property
    def tensor(self) -> TensorContract:
        """The input of a signature for this column."""
        return TensorContract(self.name, "string", ("n",))


@dataclass(frozen=True)
class VectorColumn:
    """A column with w numbers per row, float32 [n, w]; a row with NaN is missing.

    Attributes:
        name: the name of the column.
        width: the length of the vectors, w.

    Example:
        >>> from tfkmeans import VectorColumn
        >>> VectorColumn("embedding", width=2).feature_names
        ('embedding[0]', 'embedding[1]')
    """

    name: str
    width: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        if self.width == 1:
            return (self.name,)
        return tuple(f"{self.name}[{index}]" for index in range(self.width))

    @property
    def tensor(self) -> TensorContract:
        """The input of a signature for this column."""
        return TensorContract(self.name, "float32", ("n", str(self.width)))


Column = NumberColumn | CategoryColumn | VectorColumn


def column_signature(name: str, columns: Sequence[Column]) -> SignatureContract:
    """Return the inputs and outputs of a signature of ``COLUMN_SIGNATURES`` for these columns."""
    inputs = tuple(column.tensor for column in columns)
    return SignatureContract(name, inputs, SIGNATURES[COLUMN_SIGNATURES[name]].outputs)
