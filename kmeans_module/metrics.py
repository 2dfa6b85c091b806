"""How good a clustering is."""

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from .assignment import all_distances, in_blocks
from .errors import InvalidParameter, InvalidPoints
from .model_space import check_points


def silhouette(
    points: ArrayLike, assignments: ArrayLike, *, max_rows: int = 10_000, seed: int = 0
) -> float:
    """The mean silhouette of a clustering (Rousseeuw 1987), by Euclidean distance.

    A row's silhouette is (b - a) / max(a, b): a is the mean distance to the other rows of its
    cluster, b the least mean distance to the rows of another; 0 for the only row of a cluster.

    Args:
        points: float32 [n, d], in the model's space.
        assignments: int [n], one cluster a row.
        max_rows: above so many rows, a sample of so many stands for all: time is quadratic.
        seed: of that sample.

    Returns:
        In [-1, 1]; 0 where all rows are of one cluster.

    Raises:
        InvalidPoints: points not [n, d], or assignments of another length.
        InvalidParameter: max_rows below 1.
    """
    rows = check_points(points).astype(np.float32)
    labels = np.asarray(assignments)
    if labels.shape != (len(rows),):
        raise InvalidPoints(
            f"assignments have shape {labels.shape}; give one a row, shape ({len(rows)},)"
        )
    if max_rows < 1:
        raise InvalidParameter(f"max_rows is {max_rows}; give at least 1")
    if len(rows) > max_rows:
        sample = np.random.default_rng(seed).choice(len(rows), max_rows, replace=False)
        rows, labels = rows[sample], labels[sample]
    clusters, labels = np.unique(labels, return_inverse=True)
    if len(clusters) < 2:
        return 0.0
    return float(_silhouette_of(rows, labels.astype(np.int32), len(clusters)))


def _mean_silhouette(points: tf.Tensor, labels: tf.Tensor, n_clusters: tf.Tensor) -> tf.Tensor:
    sizes = tf.math.bincount(labels, minlength=n_clusters, dtype=tf.float32)
    membership = tf.one_hot(labels, n_clusters)

    def block(rows: tf.Tensor) -> tuple[tf.Tensor]:
        # [m, n] distances are summed by cluster to [m, k] before the next block begins.
        return (tf.matmul(all_distances(rows, points), membership),)

    (sums,) = in_blocks(
        block, points, width=4 * tf.shape(points)[0], dtypes=(tf.float32,), ranks=(2,)
    )
    own = tf.cast(membership, tf.bool)
    own_size = tf.gather(sizes, labels)
    inner = tf.math.divide_no_nan(
        tf.reduce_sum(tf.where(own, sums, 0.0), 1), tf.maximum(own_size - 1.0, 1.0)
    )
    outer = tf.reduce_min(tf.where(own, float("inf"), sums / sizes), 1)
    each = tf.math.divide_no_nan(outer - inner, tf.maximum(inner, outer))
    return tf.reduce_mean(tf.where(own_size > 1, each, 0.0))


_silhouette_of = tf.function(
    _mean_silhouette,
    [
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([], tf.int32),
    ],
)
