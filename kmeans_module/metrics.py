"""Measures of the quality of a clustering, and of the similarity of two clusterings.

All except the adjusted Rand index and the Jaccard indices use Euclidean distances: give points in
the model's space. Each agrees with scikit-learn's measure of the same name, if there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .array_input import read_array
from .array_types import Array, Float32, Float64
from .assignment import two_nearest
from .blocks import Contribution, block_ranges, loop_blocks, rows_per_block
from .errors import InvalidAssignments, InvalidCentroids, NoArray, NonFinitePoint, UndefinedMeasure
from .forks import check_not_forked
from .graphs import INTS, TABLE, graph
from .model_space import enter, place
from .module import KMeansModule
from .quiet_tensorflow import tf
from .rows import ROWS_SPEC, RowTensors
from .validation import check_finite, check_points, check_whole

#: Rows of a tile of distances: the float64 tile has 4 MiB.
_TILE_ROWS, _TILE_OTHERS = 512, 1024

#: The least rows of a sample: the standard error is then below 1 / sqrt(1000).
_LEAST_SAMPLE = 1_000


@dataclass(frozen=True)
class MeanSilhouette:
    """The mean silhouette of a clustering, and its standard error.

    Attributes:
        mean: in [-1, 1].
        standard_error: the standard error of the mean from sampling; 0 if every row was measured.
        rows: the number of measured rows, each against all others.

    Example:
        >>> from tfkmeans import silhouette
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> silhouette(points, [0, 0, 1, 1])
        MeanSilhouette(mean=0.85858..., standard_error=0.0, rows=4)
    """

    mean: float
    standard_error: float
    rows: int


@dataclass(frozen=True)
class _Clustering:
    """Points and their clusters 0 ... k-1, each with at least one row."""

    points: Array
    labels: NDArray[np.int32]
    sizes: NDArray[np.int64]

    @cached_property
    def centres(self) -> Float64:
        """The mean of each cluster, float64 [k, d]."""
        k, d = len(self.sizes), self.points.shape[1]
        sums = np.zeros(k * d)
        for start, stop in _blocks(*self.points.shape):
            # One bin for each column of each cluster.
            bins = self.labels[start:stop, None].astype(np.int64) * d + np.arange(d)
            block = self.points[start:stop].astype(np.float64, copy=False)
            sums += np.bincount(bins.ravel(), block.ravel(), minlength=k * d)
        return sums.reshape(k, d) / self.sizes[:, None]

    def squared_distances(self) -> Iterator[tuple[Array, Float64]]:
        """Yield the clusters of each block of rows and the squared distances to their centres."""
        for start, stop in _blocks(*self.points.shape):
            own = self.labels[start:stop]
            offset = self.points[start:stop].astype(np.float64, copy=False) - self.centres[own]
            yield own, np.einsum("nd,nd->n", offset, offset)


def silhouette(
    points: ArrayLike,
    assignments: ArrayLike,
    *,
    module: KMeansModule | None = None,
    max_rows: int = 10_000,
    seed: int = 0,
) -> MeanSilhouette:
    """Return the mean silhouette of a clustering (Rousseeuw 1987).

    The silhouette of a row is (b - a) / max(a, b): a is the mean distance to the other rows of its
    cluster, b the smallest mean distance to the rows of another cluster. It is 0 for the only row
    of a cluster.

    Args:
        points: [n, d], in the model's space; with ``module``, in raw units.
        assignments: int [n], one cluster per row, 0 or more.
        module: a fitted model, whose space gives the distances.
        max_rows: with more rows, a sample of max_rows^2 / n rows, at least 1,000, is measured,
            each row against all n.
        seed: the seed of the sample.

    Returns:
        The mean, its standard error, and the number of measured rows.

    Raises:
        InvalidPoints: points not [n, d].
        NonFinitePoint: a point with NaN or infinity.
        InvalidAssignments: not one integer per row, or a negative number, such as -1 of a bad row.
        InvalidParameter: max_rows below 1.
        UndefinedMeasure: there is only one cluster, or each row is its own cluster.

    Example:
        >>> from tfkmeans import silhouette
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> silhouette(points, [0, 0, 1, 1]).mean
        0.85858...
    """
    clustering = _check_clustering("the silhouette", points, assignments)
    max_rows = check_whole("max_rows", max_rows, 1)
    n = len(clustering.labels)
    if n <= max_rows:
        measured = np.arange(n)
    else:
        wanted = min(max_rows, max(_LEAST_SAMPLE, max_rows**2 // n))
        measured = np.sort(np.random.default_rng(seed).choice(n, wanted, replace=False))
    each = _silhouettes(clustering, measured, module).astype(np.float64)
    error = 0.0
    if len(each) < n:
        spread = each.std(ddof=1) if len(each) > 1 else 1.0
        error = float(spread * np.sqrt((1 - len(each) / n) / len(each)))
    return MeanSilhouette(float(each.mean()), error, len(each))


def silhouette_samples(
    points: ArrayLike, assignments: ArrayLike, *, module: KMeansModule | None = None
) -> Float32:
    """Return the silhouette of each row, float32 [n]; see `silhouette`.

    O(n^2 d) time; bounded memory besides the points and the result.

    Args:
        points: [n, d], in the model's space; with ``module``, in raw units.
        assignments: int [n], one cluster per row, 0 or more.
        module: a fitted model, whose space gives the distances.

    Returns:
        float32 [n].

    Raises:
        InvalidPoints: points not [n, d].
        NonFinitePoint: a point with NaN or infinity.
        InvalidAssignments: not one integer per row, or a negative number.
        UndefinedMeasure: there is only one cluster, or each row is its own cluster.

    Example:
        >>> from tfkmeans import silhouette_samples
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> silhouette_samples(points, [0, 0, 1, 1])
        array([0.86560327, 0.8515681 , 0.8515681 , 0.86560327], dtype=float32)
    """
    clustering = _check_clustering("the silhouette", points, assignments)
    return _silhouettes(clustering, np.arange(len(clustering.labels)), module)


def simplified_silhouette(points: ArrayLike, centroids: ArrayLike) -> float:
    """Return the mean of (b - a) / max(a, b), with a and b the distances to the two nearest
    centroids.

    See Hruschka, Campello and de Castro (2004). The signature ``score`` returns it for each row.
    O(n k d) time; the full silhouette is quadratic in n.

    Args:
        points: [n, d], in the model's space.
        centroids: [k, d], k >= 2, in the same space.

    Returns:
        A number in [-1, 1]; higher is better.

    Raises:
        InvalidPoints: points not [n, d].
        NonFinitePoint: a point with NaN or infinity.
        InvalidCentroids: centroids of another width, or not finite.
        UndefinedMeasure: there is only one centroid.

    Example:
        >>> from tfkmeans import simplified_silhouette
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> simplified_silhouette(points, [[0.0, 0.5], [5.0, 5.5]])
        0.92920...
    """
    check_not_forked()
    rows, places = check_points(points), check_points(centroids)
    if rows.shape[1] != places.shape[1]:
        raise InvalidCentroids(
            f"centroids have {places.shape[1]} columns; give {rows.shape[1]}, as the points have"
        )
    check_finite(rows)
    try:
        check_finite(places, "centroids")
    except NonFinitePoint as error:
        raise InvalidCentroids(str(error)) from None
    if len(places) < 2:
        raise UndefinedMeasure("the simplified silhouette needs two centroids; there is 1")
    shift = places.mean(axis=0, dtype=np.float64)
    near_to = tf.constant((places - shift).astype(np.float32))
    total = 0.0
    for start, stop in _blocks(*rows.shape):
        block = tf.constant(np.subtract(rows[start:stop], shift).astype(np.float32))
        one, two = (
            np.sqrt(each.numpy().astype(np.float64)) for each in two_nearest(block, near_to)
        )
        total += float(np.divide(two - one, two, where=two > 0, out=np.zeros_like(two)).sum())
    return total / len(rows)


def davies_bouldin(points: ArrayLike, assignments: ArrayLike) -> float:
    """Return the Davies-Bouldin index (Davies and Bouldin 1979); lower is better.

    The similarity of two clusters is the sum of their mean distances to their own centres, divided
    by the distance of the centres. The index is the mean over the clusters of the similarity to the
    most similar other cluster.

    O(n d + k^2 d) time.

    Args:
        points: [n, d], in the model's space.
        assignments: int [n], one cluster per row, 0 or more.

    Returns:
        A number of at least 0.

    Raises:
        InvalidPoints: points not [n, d].
        NonFinitePoint: a point with NaN or infinity.
        InvalidAssignments: not one integer per row, or a negative number.
        UndefinedMeasure: there is only one cluster, or each row is its own cluster.

    Example:
        >>> from tfkmeans import davies_bouldin
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> davies_bouldin(points, [0, 0, 1, 1])
        0.14142...
    """
    clustering = _check_clustering("the Davies-Bouldin index", points, assignments)
    k = len(clustering.sizes)
    within = np.zeros(k)
    for own, squared in clustering.squared_distances():
        within += np.bincount(own, np.sqrt(squared), minlength=k)
    within /= clustering.sizes
    apart = centre_distances(clustering.centres)
    if np.allclose(within, 0) or np.allclose(apart, 0):
        return 0.0
    apart[apart == 0] = np.inf
    return float(((within[:, None] + within) / apart).max(axis=1).mean())


def calinski_harabasz(points: ArrayLike, assignments: ArrayLike) -> float:
    """Return the Calinski-Harabasz index (Calinski and Harabasz 1974); higher is better.

    The between-cluster sum of squares divided by k - 1, over the within-cluster sum of squares
    divided by n - k; 1 if nothing varies within the clusters.

    O(n d) time.

    Args:
        points: [n, d], in the model's space.
        assignments: int [n], one cluster per row, 0 or more.

    Returns:
        A number above 0.

    Raises:
        InvalidPoints: points not [n, d].
        NonFinitePoint: a point with NaN or infinity.
        InvalidAssignments: not one integer per row, or a negative number.
        UndefinedMeasure: there is only one cluster, or each row is its own cluster.

    Example:
        >>> from tfkmeans import calinski_harabasz
        >>> points = [[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 6.0]]
        >>> calinski_harabasz(points, [0, 0, 1, 1])
        100.0
    """
    clustering = _check_clustering("the Calinski-Harabasz index", points, assignments)
    centres, sizes = clustering.centres, clustering.sizes
    n, k = len(clustering.labels), len(sizes)
    between = float(sizes @ np.square(centres - sizes @ centres / n).sum(axis=1))
    inside = sum(float(squared.sum()) for _, squared in clustering.squared_distances())
    return between / inside * (n - k) / (k - 1) if inside > 0 else 1.0


def adjusted_rand_index(one: ArrayLike, other: ArrayLike) -> float:
    """Return the agreement of two clusterings on pairs of rows (Hubert and Arabie 1985).

    Args:
        one, other: int [n], one cluster per row, 0 or more; the cluster numbers need not match.

    Returns:
        1 if they are equal, near 0 for random clusterings; at least -0.5.

    Raises:
        InvalidAssignments: their lengths differ, or they are not integers of at least 0.

    Example:
        >>> from tfkmeans import adjusted_rand_index
        >>> adjusted_rand_index([0, 0, 1, 1], [1, 1, 0, 0])
        1.0
        >>> round(adjusted_rand_index([0, 0, 1, 1], [0, 1, 0, 1]), 3)
        -0.5
    """
    first, second = _check_labels(one), _check_labels(other)
    if len(first) != len(second) or not len(first):
        raise InvalidAssignments(
            f"two clusterings of {len(first)} and {len(second)} rows cannot be compared; "
            "give both of the same rows, one at least"
        )
    n = len(first)
    rows, columns = _renumber(first), _renumber(second)
    cells = np.bincount(_renumber(rows * (columns.max() + 1) + columns))
    # Python integers: products of numbers of pairs exceed int64 from 100,000 rows on.
    together, in_first, in_second = (
        int(np.square(sizes.astype(np.int64)).sum())
        for sizes in (cells, np.bincount(rows), np.bincount(columns))
    )
    both, only_first, only_second = together - n, in_first - together, in_second - together
    neither = n * n - in_first - in_second + together
    if only_first == only_second == 0:
        return 1.0
    pairs = (both + only_first) * (only_first + neither)
    pairs += (both + only_second) * (only_second + neither)
    return 2.0 * (both * neither - only_first * only_second) / pairs


def jaccard_indices(one: ArrayLike, other: ArrayLike) -> Float64:
    """Return the Jaccard index of each cluster with the most similar one of another clustering.

    Args:
        one, other: int [n], one cluster per row, 0 or more; the cluster numbers need not match.

    Returns:
        float64 [k], for each cluster of ``one`` that has a row, in the order of their numbers
        (Hennig 2007): the number of rows in both clusters divided by that in either; 1 if they are
        equal.
    """
    first, second = _renumber(_check_labels(one)), _renumber(_check_labels(other))
    sizes, other_sizes = np.bincount(first), np.bincount(second)
    cells = np.bincount(first * len(other_sizes) + second, minlength=len(sizes) * len(other_sizes))
    both = cells.reshape(len(sizes), len(other_sizes))
    best: Float64 = (both / (sizes[:, None] + other_sizes - both)).max(axis=1)
    return best


def _check_clustering(what: str, points: ArrayLike, assignments: ArrayLike) -> _Clustering:
    check_not_forked()
    rows, given = check_points(points), _check_labels(assignments)
    if len(given) != len(rows):
        raise InvalidAssignments(
            f"assignments have shape {given.shape}; give one per row, shape ({len(rows)},)"
        )
    check_finite(rows)
    labels = _renumber(given)
    sizes = np.bincount(labels)
    if len(sizes) < 2:
        raise UndefinedMeasure(f"{what} needs two clusters; all {len(rows)} rows are of one")
    if len(sizes) == len(rows):
        raise UndefinedMeasure(
            f"{what} needs a cluster of two rows; each of the {len(rows)} is a cluster of its own"
        )
    return _Clustering(rows, labels.astype(np.int32), sizes)


def _check_labels(assignments: ArrayLike) -> NDArray[np.integer]:
    try:
        labels = read_array(assignments, "assignments", "one whole number per row")
    except NoArray as error:
        raise InvalidAssignments(str(error)) from None
    if labels.ndim == 1 and labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.argmax(np.isnan(labels)))
        raise InvalidAssignments(
            f"the assignment of row {row} is missing (nan); give one whole number per row, or "
            "leave such rows out"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "biu":
        raise InvalidAssignments(
            f"assignments have shape {labels.shape} and dtype {labels.dtype}; "
            "give one whole number per row"
        )
    if (labels < 0).any():
        row = int(np.argmax(labels < 0))
        raise InvalidAssignments(
            f"assignments have {labels[row]} in row {row}; the numbers of clusters are 0 or more, "
            "and -1 is the answer for a row that has no cluster: leave such rows out"
        )
    return labels.astype(np.int8) if labels.dtype.kind == "b" else labels


def _renumber(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Renumber the clusters as 0 ... k-1, each with at least one row; int64 [n]."""
    numbers: NDArray[np.int64]
    if labels.max() > 4 * len(labels):
        _, numbers = np.unique(labels, return_inverse=True)
    else:
        # Small numbers need no sorting.
        numbers = (np.cumsum(np.bincount(labels) > 0) - 1)[labels]
    return numbers


