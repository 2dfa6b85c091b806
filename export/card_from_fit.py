"""Measure a fit and write down what was found: the model card of a training run.

Everything is measured through the module's own signatures, block by block, so that the memory
needed beyond the points is a few bytes a row.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from kmeans_module import FitResult, InvalidPoints, KMeansModule, UndefinedMeasure, silhouette
from kmeans_module.contract import signatures_left_out
from kmeans_module.encoder import UnitRows
from kmeans_module.validation import check_finite, check_points

from .errors import InvalidCandidate
from .model_card import (
    FORMAT_WITH_ENCODER,
    MOST_PROFILES,
    QUANTILES,
    CardColumn,
    CardEncoder,
    CardIteration,
    ClusterProfile,
    ModelCard,
    Parameters,
    Silhouette,
    TrainingData,
    distance_space,
)

#: The silhouette is taken of so many rows at most. Beyond so many columns it is of fewer, for each
#: row is held against all: it costs as much as at that width.
_SILHOUETTE_ROWS: Final = 10_000
_SILHOUETTE_COLUMNS: Final = 1024

# Numbers in a block of rows: 16 MiB of float32.
_BLOCK_NUMBERS: Final = 2**22


def make_card(
    result: FitResult,
    points: NDArray[Any],
    *,
    feature_names: Sequence[str],
    model: str | None = None,
    files: Sequence[str] = (),
    rows_left_out: int = 0,
    weight_column: str | None = None,
    silhouette_rows: int | None = None,
) -> ModelCard:
    """The card of a fit, with the parameters that it was fitted with.

    Args:
      result: what ``fit`` gave for ``points``.
      points: [n, d], raw units: the rows the model was fitted to; measured as float32, which is
        what is served.
      feature_names: d names, in the order of the columns.
      model: the name that the model is to be served under.
      files: where the rows came from.
      rows_left_out: rows that were read and not used, for a missing value say.
      weight_column: the name of the column that the fit's weights were from.
      silhouette_rows: the silhouette is taken of this many rows, drawn by the fit's seed, at most;
        by default of 10,000, and beyond 1,024 columns of so few that it costs no more.

    Raises:
      InvalidCandidate: the points are no table of finite numbers, or are not those of the fit, or
        the names are not one a column.
    """
    assignments = check_fit(result)
    module, parameters = result.module, result.parameters
    fitted = (len(assignments), module.n_features)
    points = check_table(points)
    if points.shape != fitted:
        raise InvalidCandidate(
            f"points have shape {points.shape}, and the fit is of {fitted}: give the points that "
            "were fitted"
        )
    n_rows, n_features = fitted
    _check_names(feature_names, n_features)
    answers = [module.assign(tf.constant(block)) for block in _blocks(points)]
    cluster_index = np.concatenate([answer["cluster_index"].numpy() for answer in answers])
    distance = np.concatenate([answer["distance"].numpy() for answer in answers])
    _check_fitted(result, points, cluster_index, distance)
    if silhouette_rows is None:
        narrower = min(1.0, _SILHOUETTE_COLUMNS / n_features)
        silhouette_rows = round(_SILHOUETTE_ROWS * narrower**0.5)
    sample = {"max_rows": silhouette_rows, "seed": parameters.seed}
    try:
        found = silhouette(points, cluster_index, module=module, **sample)
        measured = Silhouette(found.mean, found.rows, standard_error=found.standard_error)
    except UndefinedMeasure:
        measured = Silhouette(value=None, rows=len(points))
    return ModelCard(
        model=model,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=version("tfkmeans"),
        tensorflow_version=tf.__version__,
        n_clusters=parameters.n_clusters,
        n_features=n_features,
        feature_names=tuple(feature_names),
        standardize=parameters.standardize,
        shift=tuple(module.shift.numpy().tolist()),
        scale=tuple(module.scale.numpy().tolist()),
        data=TrainingData(
            fingerprint=fingerprint(points, feature_names),
            files=tuple(files),
            rows_read=n_rows + rows_left_out,
            rows_used=n_rows,
            rows_left_out=rows_left_out,
            weight_column=weight_column,
        ),
        parameters=Parameters(
            **{each.name: getattr(parameters, each.name) for each in fields(Parameters)}
        ),
        n_iter=result.n_iter,
        converged=result.converged,
        inertia=float(result.inertia),
        silhouette=measured,
        distance_quantiles=_quantiles(distance),
        clusters=_profiles(cluster_index, distance, parameters.n_clusters),
        distance=module.distance,
        distance_space=distance_space(module.distance),
        signatures_left_out=signatures_left_out(module.n_columns),
        history=tuple(
            CardIteration(float(step.inertia), float(step.shift)) for step in result.history
        ),
        **describe_encoder(module),
    )


def check_fit(result: FitResult) -> NDArray[np.int32]:
    """The assignments of a fit of rows in memory. Raises InvalidCandidate for anything else."""
    if not isinstance(result, FitResult):
        raise InvalidCandidate(f"result is a {type(result).__name__}; give what fit has returned")
    if result.assignments is None:
        raise InvalidCandidate(
            "result is the fit of a RowSource, of whose rows no card is measured yet: save the "
            "model by tf.saved_model.save(result.module, folder, "
            "signatures=result.module.signatures), or fit the rows as an array"
        )
    return result.assignments


def describe_encoder(module: KMeansModule) -> dict[str, Any]:
    """The fields of a card that say what a module makes points of."""
    encoder = module.encoder
    if encoder is None:
        return {}
    maps = tuple(
        f"rows divided by their {each.norm} norm"
        if isinstance(each, UnitRows)
        else "a linear map of {} features to {}".format(*each.matrix.shape)
        for each in encoder.maps
    )
    columns = tuple(map(CardColumn.of, encoder.columns))
    return {"encoder": CardEncoder(columns, maps), "format": FORMAT_WITH_ENCODER}


def check_table(points: ArrayLike, features: Sequence[str] | None = None) -> NDArray[Any]:
    """Points [n, d], or a data frame, as an array of finite numbers. Raises InvalidCandidate."""
    try:
        array = check_points(points)
        check_finite(array, features=features)
    except InvalidPoints as error:
        raise InvalidCandidate(str(error)) from None
    return array


def _check_names(names: Sequence[str], n_features: int) -> None:
    """Raise InvalidCandidate for what is not one name a column."""
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise InvalidCandidate(
            f"feature_names are {str(names)[:60]!r}; give one name a column, a text each"
        )
    if len(names) != n_features:
        raise InvalidCandidate(
            f"feature_names has {len(names)} names, and the points have {n_features} "
            "columns: give one name a column"
        )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InvalidCandidate(
            f"feature_names has {name!r} {count} times: give each column its own"
        )


def _check_fitted(
    result: FitResult,
    points: NDArray[Any],
    cluster_index: NDArray[np.int32],
    distance: NDArray[np.float32],
) -> None:
    """Raise InvalidCandidate where the model says other things of the points than the fit did.

    Then they are other points, or float32, which the model takes, cannot tell them apart. What
    rounding to float32 moves in the model's space is allowed for.
    """
    given = result.sample_weight
    weight = np.ones(len(points)) if given is None else given.astype(np.float64)
    inertia = float(np.square(distance, dtype=np.float64) @ weight)
    if result.module.distance == "cosine":
        move = 1e-4
    else:
        # By the extremes: np.abs of the points would be a second table.
        high, low = points.max(axis=0).astype(np.float64), points.min(axis=0).astype(np.float64)
        largest = np.maximum(high, -low)
        move = float(np.sum(np.square(largest * 2.0**-23 / result.module.scale.numpy())))
    moved = move * float(weight.sum())
    allowed = 1e-3 * result.inertia + 2 * np.sqrt(result.inertia * moved) + moved
    others = np.mean(cluster_index != result.assignments)
    if abs(inertia - result.inertia) > allowed or (others > 0.01 and moved < 0.01 * inertia):
        raise InvalidCandidate(
            f"the model assigns {others:.1%} of the points otherwise than the fit did, with an "
            f"inertia of {inertia:.6g} and not {result.inertia:.6g}: give the points that were "
            "fitted, their rows and their columns in the same order; where they are, subtract a "
            "constant from columns that float32 cannot hold"
        )


def fingerprint(points: NDArray[Any], feature_names: Sequence[str]) -> str:
    """SHA-256 over the names, as a JSON list in UTF-8, and the rows.

    The rows of ``points`` [n, d] count as little-endian float32, row by row; their order matters.
    """
    digest = hashlib.sha256(json.dumps(list(feature_names), ensure_ascii=False).encode())
    for block in _blocks(points):
        digest.update(block.astype("<f4", order="C").data)
    return digest.hexdigest()


def _blocks(points: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    rows = max(1, _BLOCK_NUMBERS // points.shape[1])
    for start in range(0, len(points), rows):
        yield points[start : start + rows].astype(np.float32, copy=False)


def _profiles(
    cluster_index: NDArray[np.int32], distance: NDArray[np.float32], n_clusters: int
) -> tuple[ClusterProfile, ...]:
    sizes = np.bincount(cluster_index, minlength=n_clusters)
    if n_clusters > MOST_PROFILES:
        return tuple(
            ClusterProfile(index, int(size), float(size / len(distance)), {})
            for index, size in enumerate(sizes)
        )
    by_cluster = np.split(distance[np.argsort(cluster_index, kind="stable")], np.cumsum(sizes)[:-1])
    return tuple(
        ClusterProfile(index, int(size), float(size / len(distance)), _quantiles(distances))
        for index, (size, distances) in enumerate(zip(sizes, by_cluster, strict=True))
    )


def _quantiles(distances: NDArray[np.float32]) -> Mapping[str, float]:
    if not len(distances):
        return {}
    values = np.quantile(distances.astype(np.float64), list(QUANTILES.values()))
    return dict(zip(QUANTILES, values.tolist(), strict=True))
