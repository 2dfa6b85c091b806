"""Import a fitted scikit-learn k-means as a module of this package.

Supported are ``KMeans`` and ``MiniBatchKMeans``, alone or in a ``Pipeline`` after the steps that
``export.sklearn_pipeline`` supports. The steps become part of the model's graph, so the served
model takes raw rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_module import Encoder, KMeansModule
from kmeans_module.contract import MOST_COLUMNS
from kmeans_module.errors import InvalidColumns
from kmeans_module.quiet_tensorflow import tf

from .card_from_fit import describe_encoder
from .column_rows import ColumnRows
from .drawn_rows import draw_around_centroids
from .errors import UnsupportedEstimator
from .feature_names import shorten_names
from .model_card import ClusterProfile, ModelCard, Parameters, Silhouette, TrainingData
from .sklearn_pipeline import SUPPORTED_STEPS, PipelineSteps, flatten_steps, read_steps

_SUPPORTED = f"KMeans or MiniBatchKMeans, alone or in a Pipeline after {SUPPORTED_STEPS}"


@dataclass(frozen=True)
class SklearnImport:
    """A module, its card, and rows around its centroids.

    scikit-learn keeps no rows, so ``rows`` float32 [n, d], raw units, are drawn by a fixed seed, at
    the mean distance of the training rows from the centroids. The warm-up and the golden requests
    need them; ``columns`` are the same rows if the model takes columns by name.
    """

    module: KMeansModule
    card: ModelCard
    rows: NDArray[np.float32]
    columns: ColumnRows | None = None


def from_sklearn(
    estimator: Any,
    *,
    feature_names: Sequence[str] | None = None,
    model: str | None = None,
    origin: str = "scikit-learn",
    pickled_by: str | None = None,
) -> SklearnImport:
    """Import a fitted estimator, for ``write_candidate`` and then ``publish``.

    Args:
      estimator: ``KMeans`` or ``MiniBatchKMeans``, alone or in a ``Pipeline``.
      feature_names: names in the order of the columns; by default those of the estimator, or x0,
        x1, ...
      model: the served name of the model.
      origin: the source of the estimator, which the card gives instead of files.
      pickled_by: the version of scikit-learn that pickled the estimator, for the card; the
        estimator does not contain it. By default the installed version.

    Returns:
      The module, its card, and rows that are drawn around its centroids, for ``write_candidate``.

    Raises:
      UnsupportedEstimator: the estimator is not supported, not fitted, or has another number of
        features than there are names.

    Example:
        >>> import numpy as np
        >>> from sklearn.cluster import KMeans
        >>> from tfkmeans import from_sklearn
        >>> points = np.array([[0.0, 1.0], [1.0, 0.0], [8.0, 9.0], [9.0, 8.0]])
        >>> estimator = KMeans(2, n_init=1, random_state=0).fit(points)
        >>> imported = from_sklearn(estimator, feature_names=["age", "income"])
        >>> imported.card.n_clusters, imported.card.inertia
        (2, 2.0)
    """
    before, kmeans = _split_pipeline(estimator)
    try:
        centers = np.asarray(kmeans.cluster_centers_, np.float64)
    except AttributeError:
        raise UnsupportedEstimator(
            f"{origin}: {type(kmeans).__name__} is not fitted; call its fit first"
        ) from None
    sizes, inertia = _sizes_and_inertia(kmeans, origin)
    first = [*before, kmeans][0]
    width: int = getattr(first, "n_features_in_", None) or centers.shape[1]
    names = _names(first, width, feature_names, origin)
    try:
        steps = read_steps(before, names, origin)
        module = _make_module(centers, steps, origin)
    except InvalidColumns as error:
        raise UnsupportedEstimator(f"{origin}: {error}") from None
    features = names if module.encoder is None else module.encoder.feature_names
    source = f"{origin} ({type(kmeans).__name__}, {_describe_version(pickled_by)})"
    card = _card(kmeans, sizes, inertia, features, module, model, source)
    spread = np.sqrt(max(inertia, 1e-12) / (max(1, int(sizes.sum())) * centers.shape[1]))
    return SklearnImport(module, card, *draw_around_centroids(module, float(spread)))


def _make_module(centers: NDArray[np.float64], steps: PipelineSteps, origin: str) -> KMeansModule:
    """Make the module of centers [k, d] of scikit-learn, after the steps."""
    scale = 1 / steps.factor
    mean = -steps.offset * scale
    # float32 is most precise around 0, so the common part of the centroids becomes the shift.
    common = np.zeros_like(mean) if mean.any() else centers.mean(axis=0)
    shift, scale32 = (mean + common * scale).astype(np.float32), scale.astype(np.float32)
    # Computed from the rounded shift and scale; otherwise rows far from 0 would have their rounding
    # error.
    centroids = (centers * scale + (mean - shift.astype(np.float64))) / scale32.astype(np.float64)
    module = KMeansModule(centroids.astype(np.float32), shift, scale32)
    if not steps.is_plain:
        if len(steps.columns) > MOST_COLUMNS:
            raise UnsupportedEstimator(
                f"{origin}: takes {len(steps.columns)} columns, and a model that encodes columns "
                f"takes at most {MOST_COLUMNS}; give fewer"
            )
        module.take_columns(Encoder(steps.columns, steps.maps))
    return module


def _split_pipeline(estimator: Any) -> tuple[list[Any], Any]:
    """Return the steps before the k-means, and the k-means."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    steps = flatten_steps(estimator)
    kinds = [type(step) for step in steps]
    if kinds[-1:] not in ([KMeans], [MiniBatchKMeans]):
        found = ", ".join(kind.__name__ for kind in kinds)
        raise UnsupportedEstimator(f"cannot import {found}: give {_SUPPORTED}")
    return steps[:-1], steps[-1]


