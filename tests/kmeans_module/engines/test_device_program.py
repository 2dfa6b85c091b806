"""The step of a device as a file (`benchmarks.device_step`)."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import device_step as script
from kmeans_module.engines.device_step import BlockShape, DeviceRows, device_step


def test_the_program_is_small_for_any_number_of_rows_and_names_no_place(tmp_path: Path) -> None:
    for rows in (2**12, 2**20):
        script.export(tmp_path / str(rows), rows, 16, 64, "GPU")
    small, large = ((tmp_path / str(rows) / "step.mlir").read_text() for rows in (2**12, 2**20))
    assert len(large) < 1.05 * len(small) < 200_000
    assert "loc(" not in large
    assert ".py" not in large
    assert "precision = [HIGHEST, HIGHEST]" in large


def test_the_step_sums_what_numpy_sums_for_the_programs_arguments() -> None:
    m, d, k = 1024, 5, 7
    rows = np.random.default_rng(0).standard_normal((m, d), dtype=np.float32)
    centroids = rows[:k].copy()
    given = [tf.constant(each) for each in script.arguments(rows, centroids, script.no_sums(d, k))]
    step = device_step(BlockShape(m, d, k, 1, 256))
    index, sums, weights, has_changed, _, undecided = step(DeviceRows(*given[:4]), *given[4:])
    nearest, expected, masses = script.reference(rows, centroids)
    assert has_changed
    assert undecided == 0
    np.testing.assert_array_equal(index, nearest)
    np.testing.assert_array_equal(sums[0], expected)
    np.testing.assert_array_equal(weights[0, :, 0], masses)
