"""The options of ``train`` and ``select-k`` for the encoding of columns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import typer

from export.feature_names import shorten_names, show_name
from kmeans_module.column_fitting import LARGEST_FEATURE_WEIGHT, STATISTICS, Impute
from kmeans_module.near_names import find_near_name
from serving.tables.messages import format_count

from .errors import UserMistake
from .input_tables import parse_column_names, parse_list

if TYPE_CHECKING:
    from kmeans_module.columns import Column
    from serving.tables.encoded_rows import Encoding

#: Columns that are shown to people.
_SHOWN_COLUMNS: Final = 20


class UnknownValue(StrEnum):
    """Encoding of a category value that is missing, or that the fit did not see."""

    ZEROS = "zeros"
    CATEGORY = "category"


def _parse_impute(text: object) -> str:
    """A statistic or a number, as text. Raises BadParameter."""
    if text not in STATISTICS and not _is_finite(str(text)):
        raise typer.BadParameter(f"{text} is not valid; give mean, median or a finite number")
    return str(text)


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


@dataclass(frozen=True)
class ColumnOptions:
    """Replacement of missing numbers, categories, and weights of columns."""

    panel: ClassVar[str] = "Columns as features"

    impute: Annotated[
        str | None,
        typer.Option(
            parser=_parse_impute,
            metavar="mean|median|X",
            help="Replacement of missing numbers, also in the model.",
        ),
    ] = None
    categories: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Category columns: each value becomes a feature, 1 or 0.",
        ),
    ] = None
    unknown: Annotated[
        UnknownValue | None,
        typer.Option(
            help="Encoding of a missing or new category value: zeros, or a feature of its own.",
            show_default="zeros",
        ),
    ] = None
    feature_weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=X,...",
            help="Weights of columns in the distance, above 0; the default is 1.",
        ),
    ] = None
    by_name: Annotated[
        bool,
        typer.Option(
            "--by-name",
            help="Make the model take its columns by name, even if all are numbers.",
        ),
    ] = False

    def encoding(self) -> "Encoding | None":
        """The encoding of columns; None if the model takes numbers only.

        Raises UserMistake.
        """
        if self.unknown is not None and self.categories is None:
            raise UserMistake(
                f"--unknown {self.unknown}: requires --categories; add it, or leave out --unknown"
            )
        if self.impute is None and self.categories is None and not self.by_name:
            return None
        from serving.tables.encoded_rows import Encoding

        return Encoding(
            categories=self.category_names(),
            impute=self._impute(),
            unknown="category" if self.unknown is UnknownValue.CATEGORY else "zeros",
        )

    def category_names(self) -> tuple[str, ...]:
        """The columns that are categories. Raises UserMistake."""
        given = self.categories
        return () if given is None else parse_column_names("--categories", given)

    def weights(self) -> dict[str, float]:
        """The weights of columns by name. Raises UserMistake."""
        found: dict[str, float] = {}
        for text in self.feature_weight or ():
            for each in parse_list("--feature-weight", text):
                name, is_pair, value = each.rpartition("=")
                name = name.strip()
                if not is_pair or not name:
                    raise UserMistake(
                        f"--feature-weight {each}: give a column and its weight, such as income=2"
                    )
                if name in found:
                    raise UserMistake(f"--feature-weight {each}: {name!r} is given twice")
                found[name] = _parse_weight(each, value)
        return found

    def weigh(self, columns: Sequence[tuple[str, int]]) -> list[float] | None:
        """The weight of each feature, for columns and their widths; None without weights.

        Raises UserMistake for a weight of an unknown column.
        """
        weights = self.weights()
        if not weights:
            return None
        names = [name for name, _ in columns]
        _require_columns(weights, names)
        return [weights.get(name, 1.0) for name, width in columns for _ in range(width)]

    def _impute(self) -> Impute:
        match self.impute:
            case None | "mean" | "median":
                return self.impute
            case number:
                return float(number)


def _parse_weight(given: str, value: str) -> float:
    weight = float(value) if _is_finite(value) else math.nan
    if not 1 / LARGEST_FEATURE_WEIGHT <= weight <= LARGEST_FEATURE_WEIGHT:
        raise UserMistake(
            f"--feature-weight {given}: {value.strip()!r} is not a number from "
            f"{1 / LARGEST_FEATURE_WEIGHT:g} to {LARGEST_FEATURE_WEIGHT:g}; to ignore a column, "
            "use --exclude"
        )
    return weight


def _require_columns(weights: Mapping[str, float], names: Sequence[str]) -> None:
    for name in weights:
        if name not in names:
            raise UserMistake(
                f"--feature-weight {name}={weights[name]:g}: {name!r} is not a used "
                f"column{find_near_name(name, names)} (used columns: {shorten_names(names)})"
            )


def describe_columns(columns: "Sequence[Column]") -> str:
    """The columns that a model takes by name, and their encoding, as text."""
    from kmeans_module.columns import CategoryColumn, NumberColumn

    def describe(column: "Column") -> str:
        name = show_name(column.name)
        match column:
            case NumberColumn(fill=None):
                return name
            case NumberColumn(fill=fill):
                return f"{name} (missing: {fill:g})"
            case CategoryColumn(values=values):
                return f"{name} ({format_count(len(values), 'value')})"
        return f"{name}[{column.width}]"

    shown = [describe(column) for column in columns[:_SHOWN_COLUMNS]]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
