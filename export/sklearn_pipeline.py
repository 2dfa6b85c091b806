"""Convert the steps of a fitted scikit-learn Pipeline before its k-means to an encoder.

What a step does is said exactly or the pipeline is refused: a number becomes one feature, a
category one feature a value, and what follows is linear or brings rows to length 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.category_texts import is_missing, read_texts
from kmeans_module.columns import CategoryColumn, Column, NumberColumn
from kmeans_module.encoder import LinearMap, UnitRows

from .errors import UnsupportedEstimator
from .feature_names import shorten_names

Floats = NDArray[np.float64]

#: What can be said, for a message.
SUPPORTED_STEPS: Final = (
    "StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler, SimpleImputer, Normalizer, PCA, or "
    "a ColumnTransformer of these and OneHotEncoder"
)


@dataclass(frozen=True, eq=False)
class _Scaling:
    """``x * factor + offset``, a number per feature: float64 [d] each."""

    factor: Floats
    offset: Floats


@dataclass(frozen=True)
class PipelineSteps:
    """The steps before the k-means.

    Attributes:
        columns: what goes in, in the order of the features.
        factor, offset: float64 [d]; what each feature is multiplied by and what is added then,
            where nothing else follows.
        maps: what the features go through in place of that, where it mixes them.
    """

    columns: tuple[Column, ...]
    factor: Floats
    offset: Floats
    maps: tuple[LinearMap | UnitRows, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether it needs only points of raw numbers, one per column."""
        return not self.maps and all(
            isinstance(column, NumberColumn) and column.fill is None for column in self.columns
        )


@dataclass
class _Reading:
    """The state of reading the steps."""

    columns: list[Column]
    maps: list[_Scaling | LinearMap | UnitRows] = field(default_factory=list)

    @property
    def width(self) -> int:
        """The number of features."""
        for each in reversed(self.maps):
            if isinstance(each, LinearMap):
                return len(each.offset)
        return sum(len(column.feature_names) for column in self.columns)


def read_steps(steps: Sequence[Any], names: Sequence[str], origin: str) -> PipelineSteps:
    """Read the effect of fitted transformers on columns of numbers with these names.

    Raises:
        UnsupportedEstimator: a step is of another kind, is not fitted, or does what an encoder
            cannot say.
    """
    reading = _Reading([NumberColumn(name) for name in names])
    for place, step in enumerate(steps):
        try:
            if type(step).__name__ == "ColumnTransformer" and not place:
                reading = _read_column_transformer(step, names, origin)
            else:
                _read_step(reading, step, origin)
        except AttributeError as error:
            raise UnsupportedEstimator(
                f"{origin}: {type(step).__name__} is not fitted; fit the Pipeline first ({error})"
            ) from None
    return _join(reading)


def _read_step(reading: _Reading, step: Any, origin: str) -> None:
    """Add a step that takes all features."""
    kind = type(step).__name__
    match kind:
        case "StandardScaler" | "MinMaxScaler" | "RobustScaler" | "MaxAbsScaler":
            reading.maps.append(_read_scaler(step, reading.width, origin))
        case "SimpleImputer":
            _read_imputer(reading, step, origin)
        case "Normalizer":
            reading.maps.append(UnitRows(step.norm))
        case "PCA":
            reading.maps.append(_read_pca(step))
        case _:
            raise UnsupportedEstimator(
                f"{origin}: cannot import {kind}; the steps before the k-means may be "
                f"{SUPPORTED_STEPS}"
            )


def _read_scaler(scaler: Any, width: int, origin: str) -> _Scaling:
    kind = type(scaler).__name__
    if getattr(scaler, "clip", False):
        raise UnsupportedEstimator(
            f"{origin}: {kind} clips, which is not linear; fit it without clip"
        )
    match kind:
        case "MinMaxScaler":
            return _Scaling(np.asarray(scaler.scale_, float), np.asarray(scaler.min_, float))
        case "StandardScaler":
            center = scaler.mean_ if scaler.with_mean else None
            scale = scaler.scale_ if scaler.with_std else None
        case "RobustScaler":
            center, scale = scaler.center_, scaler.scale_
        case _:
            center, scale = None, scaler.scale_
    factor = np.ones(width) if scale is None else 1 / np.asarray(scale, float)
    offset = np.zeros(width) if center is None else -np.asarray(center, float) * factor
    return _Scaling(factor, offset)