def _blocks(n: int, d: int) -> Iterator[tuple[int, int]]:
    return block_ranges(0, n, rows_per_block(2 * d))


def centre_distances(centres: Array) -> Float64:
    """Distances between centres, [k, k]; 0 where they differ only by rounding."""
    centred = centres - centres.mean(axis=0, dtype=np.float64)
    norms = np.square(centred).sum(axis=1)
    both = norms[:, None] + norms
    squared = both - 2 * centred @ centred.T
    return np.sqrt(np.where(squared > 4 * np.finfo(np.float64).eps * both, squared, 0))


def _silhouettes(
    clustering: _Clustering, measured: NDArray[np.int64], module: KMeansModule | None
) -> Float32:
    """The silhouettes of the rows with these ascending numbers, each against all rows."""
    points, labels = clustering.points, clustering.labels
    if module is None:
        rows = enter(points, np.ones(len(points), np.float32), standardize=False).rows
    else:
        rows = place(points, module.shift.numpy(), module.scale.numpy(), module.distance)
    clusters = tf.constant(labels)
    sizes = tf.constant(clustering.sizes.astype(np.float64))
    tiles = (measured[start:stop] for start, stop in block_ranges(0, len(measured), _TILE_ROWS))
    return np.concatenate(
        [
            _silhouettes_in_tile(rows.gather(tile), labels[tile], rows.tensors, clusters, sizes)
            for tile in tiles
        ]
    )


