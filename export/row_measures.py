"""The measures of the rows of a fit in a card: exact in memory, in one pass for a source.

All is measured through the module's own signatures, block by block.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module import (
    KMeansModule,
    RowSource,
    UndefinedMeasure,
    silhouette,
    silhouette_samples,
)
from kmeans_module.blocks import block_ranges, rows_per_block
from kmeans_module.cores import one_ahead
from kmeans_module.quiet_tensorflow import tf
from kmeans_module.row_sample import draw_sample

from .distance_histogram import DistanceHistogram
from .errors import InvalidCandidate
from .model_card import MOST_PROFILES, QUANTILES, Silhouette

#: Numbers in a block of rows: 16 MiB of float32.
_BLOCK_NUMBERS: Final = 2**22

#: How the silhouette of a source is called: each row of a sample beside the others of the sample.
_OF_SAMPLE: Final = "silhouette within a uniform sample"


@dataclass(frozen=True, eq=False)
class RowMeasures:
    """The measures of rows in a card.

    Attributes:
        fingerprint: see `fingerprint`.
        weight: of all rows.
        inertia: by the answers of the model, float32.
        largest: float64 [d], the largest |x| of each column.
        assignments: int32 [n] by the model; None where nothing is kept of a row.
        sizes: int64 [k], the rows of each cluster.
        distance_quantiles: of all rows.
        cluster_quantiles: of each cluster; none of too many clusters.
        silhouette: of all rows or of some.
    """

    fingerprint: str
    weight: float
    inertia: float
    largest: NDArray[np.float64]
    assignments: NDArray[np.int32] | None
    sizes: NDArray[np.int64]
    distance_quantiles: Mapping[str, float]
    cluster_quantiles: Sequence[Mapping[str, float]]
    silhouette: Silhouette


def measure_array(
    points: NDArray[Any],
    weight: NDArray[np.float32] | None,
    module: KMeansModule,
    feature_names: Sequence[str],
    *,
    silhouette_rows: int,
    seed: int,
) -> RowMeasures:
    """Measure points [n, d] in memory. Raises InvalidCandidate."""
    answers = [_assign(module, block, first) for first, block in _blocks(points)]
    cluster_index, distance = (np.concatenate(each) for each in zip(*answers, strict=True))
    weights = np.ones(len(points)) if weight is None else weight.astype(np.float64)
    sizes = np.bincount(cluster_index, minlength=module.n_clusters)
    return RowMeasures(
        fingerprint=fingerprint(points, feature_names),
        weight=float(weights.sum()),
        inertia=float(np.square(distance, dtype=np.float64) @ weights),
        largest=_largest(points),
        assignments=cluster_index,
        sizes=sizes,
        distance_quantiles=_quantiles(distance),
        cluster_quantiles=_cluster_quantiles(cluster_index, distance, sizes),
        silhouette=_silhouette(points, cluster_index, module, silhouette_rows, seed),
    )


def measure_source(
    source: RowSource,
    module: KMeansModule,
    feature_names: Sequence[str],
    *,
    silhouette_rows: int,
    seed: int,
) -> RowMeasures:
    """Measure the rows of a source, which are read once, and a sample of them.

    Distance quantiles are off by 0.2% at most. Raises InvalidCandidate.
    """
    k, (n, d) = module.n_clusters, source.shape
    digest, largest = _new_digest(feature_names), np.zeros(d)
    total = inertia = 0.0
    has_profiles = k <= MOST_PROFILES
    sizes, histogram = np.zeros(k, np.int64), DistanceHistogram(k if has_profiles else 1)

    def read(first: int, last: int) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        return first, _to_float32(source[first:last]), source.weights[first:last]

    ranges = list(block_ranges(0, n, rows_per_block(d, _BLOCK_NUMBERS)))
    for first, block, weight in one_ahead(read, ranges):
        _add_rows(digest, block)
        largest = np.maximum(largest, _largest(block))
        cluster_index, distance = _assign(module, block, first)
        total += float(weight.sum(dtype=np.float64))
        inertia += float(np.square(distance, dtype=np.float64) @ weight.astype(np.float64))
        sizes += np.bincount(cluster_index, minlength=k)
        histogram.add(cluster_index if has_profiles else np.zeros_like(cluster_index), distance)
    return RowMeasures(
        fingerprint=digest.hexdigest(),
        weight=total,
        inertia=inertia,
        largest=largest,
        assignments=None,
        sizes=sizes,
        distance_quantiles=histogram.quantiles(),
        cluster_quantiles=histogram.cluster_quantiles() if has_profiles else (),
        silhouette=_silhouette_of_sample(source, module, silhouette_rows, seed),
    )


def fingerprint(points: NDArray[Any] | RowSource, feature_names: Sequence[str]) -> str:
    """SHA-256 over the names, as a JSON list in UTF-8, and the rows.

    The rows of ``points`` [n, d] count as little-endian float32, row by row; their order matters.
    A source is read once.
    """
    digest = _new_digest(feature_names)
    for _, block in _blocks(points):
        _add_rows(digest, block)
    return str(digest.hexdigest())


def sample_numbers(n: int, count: int, seed: int) -> NDArray[np.int64]:
    """The numbers of ``count`` of n rows, drawn as the sample of a fit is, in their order."""
    return draw_sample(np.broadcast_to(np.float32(1), n), count, seed).numbers


def take_rows(source: RowSource, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The rows of these numbers, which rise: float32 [m, d]."""
    return _to_float32(source.take(numbers))


