"""Starts of a sample are drawn from some of its rows and compete over all; the best goes on."""

import numpy as np
import pytest

from kmeans_module import RowSource, fit, fit_rows
from kmeans_module.fit_rows import FitRows
from kmeans_module.weighted_rows import WeightedRows

from .problems import blobs


@pytest.fixture
def rows_of_starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """On how many rows each start was drawn, where it is of 30 a cluster."""
    monkeypatch.setattr(fit_rows, "_DRAWING_ROWS", 30)
    drawn: list[int] = []
    draw = FitRows._draw

    def spy(self: FitRows, rows: WeightedRows, start: int) -> np.ndarray:
        drawn.append(rows.n)
        return draw(self, rows, start)

    monkeypatch.setattr(FitRows, "_draw", spy)
    return drawn


def test_starts_are_drawn_from_few_rows_and_end_in_the_same_bytes(
    rows_of_starts: list[int],
) -> None:
    points = blobs(2_000, 4, 6)
    found = [
        fit(given, 6, n_init=4, seed=2, seeding="sample", sample_rows=900)
        for given in (points, RowSource.from_array(points))
    ]
    assert rows_of_starts == 8 * [180]
    assert found[0].initial_centroids.tobytes() == found[1].initial_centroids.tobytes()
    assert found[0].centroids.tobytes() == found[1].centroids.tobytes()
    best = fit(points, 6, n_init=10)
    assert found[0].inertia == pytest.approx(best.inertia, rel=0.01)


def test_the_best_start_goes_on_to_the_end_of_the_fit_of_the_sample(
    rows_of_starts: list[int],
) -> None:
    points = blobs(900, 4, 6)
    # All rows are the sample: where its fit has converged, a fit of all of them has.
    options = {"seeding": "sample", "sample_rows": 900, "n_init": 3, "tol": 0.0}
    result = fit(points, 6, **options)  # type: ignore[arg-type]
    assert rows_of_starts == 3 * [180]
    assert result.n_iter == 1
    np.testing.assert_array_equal(result.initial_centroids, result.centroids)


@pytest.mark.parametrize("n_init", [1, 3])
def test_a_small_sample_and_one_start_take_all_of_it(
    rows_of_starts: list[int], n_init: int
) -> None:
    rows = 900 if n_init == 1 else 719
    fit(blobs(900, 4, 6), 6, n_init=n_init, seeding="sample", sample_rows=rows)
    assert rows_of_starts == n_init * [rows]


def test_where_few_rows_have_too_few_values_all_of_the_sample_is_taken(
    rows_of_starts: list[int],
) -> None:
    points = np.zeros((900, 2), np.float32)
    points[:5] = np.arange(10).reshape(5, 2)
    result = fit(points, 6, n_init=2, seeding="sample", sample_rows=900)
    assert rows_of_starts == 2 * [900]
    assert len(np.unique(result.centroids, axis=0)) == 6
