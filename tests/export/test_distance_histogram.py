"""Quantiles from counts, against NumPy's of the distances themselves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from export.distance_histogram import DistanceHistogram
from export.model_card import QUANTILES


def _rows(distance: NDArray[np.float64], n_clusters: int, parts: int) -> DistanceHistogram:
    histogram = DistanceHistogram(n_clusters)
    index = np.arange(len(distance), dtype=np.int32) % n_clusters
    for block in np.array_split(np.arange(len(distance)), parts):
        histogram.add(index[block], distance[block].astype(np.float32))
    return histogram


@pytest.mark.parametrize(
    "spread", [lambda rng: rng.uniform(size=9_000), lambda rng: rng.lognormal(0, 8, 9_000)]
)
def test_quantiles_are_within_0_2_percent_and_the_extremes_exact(spread: object) -> None:
    rng = np.random.default_rng(3)
    distance = spread(rng)  # type: ignore[operator]
    histogram = _rows(distance, 3, 5)
    cut = distance.astype(np.float32).astype(np.float64)
    pairs = [(histogram.quantiles(), cut)]
    pairs += zip(histogram.cluster_quantiles(), (cut[i::3] for i in range(3)), strict=True)
    for found, own in pairs:
        wanted = np.quantile(own, list(QUANTILES.values()))
        np.testing.assert_allclose([found[name] for name in QUANTILES], wanted, rtol=2e-3)
        assert (found["0"], found["1"]) == (own.min(), own.max())
    assert histogram.sizes.tolist() == [3_000] * 3


def test_quantiles_do_not_depend_on_the_blocks() -> None:
    distance = np.random.default_rng(4).gamma(2.0, size=1_000)
    one, many = _rows(distance, 7, 1), _rows(distance, 7, 90)
    assert one.quantiles() == many.quantiles()
    assert one.cluster_quantiles() == many.cluster_quantiles()


def test_between_two_rows_a_quantile_lies_where_numpy_puts_it() -> None:
    histogram = DistanceHistogram(3)
    histogram.add(np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 0.0], np.float32))
    first, empty, last = histogram.cluster_quantiles()
    assert first["0.25"] == pytest.approx(1.5, rel=2e-3)
    assert first["0.5"] == pytest.approx(2.0, rel=2e-3)
    assert empty == {}
    assert set(last.values()) == {0.0}