def _sizes_and_inertia(kmeans: Any, origin: str) -> tuple[NDArray[np.integer[Any]], float]:
    """Return the rows of each cluster, [k], and the inertia over all.

    A ``MiniBatchKMeans`` has no ``labels_`` with ``compute_labels=False``, and after
    ``partial_fit`` only those of its last batch; then the sizes are its counts over all passes.
    """
    labels = getattr(kmeans, "labels_", None)
    passes = getattr(kmeans, "n_iter_", None)
    if not hasattr(kmeans, "inertia_"):
        raise UnsupportedEstimator(
            f"{origin}: {type(kmeans).__name__} has no inertia_, because partial_fit with "
            "compute_labels=False does not compute it; call partial_fit once more with "
            "compute_labels=True"
        )
    if labels is not None and passes is not None:
        return np.bincount(labels, minlength=kmeans.n_clusters), float(kmeans.inertia_)
    sizes = np.rint(kmeans._counts / (passes or 1)).astype(np.int64)
    per_label = 1.0 if labels is None else sizes.sum() / len(labels)
    return sizes, float(kmeans.inertia_ * per_label)


def _names(estimator: Any, width: int, given: Sequence[str] | None, origin: str) -> tuple[str, ...]:
    own = getattr(estimator, "feature_names_in_", None)
    default = [f"x{i}" for i in range(width)] if own is None else [str(name) for name in own]
    names = tuple(default if given is None else given)
    if len(names) != width:
        raise UnsupportedEstimator(
            f"{origin}: takes {width} features, and {len(names)} names are given: "
            f"{shorten_names(names)}; give one name for each feature"
        )
    if own is not None and names != tuple(default):
        raise UnsupportedEstimator(
            f"{origin}: was fitted to the columns {', '.join(default)}, and the names "
            f"{', '.join(names)} are given; give none, or these"
        )
    return names


def _describe_version(pickled_by: str | None) -> str:
    import sklearn

    if pickled_by in (None, sklearn.__version__):
        return f"scikit-learn {sklearn.__version__}"
    return f"pickled by scikit-learn {pickled_by}, read by {sklearn.__version__}"


def _card(
    kmeans: Any,
    sizes: NDArray[np.integer[Any]],
    inertia: float,
    names: Sequence[str],
    module: KMeansModule,
    model: str | None,
    source: str,
) -> ModelCard:
    total = int(sizes.sum())
    is_fit = hasattr(kmeans, "n_iter_")
    init = kmeans.init if isinstance(kmeans.init, str) else "array"
    starts = kmeans.n_init if isinstance(kmeans.n_init, int) else 1
    seed = kmeans.random_state if isinstance(kmeans.random_state, int) else 0
    return ModelCard(
        model=model,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=version("tfkmeans"),
        tensorflow_version=tf.__version__,
        n_clusters=len(sizes),
        n_features=len(names),
        feature_names=tuple(names),
        standardize=bool((module.scale.numpy() != 1).any()),
        shift=tuple(module.shift.numpy().tolist()),
        scale=tuple(module.scale.numpy().tolist()),
        data=TrainingData(
            # The rows are unknown, and so is their fingerprint.
            fingerprint="",
            files=(source,),
            rows_read=total,
            rows_used=total,
            rows_left_out=0,
        ),
        parameters=Parameters(init, starts, int(kmeans.max_iter), float(kmeans.tol), seed),
        # partial_fit counts its batches, and never marks the last one.
        n_iter=int(kmeans.n_iter_ if is_fit else kmeans.n_steps_),
        converged=is_fit and int(kmeans.n_iter_) < int(kmeans.max_iter),
        inertia=inertia,
        silhouette=Silhouette(value=None, rows=0),
        distance_quantiles={},
        clusters=tuple(
            ClusterProfile(index, int(size), float(size / total), {})
            for index, size in enumerate(sizes)
        ),
        history=(),
        **describe_encoder(module),
        signatures_left_out=module.signatures_left_out,
    )
