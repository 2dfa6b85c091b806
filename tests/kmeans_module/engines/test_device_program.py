"""The step of a device as a file (`benchmarks.device_step`)."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["run", "nothing"], "nothing has no step.mlir; write it by export"),
        (["run", "here"], "this Python has no JAX, which runs the program; install jax"),
        (["export", "new", "--rows", "0"], "argument --rows: 0 is below 1"),
        (["export", "new", "--rows", "1000"], "argument --rows: 1000 is no power of two"),
        (["export", "new", "--clusters", "0"], "argument --clusters: 0 is below 1"),
    ],
)
def test_what_the_script_cannot_do_is_one_line(
    command: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    for name in ("step.mlir", "step.json"):
        (tmp_path / "here" / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["device_step", *command])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit) as caught:
        script.main()
    assert caught.value.code == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
