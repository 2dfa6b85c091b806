"""Synthetic rows, drawn around the centroids of a model.

The warm-up and the golden requests need rows, but the training data may be unavailable or private.
"""

import numpy as np
from numpy.typing import NDArray

from kmeans_module import CategoryColumn, Encoder, KMeansModule, VectorColumn
from kmeans_module.column_training import encode_arrays
from kmeans_module.encoder import LinearMap

from .column_rows import ColumnRows


def draw_around_centroids(
    module: KMeansModule, spread: float
) -> tuple[NDArray[np.float32], ColumnRows | None]:
    """Draw reproducible rows around the centroids: float32 [n, d], raw units.

    Args:
      module: the model.
      spread: the standard deviation of each feature around its centroid, in the model's space.

    Returns:
      The rows; if the model takes columns by name, also the columns, which encode to the rows.
    """
    rng = np.random.default_rng(0)
    centroids, shift, scale = (
        each.numpy().astype(np.float64) for each in (module.centroids, module.shift, module.scale)
    )
    around = centroids[np.arange(max(512, 4 * len(centroids))) % len(centroids)]
    points = shift + scale * (around + rng.normal(scale=spread, size=around.shape))
    if module.encoder is None:
        return points.astype(np.float32), None
    columns = _decode(points, module.encoder)
    return encode_arrays(module.encoder, list(columns.tensors.values())), columns


def _decode(points: NDArray[np.float64], encoder: Encoder) -> ColumnRows:
    """Return columns that encode nearly to these points; for a category, its largest feature."""
    features = points
    for each in reversed(encoder.maps):
        if isinstance(each, LinearMap):
            features = (features - each.offset) @ np.linalg.pinv(each.matrix)
    tensors: dict[str, NDArray[np.generic]] = {}
    for column in encoder.columns:
        width = len(column.feature_names)
        own, features = features[:, :width], features[:, width:]
        if isinstance(column, CategoryColumn):
            texts = np.array([value.encode() for value in (*column.values, "")])
            tensors[column.name] = texts[own.argmax(axis=1)]
        elif isinstance(column, VectorColumn):
            tensors[column.name] = own.astype(np.float32)
        else:
            tensors[column.name] = own[:, 0].astype(np.float32)
    return ColumnRows(tensors)