def _new_digest(feature_names: Sequence[str]) -> Any:
    return hashlib.sha256(json.dumps(list(feature_names), ensure_ascii=False).encode())


def _add_rows(digest: Any, block: NDArray[np.float32]) -> None:
    digest.update(block.astype("<f4", order="C", copy=False).data)


def _blocks(points: NDArray[Any] | RowSource) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The rows as float32, and the number of the first of each block."""
    for start, stop in block_ranges(
        0, len(points), rows_per_block(points.shape[1], _BLOCK_NUMBERS)
    ):
        yield start, _to_float32(points[start:stop])


def _to_float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return rows.astype(np.float32, copy=False)


def _assign(
    module: KMeansModule, block: NDArray[np.float32], first: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The clusters and distances of rows, of which the first has this number.

    Raises InvalidCandidate for a row that the model does not answer.
    """
    answer = module.assign(tf.constant(block))
    cluster_index, distance = answer["cluster_index"].numpy(), answer["distance"].numpy()
    if len(cluster_index) and cluster_index.min() < 0:
        row = first + int(np.argmax(cluster_index < 0))
        raise InvalidCandidate(
            f"points hold row {row}, which the model does not answer, for its numbers or their "
            "squares are beyond float32: leave such rows out of the fit"
        )
    return cluster_index, distance


def _largest(points: NDArray[Any]) -> NDArray[np.float64]:
    # By the extremes: np.abs of the points would be a second table.
    high, low = points.max(axis=0).astype(np.float64), points.min(axis=0).astype(np.float64)
    largest: NDArray[np.float64] = np.maximum(high, -low)
    return largest


def _quantiles(distances: NDArray[np.float32]) -> Mapping[str, float]:
    if not len(distances):
        return {}
    values = np.quantile(distances.astype(np.float64), list(QUANTILES.values()))
    return dict(zip(QUANTILES, values.tolist(), strict=True))


def _cluster_quantiles(
    cluster_index: NDArray[np.int32], distance: NDArray[np.float32], sizes: NDArray[np.int64]
) -> Sequence[Mapping[str, float]]:
    if len(sizes) > MOST_PROFILES:
        return ()
    by_cluster = distance[np.argsort(cluster_index, kind="stable")]
    return [_quantiles(each) for each in np.split(by_cluster, np.cumsum(sizes)[:-1])]


def _silhouette(
    points: NDArray[Any],
    cluster_index: NDArray[np.int32],
    module: KMeansModule,
    most_rows: int,
    seed: int,
) -> Silhouette:
    try:
        found = silhouette(points, cluster_index, module=module, max_rows=most_rows, seed=seed)
    except UndefinedMeasure:
        return Silhouette(value=None, rows=len(points))
    return Silhouette(found.mean, found.rows, standard_error=found.standard_error)


def _silhouette_of_sample(
    source: RowSource, module: KMeansModule, most_rows: int, seed: int
) -> Silhouette:
    """Return the silhouette of each row of a uniform sample against the others; all rows if few."""
    numbers = sample_numbers(len(source), most_rows, seed)
    rows, n = take_rows(source, numbers), len(source)
    cluster_index, _ = _assign(module, rows, 0)
    if len(rows) == n:
        return _silhouette(rows, cluster_index, module, n, seed)
    try:
        each = silhouette_samples(rows, cluster_index, module=module).astype(np.float64)
    except UndefinedMeasure:
        return Silhouette(value=None, rows=len(rows), kind=_OF_SAMPLE)
    spread = each.std(ddof=1) if len(each) > 1 else 1.0
    error = float(spread * np.sqrt((1 - len(each) / n) / len(each)))
    return Silhouette(float(each.mean()), len(each), kind=_OF_SAMPLE, standard_error=error)
