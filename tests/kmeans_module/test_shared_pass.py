"""Choosing k over the rows of a source: a sample is swept, and one pass measures all rows."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score

from kmeans_module import (
    InvalidParameter,
    InvalidWeights,
    RowSource,
    TooFewDistinctPoints,
    fit,
    select_k,
    simplified_silhouette,
    source_rows,
)
from kmeans_module.shared_pass import measure_centroids
from kmeans_module.source_rows import SourceRows

from .problems import blobs


def test_the_measures_of_each_k_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    points = blobs(900, 3, 4)
    monkeypatch.setattr(source_rows, "_BLOCK_NUMBERS", 3 * 100)
    rows = SourceRows.enter(RowSource.from_array(points), standardize=False, distance="euclidean")
    entered = points - rows.space.shift
    # Where a fit has converged, its centroids are the means that the indices are about.
    fits = [fit(points, k, tol=0, n_init=1) for k in (2, 5)]
    sets = [each.centroids - rows.space.shift for each in fits]
    for result, centroids, found in zip(fits, sets, measure_centroids(rows, sets), strict=True):
        assert found.inertia == pytest.approx(result.inertia, rel=1e-5)
        assert found.simplified_silhouette == pytest.approx(
            simplified_silhouette(entered, centroids), rel=1e-5
        )
        labels = result.assignments
        wanted = calinski_harabasz_score(entered, labels), davies_bouldin_score(entered, labels)
        given = found.calinski_harabasz, found.davies_bouldin
        assert given == pytest.approx(wanted, rel=1e-4)


def test_an_empty_cluster_leaves_the_indices_undefined() -> None:
    points = blobs(200, 3, 4)
    rows = SourceRows.enter(RowSource.from_array(points), standardize=False, distance="euclidean")
    far = np.array([[0, 0, 0], [1e4, 1e4, 1e4]], np.float32)
    (found,) = measure_centroids(rows, [far])
    assert found.davies_bouldin is found.calinski_harabasz is None
    assert found.inertia > 0


@pytest.mark.slow
def test_a_source_and_an_array_of_rows_that_are_all_sampled_suggest_the_same(
    tmp_path: Path,
) -> None:
    points = blobs(300, 3, 4)
    np.save(tmp_path / "rows.npy", points)
    source = RowSource.from_array(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    ours, theirs = (select_k(given, 3, 5, resamples=2, n_init=2) for given in (source, points))
    assert ours.reason == theirs.reason
    assert (ours.sample_rows, theirs.sample_rows) == (300, None)
    for one, other in zip(ours.measured, theirs.measured, strict=True):
        np.testing.assert_array_equal(one.centroids, other.centroids)
        assert one.silhouette == other.silhouette
        assert one.inertia == pytest.approx(other.inertia, rel=1e-5)
        assert one.davies_bouldin == pytest.approx(other.davies_bouldin, rel=1e-2)


@pytest.mark.slow
def test_a_sample_is_swept_and_all_rows_are_measured() -> None:
    points = blobs(3_000, 3, 4)
    found = select_k(RowSource.from_array(points), 3, 4, resamples=2, n_init=2, sample_rows=500)
    assert (found.suggestion, found.sample_rows) == (4, 500)
    best = select_k(points, 4, 4, resamples=2, n_init=2).measured[0]
    last = found.measured[-1]
    assert best.inertia <= last.inertia < best.inertia * 1.02


def test_what_a_source_cannot_be_asked_is_refused() -> None:
    points = blobs(60, 3, 4)
    with pytest.raises(InvalidWeights, match="select_k measures each row once"):
        select_k(RowSource.from_array(points, np.ones(len(points))), 2, 3)
    with pytest.raises(InvalidParameter, match="all rows of an array are measured"):
        select_k(points, 2, 3, sample_rows=30)
    with pytest.raises(InvalidParameter, match="sample_rows is 2"):
        select_k(RowSource.from_array(points), 2, 3, sample_rows=2)
    points[1:] = points[0]
    with pytest.raises(TooFewDistinctPoints, match="of the 30 rows of the sample") as found:
        select_k(RowSource.from_array(points), 2, 3, sample_rows=30)
    assert found.value.of_sample