@graph(TABLE, INTS, ROWS_SPEC, INTS, tf.TensorSpec([None], tf.float64))
def _silhouettes_in_tile(
    rows: tf.Tensor, own: tf.Tensor, others: RowTensors, labels: tf.Tensor, sizes: tf.Tensor
) -> tf.Tensor:
    """Silhouettes float32 [m] of rows [m, d] of the clusters ``own`` [m], against all ``others``.

    ``labels`` int32 [n] and ``sizes`` float64 [k] belong to ``others``, which include the rows.
    """
    wide = tf.cast(rows, tf.float64)
    norms = tf.reduce_sum(tf.square(wide), 1)
    k = tf.size(sizes)

    def sum_tile(i: tf.Tensor) -> Contribution:
        start = i * _TILE_OTHERS
        tile = tf.cast(others.block(start, start + _TILE_OTHERS), tf.float64)
        # In float64 the expanded form keeps the precision of float32 for the distance of two rows.
        squared = (
            tf.reduce_sum(tf.square(tile), 1)[:, None]
            - 2.0 * tf.matmul(tile, wide, transpose_b=True)
            + norms
        )
        distance = tf.cast(tf.sqrt(tf.maximum(squared, 0.0)), tf.float32)
        of_tile = tf.math.unsorted_segment_sum(distance, labels[start : start + _TILE_OTHERS], k)
        return [], [tf.cast(of_tile, tf.float64)]

    tiles = (tf.size(labels) + _TILE_OTHERS - 1) // _TILE_OTHERS
    _, (sums,) = loop_blocks(sum_tile, tiles, [], [tf.zeros([k, tf.shape(rows)[0]], tf.float64)])
    infinity = tf.constant(float("inf"), tf.float64)
    is_own = tf.equal(tf.range(k)[:, None], own)
    own_size = tf.gather(sizes, own)
    inner = tf.reduce_sum(tf.where(is_own, sums, tf.zeros_like(sums)), 0) / tf.maximum(
        own_size - 1.0, 1.0
    )
    outer = tf.reduce_min(tf.where(is_own, infinity, sums / sizes[:, None]), 0)
    each = tf.math.divide_no_nan(outer - inner, tf.maximum(inner, outer))
    return tf.cast(tf.where(own_size > 1, each, tf.zeros_like(each)), tf.float32)
