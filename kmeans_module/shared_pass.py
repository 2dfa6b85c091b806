"""Measure several sets of centroids on the rows of a source in a single pass."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .array_types import Float32, Float64
from .assignment import nearest, two_nearest
from .metrics import centre_distances
from .quiet_tensorflow import tf
from .source_rows import SourceRows


@dataclass
class CentroidMeasures:
    """Measures of the clusters of k centroids, in the model's space; the centroids are the centres.

    Attributes:
        centroids: float32 [k, d], k >= 2.
        inertia: the sum of the squared distances to the nearest centroid.
    """

    centroids: Float32
    inertia: float = 0.0
    _simplified: float = 0.0
    _sizes: Float64 = field(init=False)
    _sums: Float64 = field(init=False)
    _within: Float64 = field(init=False)

    def __post_init__(self) -> None:
        k, d = self.centroids.shape
        self._sizes, self._sums, self._within = np.zeros(k), np.zeros((k, d)), np.zeros(k)

    def add(self, rows: tf.Tensor) -> None:
        """Add rows float32 [m, d]."""
        k, places = len(self.centroids), tf.constant(self.centroids)
        index, _ = nearest(rows, places)
        one, two = (np.sqrt(each.numpy().astype(np.float64)) for each in two_nearest(rows, places))
        self.inertia += float(np.square(one).sum())
        self._simplified += float(
            np.divide(two - one, two, where=two > 0, out=np.zeros_like(two)).sum()
        )
        self._sizes += np.bincount(index, minlength=k)
        self._within += np.bincount(index, one, minlength=k)
        self._sums += tf.math.unsorted_segment_sum(tf.cast(rows, tf.float64), index, k).numpy()

    @property
    def simplified_silhouette(self) -> float:
        """The `metrics.simplified_silhouette`."""
        return self._simplified / float(self._sizes.sum())

    @property
    def davies_bouldin(self) -> float | None:
        """The `metrics.davies_bouldin` about the centroids; None with an empty cluster."""
        if not self._sizes.all():
            return None
        within, apart = self._within / self._sizes, centre_distances(self.centroids)
        if not within.any() or not apart.any():
            return 0.0
        apart[apart == 0] = np.inf
        return float(((within[:, None] + within) / apart).max(axis=1).mean())

    @property
    def calinski_harabasz(self) -> float | None:
        """The `metrics.calinski_harabasz`; None with an empty cluster."""
        if not self._sizes.all():
            return None
        k, n, sizes = len(self._sizes), self._sizes.sum(), self._sizes
        means = self._sums / sizes[:, None]
        between = float(sizes @ np.square(means - self._sums.sum(axis=0) / n).sum(axis=1))
        # The sum of squares about the mean is that about the centroid, minus their squared distance
        # times the size.
        inside = self.inertia - float(sizes @ np.square(means - self.centroids).sum(axis=1))
        return between / inside * float(n - k) / (k - 1) if inside > 0 and n > k else None


def measure_centroids(rows: SourceRows, centroids: Sequence[Float32]) -> list[CentroidMeasures]:
    """Measure each set of centroids [k, d] over all rows, each with weight 1.

    One pass in the order of the rows, with the same bits for any number of cores.
    """
    found = [CentroidMeasures(each) for each in centroids]
    for block in rows.blocks(0, rows.n):
        points = block.points.tensors.block(0, len(block.weight))
        for each in found:
            each.add(points)
    return found
