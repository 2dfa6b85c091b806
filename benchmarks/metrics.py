"""Measure the time of our clustering measures and those of scikit-learn on the same rows.

::

    python -m benchmarks.metrics [--rows N] [--features D] [--clusters K] [--rounds N] [--json FILE]

Both use the same float32 rows and assignments; the calls are interleaved, and the fastest round
counts. It prints seconds, the ratio, and the difference of the two values.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn import metrics as theirs

from kmeans_module import (
    adjusted_rand_index,
    calinski_harabasz,
    davies_bouldin,
    fit,
    silhouette_samples,
)

Measure = Callable[[], float]


def measures(rows: int, features: int, clusters: int) -> dict[str, tuple[Measure, Measure]]:
    """Return by name our measure and that of scikit-learn, as functions without arguments."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(-4, 4, (clusters, features))
    points = centres[rng.integers(clusters, size=rows)] + rng.standard_normal((rows, features))
    points = points.astype(np.float32)
    labels = fit(points, clusters).assignments
    others = fit(points, clusters, seed=1, init="random", max_iter=2).assignments
    assert labels is not None
    assert others is not None
    return {
        "silhouette": (
            lambda: float(silhouette_samples(points, labels).mean()),
            lambda: float(theirs.silhouette_samples(points, labels).mean()),
        ),
        "davies_bouldin": (
            lambda: davies_bouldin(points, labels),
            lambda: float(theirs.davies_bouldin_score(points, labels)),
        ),
        "calinski_harabasz": (
            lambda: calinski_harabasz(points, labels),
            lambda: float(theirs.calinski_harabasz_score(points, labels)),
        ),
        "adjusted_rand_index": (
            lambda: adjusted_rand_index(labels, others),
            lambda: float(theirs.adjusted_rand_score(labels, others)),
        ),
    }


def timed(measure: Measure) -> tuple[float, float]:
    began = time.perf_counter()
    value = measure()
    return time.perf_counter() - began, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = []
    print(f"{given.rows:,} rows of {given.features} features, {given.clusters} clusters")
    print(f"{'measure':<20} {'ours s':>9} {'sklearn s':>9} {'ratio':>6} {'difference':>10}")
    for name, (ours, sklearns) in measures(given.rows, given.features, given.clusters).items():
        ours()  # TensorFlow traces its graph at the first call
        rounds = [(timed(ours), timed(sklearns)) for _ in range(given.rounds)]
        mine = min(each[0][0] for each in rounds)
        other = min(each[1][0] for each in rounds)
        apart = abs(rounds[0][0][1] - rounds[0][1][1]) / max(1.0, abs(rounds[0][1][1]))
        print(f"{name:<20} {mine:>9.4f} {other:>9.4f} {mine / other:>6.2f} {apart:>10.1e}")
        results.append({"measure": name, "ours": mine, "sklearn": other, "difference": apart})
    if given.json is not None:
        given.json.write_text(json.dumps({**vars(given), "json": None, "results": results}))


if __name__ == "__main__":
    main()