def _read_imputer(reading: _Reading, imputer: Any, origin: str) -> None:
    """Read a SimpleImputer of numbers that no other step has changed."""
    if reading.maps or not all(isinstance(each, NumberColumn) for each in reading.columns):
        raise UnsupportedEstimator(
            f"{origin}: SimpleImputer must be the first step of its columns, and these must be "
            "numbers"
        )
    values = imputer.statistics_
    is_nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    for column, value in zip(reading.columns, values, strict=True):
        if not isinstance(value, Real):
            raise UnsupportedEstimator(
                f"{origin}: SimpleImputer fills column {column.name!r} with {value!r}, and a model "
                "fills only numbers; leave its missing values to OneHotEncoder"
            )
        if is_missing(value):
            raise UnsupportedEstimator(
                f"{origin}: SimpleImputer has no value for column {column.name!r}, which had no "
                "value in the fit; leave the column out"
            )
    if not is_nan:
        raise UnsupportedEstimator(
            f"{origin}: SimpleImputer fills {imputer.missing_values!r} in the columns "
            f"{shorten_names([each.name for each in reading.columns])}, and a model fills NaN; "
            "replace these values by NaN before the fit"
        )
    if imputer.add_indicator:
        raise UnsupportedEstimator(
            f"{origin}: SimpleImputer adds indicators of filled values for the columns "
            f"{shorten_names([each.name for each in reading.columns])}, which a model does not "
            "support; fit it without add_indicator"
        )
    reading.columns = [
        NumberColumn(column.name, float(value))
        for column, value in zip(reading.columns, values, strict=True)
    ]


def _read_pca(pca: Any) -> LinearMap:
    matrix = np.asarray(pca.components_, float).T
    if pca.whiten:
        # scikit-learn divides by no less than this, too.
        spread = np.sqrt(np.asarray(pca.explained_variance_, float))
        matrix = matrix / np.maximum(spread, np.finfo(float).eps)
    return LinearMap(matrix, -np.asarray(pca.mean_, float) @ matrix)


def _read_column_transformer(transformer: Any, names: Sequence[str], origin: str) -> _Reading:
    """Read the parts of a ColumnTransformer, each with its own columns."""
    weights = transformer.transformer_weights or {}
    columns: list[Column] = []
    scalings: list[_Scaling] = []
    for name, part, chosen in transformer.transformers_:
        taken = _chosen_names(chosen, names)
        if part == "drop" or not taken:
            continue
        reading = _Reading([NumberColumn(each) for each in taken])
        for step in flatten_steps(part):
            if type(step).__name__ == "OneHotEncoder":
                _read_one_hot(reading, step, origin)
            else:
                _read_step(reading, step, origin)
        if not all(isinstance(each, _Scaling) for each in reading.maps):
            raise UnsupportedEstimator(
                f"{origin}: {name!r} of the ColumnTransformer applies PCA or Normalizer to some "
                "columns only; put these steps after the ColumnTransformer"
            )
        columns += reading.columns
        reading.maps.append(_Scaling(np.full(reading.width, weights.get(name, 1.0)), np.zeros(1)))
        scalings.append(_join_scalings(reading))
    repeated = {each.name for each in columns if sum(each.name == o.name for o in columns) > 1}
    if repeated:
        raise UnsupportedEstimator(
            f"{origin}: column {min(repeated)!r} is in two parts of the ColumnTransformer; keep it "
            "in one"
        )
    whole = _Scaling(
        np.concatenate([each.factor for each in scalings]),
        np.concatenate([each.offset for each in scalings]),
    )
    return _Reading(columns, [whole])


def flatten_steps(part: Any) -> list[Any]:
    """The steps of a Pipeline and of nested Pipelines, without those that have no effect."""
    if type(part).__name__ == "Pipeline":
        return [each for _, step in part.steps for each in flatten_steps(step)]
    # Of "passthrough", a ColumnTransformer makes a FunctionTransformer that has no function.
    is_identity = type(part).__name__ == "FunctionTransformer" and part.func is None
    return [] if is_identity or part in (None, "passthrough") else [part]


