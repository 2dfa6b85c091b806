"""The loop, whoever takes the steps."""

import numpy as np

from kmeans_module.engines.choice import new_engine
from kmeans_module.lloyd import LloydResult, best_of_starts, run
from kmeans_module.model_space import enter
from kmeans_module.weighted_rows import weigh

from .problems import Float32, blobs, distinct_rows


def test_of_equally_good_starts_the_first_is_kept_and_each_is_numbered() -> None:
    points = blobs(300, 3, 4, spread=0.1)
    space = enter(points, np.ones(300, "f4"), standardize=False)
    rows = weigh(space.rows, np.ones(300, "f4"), space.largest)
    start = space.to_model(distinct_rows(points, 4))
    starts = [np.tile(start[:1], (4, 1)), start, start[::-1]]
    inertias: dict[int, float] = {}

    def run_start(number: int, centroids: Float32) -> LloydResult:
        engine = new_engine("plain", rows, 4)
        result = run(engine, centroids, max_iter=1, tolerance=0)
        inertias[number] = result.inertia
        return result

    best = best_of_starts(starts, run_start)
    assert list(inertias) == [1, 2, 3]
    assert inertias[1] > inertias[2] == inertias[3] == best.inertia
    assert best.initial_centroids is starts[1]
