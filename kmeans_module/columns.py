"""The columns of a table that a model takes: numbers, categories and vectors.

Imports no TensorFlow, so that the card of a version and a client can say what a column is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .contract import COLUMN_SIGNATURES, SIGNATURES, SignatureContract, TensorContract

#: A category of more values than these is refused: each is a feature.
MOST_CATEGORY_VALUES: Final = 1_000

#: The feature of a category for rows whose value is missing or was not there when it was fitted.
_UNKNOWN: Final = "(unknown)"


@dataclass(frozen=True)
class NumberColumn:
    """A number a row, float32 [n]; NaN is a missing value.

    Attributes:
        name: of the column.
        fill: what takes the place of a missing value; None leaves it missing.

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
        """The input that a signature takes for it."""
        return TensorContract(self.name, "float32", ("n",))


@dataclass(frozen=True)
class CategoryColumn:
    """One of several values a row, string [n]; the empty string is a missing value.

    Attributes:
        name: of the column.
        values: those that are features, without the empty string.
        has_unknown: whether a feature of their own is for rows that have none of the values; else
            such a row has 0 in every feature of the column.

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
        """The input that a signature takes for it."""
        return TensorContract(self.name, "string", ("n",))


@dataclass(frozen=True)
class VectorColumn:
    """w numbers a row, float32 [n, w]; a row with NaN is missing.

    Attributes:
        name: of the column.
        width: how many numbers a vector has, w.

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
        """The input that a signature takes for it."""
        return TensorContract(self.name, "float32", ("n", str(self.width)))


Column = NumberColumn | CategoryColumn | VectorColumn


def column_signature(name: str, columns: Sequence[Column]) -> SignatureContract:
    """What a signature of ``COLUMN_SIGNATURES`` takes and gives for these columns."""
    inputs = tuple(column.tensor for column in columns)
    return SignatureContract(name, inputs, SIGNATURES[COLUMN_SIGNATURES[name]].outputs)