def _chosen_names(chosen: Any, names: Sequence[str]) -> list[str]:
    """The columns selected by name, position, slice or mask."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, slice):
        start, stop = chosen.start, chosen.stop
        start = names.index(start) if isinstance(start, str) else start
        # To a name, a slice has that name too.
        stop = names.index(stop) + 1 if isinstance(stop, str) else stop
        return list(names[start : stop : chosen.step])
    given = np.atleast_1d(np.asarray(chosen, object)).tolist()
    if given and all(isinstance(each, bool | np.bool_) for each in given):
        return [name for name, is_taken in zip(names, given, strict=True) if is_taken]
    return [each if isinstance(each, str) else names[int(each)] for each in given]


def _read_one_hot(reading: _Reading, encoder: Any, origin: str) -> None:
    """Read a OneHotEncoder of columns that no other step has changed."""
    if reading.maps or any(
        not isinstance(each, NumberColumn) or each.fill is not None for each in reading.columns
    ):
        raise UnsupportedEstimator(
            f"{origin}: OneHotEncoder must be the first step of its columns; a missing category "
            "has no feature, or one of its own"
        )
    if getattr(encoder, "infrequent_categories_", None) and any(
        each is not None for each in encoder.infrequent_categories_
    ):
        raise UnsupportedEstimator(
            f"{origin}: OneHotEncoder merges infrequent categories; fit it without min_frequency "
            "and max_categories"
        )
    dropped = encoder.drop_idx_
    reading.columns = [
        _category(
            column.name,
            np.asarray(values, object),
            None if dropped is None else dropped[place],
            encoder.handle_unknown == "error",
            origin,
        )
        for place, (column, values) in enumerate(
            zip(reading.columns, encoder.categories_, strict=True)
        )
    ]


def _category(
    name: str, values: NDArray[Any], dropped: int | None, refuses_unknown: bool, origin: str
) -> CategoryColumn:
    """A column of a OneHotEncoder; one that it drops is zeros in all features, as what is unseen.

    A missing value that is a category has the last feature. It is then that of every unknown value,
    which only an encoder has that refuses these.
    """
    missing = [place for place, value in enumerate(values) if is_missing(value) or value == ""]
    if missing and (missing != [len(values) - 1] or not refuses_unknown or dropped is not None):
        raise UnsupportedEstimator(
            f"{origin}: in {name!r} a missing value is a category, and unseen values are accepted, "
            "which a model cannot do together; fit the OneHotEncoder with handle_unknown='error', "
            "or without missing values"
        )
    kept = [place for place in range(len(values)) if place not in (dropped, *missing)]
    texts = tuple(read_texts(name, values[kept]).tolist())
    return CategoryColumn(name, texts, has_unknown=bool(missing))


def _join(reading: _Reading) -> PipelineSteps:
    """Merge maps without a change of their result."""
    columns = tuple(reading.columns)
    if all(isinstance(each, _Scaling) for each in reading.maps):
        scaling = _join_scalings(reading)
        return PipelineSteps(columns, scaling.factor, scaling.offset)
    maps: list[LinearMap | UnitRows] = []
    for each in reading.maps:
        step = LinearMap(np.diag(each.factor), each.offset) if isinstance(each, _Scaling) else each
        if isinstance(step, LinearMap) and maps and isinstance(maps[-1], LinearMap):
            before = maps.pop()
            assert isinstance(before, LinearMap)
            step = LinearMap(before.matrix @ step.matrix, before.offset @ step.matrix + step.offset)
        maps.append(step)
    return PipelineSteps(columns, np.ones(reading.width), np.zeros(reading.width), tuple(maps))


def _join_scalings(reading: _Reading) -> _Scaling:
    width = sum(len(column.feature_names) for column in reading.columns)
    factor, offset = np.ones(width), np.zeros(width)
    for each in reading.maps:
        assert isinstance(each, _Scaling)
        factor, offset = factor * each.factor, offset * each.factor + each.offset
    return _Scaling(factor, offset)
