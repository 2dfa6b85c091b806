"""Memory is bounded in n: a fit of a large table holds blocks, not copies."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

FIT = """
import json, resource, sys
import numpy as np
from kmeans_module import fit

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

points = np.random.default_rng(0).standard_normal((1_000_000, 64), dtype=np.float32)
# By the same engine: what the compiler holds does not grow with the data.
fit(points[:2000], 256, init=points[:256], engine="moved", max_iter=12)
before = peak_mib()
found = fit(points, 256, init="random", max_iter=4)
print(json.dumps([found.engine, peak_mib() - before]))
"""


def test_a_fit_of_a_million_rows_needs_less_than_100_mib_beyond_the_data() -> None:
    run = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, check=True)
    engine, mib = json.loads(run.stdout.splitlines()[-1])
    assert engine == "moved"
    assert mib < 100
