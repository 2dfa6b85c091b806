"""Measure a fit, and make its model card.

All measurements use the signatures of the module, in blocks, so the memory besides the points is a
few bytes per row.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kmeans_module import FitResult, InvalidPoints, KMeansModule, RowSource
from kmeans_module.encoder import UnitRows
from kmeans_module.quiet_tensorflow import tf
from kmeans_module.validation import check_finite, check_points

from .errors import InvalidCandidate
from .model_card import (
    FORMAT_WITH_ENCODER,
    CardColumn,
    CardEncoder,
    CardIteration,
    ClusterProfile,
    ModelCard,
    Parameters,
    TrainingData,
    distance_space,
)
from .row_measures import RowMeasures, measure_array, measure_source

#: The most rows for the silhouette, and the columns above which there are fewer: each row is
#: compared with all, so the cost stays that at this width.
_SILHOUETTE_ROWS: Final = 10_000
_SILHOUETTE_COLUMNS: Final = 1024


def make_card(
    result: FitResult,
    points: NDArray[Any] | RowSource,
    *,
    feature_names: Sequence[str],
    model: str | None = None,
    files: Sequence[str] = (),
    rows_left_out: int = 0,
    weight_column: str | None = None,
    silhouette_rows: int | None = None,
) -> ModelCard:
    """Make the card of a fit, with the parameters of the fit.

    Args:
      result: the result of ``fit`` for ``points``.
      points: [n, d], raw units: the rows of the fit; measured as float32, like the served model. A
        source is read once more, in bounded memory: its distance quantiles have an error of at
        most 0.2%.
      feature_names: d names, in the order of the columns.
      model: the served name of the model.
      files: the files of the rows.
      rows_left_out: the number of omitted rows, for example rows with missing values.
      weight_column: the name of the weight column of the fit.
      silhouette_rows: the most rows for the silhouette, drawn by the seed of the fit; by default
        10,000, and fewer above 1,024 columns, at the same cost. The sampled rows of a source are
        compared with each other, not with all rows.

    Returns:
      The card, which is then written with a candidate.

    Raises:
      InvalidCandidate: the points are not a table of finite numbers, or not those of the fit, or
        the names are not one per column.

    Example:
        >>> import numpy as np
        >>> from tfkmeans import fit, make_card
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0], [8.0, 9.0], [9.0, 8.0]], np.float32)
        >>> result = fit(points, n_clusters=2, seed=0)
        >>> card = make_card(result, points, feature_names=["age", "income"])
        >>> [cluster.size for cluster in card.clusters]
        [2, 2]
    """
    check_fit(result, points)
    module, parameters = result.module, result.parameters
    n_features = module.n_features
    if not isinstance(points, RowSource):
        points = check_table(points)
    n_rows = points.shape[0]
    _check_shape(result, points.shape)
    _check_names(feature_names, n_features)
    if silhouette_rows is None:
        narrower = min(1.0, _SILHOUETTE_COLUMNS / n_features)
        silhouette_rows = round(_SILHOUETTE_ROWS * narrower**0.5)
    sample = {"silhouette_rows": silhouette_rows, "seed": parameters.seed}
    if isinstance(points, RowSource):
        measures = measure_source(points, module, feature_names, **sample)
    else:
        weight = result.sample_weight
        measures = measure_array(points, weight, module, feature_names, **sample)
    _check_fitted(result, measures)
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
            fingerprint=measures.fingerprint,
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
        silhouette=measures.silhouette,
        distance_quantiles=measures.distance_quantiles,
        clusters=_profiles(measures),
        distance=module.distance,
        distance_space=distance_space(module.distance),
        signatures_left_out=module.signatures_left_out,
        history=tuple(
            CardIteration(float(step.inertia), float(step.shift)) for step in result.history
        ),
        **describe_encoder(module),
    )


def check_fit(result: FitResult, points: object) -> None:
    """Check that the result is a fit, and that the points have the form of its rows.

    Raises InvalidCandidate.
    """
    if not isinstance(result, FitResult):
        raise InvalidCandidate(
            f"result has type {type(result).__name__}; give the result of fit, or a fitted "
            "tfkmeans.KMeans. To publish a k-means of scikit-learn, call from_sklearn, "
            "write_candidate and publish, or use the command tfkmeans import-sklearn"
        )
    if result.assignments is None and not isinstance(points, RowSource):
        raise InvalidCandidate(
            f"points have type {type(points).__name__}, and the fit used a RowSource; give that "
            "source"
        )


def describe_encoder(module: KMeansModule) -> dict[str, Any]:
    """Return the fields of a card that describe the encoder of a module."""
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
    """Return points [n, d], or a data frame, as an array of finite numbers. Raises
    InvalidCandidate.
    """
    try:
        array = check_points(points)
        check_finite(array, features=features)
    except InvalidPoints as error:
        raise InvalidCandidate(str(error)) from None
    return array


def _check_names(names: Sequence[str], n_features: int) -> None:
    """Raise InvalidCandidate unless there is one name per column."""
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise InvalidCandidate(
            f"feature_names are {str(names)[:60]!r}; give one text for each column"
        )
    if len(names) != n_features:
        raise InvalidCandidate(
            f"feature_names has {len(names)} names, and the points have {n_features} columns; give "
            "one name for each column"
        )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InvalidCandidate(
            f"feature_names has {name!r} {count} times; give each column a different name"
        )


def _check_shape(result: FitResult, shape: tuple[int, ...]) -> None:
    """Raise InvalidCandidate for rows with another shape than those of the fit."""
    width = result.module.n_features
    # A fit keeps nothing of the rows of a source.
    n = shape[0] if result.assignments is None else len(result.assignments)
    if shape != (n, width):
        raise InvalidCandidate(
            f"points have shape {shape}, and the fit is of {(n, width)}: give the points that "
            "were fitted"
        )


def _check_fitted(result: FitResult, measures: RowMeasures) -> None:
    """Raise InvalidCandidate if the answers of the model differ from the results of the fit.

    Then the points are others, or they cannot be distinguished in float32, the dtype of the model.
    The check allows for rounding to float32 in the model's space.
    """
    if result.module.distance == "cosine":
        move = 1e-4
    else:
        rounding = measures.largest * 2.0**-23 / result.module.scale.numpy()
        move = float(np.sum(np.square(rounding)))
    moved = move * measures.weight
    allowed = 1e-3 * result.inertia + 2 * np.sqrt(result.inertia * moved) + moved
    inertia, others = measures.inertia, 0.0
    if measures.assignments is not None and result.assignments is not None:
        others = float(np.mean(measures.assignments != result.assignments))
    if abs(inertia - result.inertia) > allowed or (others > 0.01 and moved < 0.01 * inertia):
        found = f"assigns {others:.1%} of the points to other clusters than the fit, with"
        raise InvalidCandidate(
            f"the model {found if others else 'finds'} an inertia of {inertia:.6g} instead of "
            f"{result.inertia:.6g}; give the points of the fit, with rows and columns in the same "
            "order; if they are, subtract a constant from columns that lose digits as float32"
        )


def _profiles(measures: RowMeasures) -> tuple[ClusterProfile, ...]:
    sizes, rows = measures.sizes, int(measures.sizes.sum())
    quantiles = measures.cluster_quantiles or [{}] * len(sizes)
    return tuple(
        ClusterProfile(index, int(size), float(size / rows), found)
        for index, (size, found) in enumerate(zip(sizes, quantiles, strict=True))
    )
