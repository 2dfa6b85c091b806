"""The loop, whoever takes the steps."""

import numpy as np
import tensorflow as tf

from kmeans_module.engines.choice import new_engine
from kmeans_module.lloyd import Iteration, run_starts
from kmeans_module.model_space import enter

from .problems import blobs, distinct_rows


def test_of_equally_good_starts_the_first_is_kept_and_each_is_numbered() -> None:
    points = blobs(300, 3, 4, spread=0.1)
    space = enter(points, np.ones(300, "f4"), standardize=False)
    start = space.to_model(distinct_rows(points, 4))
    starts = [np.tile(start[:1], (4, 1)), start, start[::-1]]
    seen: list[int] = []

    def record(iteration: Iteration, number: int, start: int) -> None:
        if number == 1:
            seen.append(start)

    best = run_starts(
        lambda: new_engine("plain", space.rows, tf.ones(300), 4),
        starts,
        max_iter=1,
        tolerance=0,
        on_iteration=record,
    )
    assert seen == [1, 2, 3]
    assert best.initial_centroids is starts[1]
    assert best.history[0].inertia < np.inf
