"""``train --device`` and ``--device-memory``."""

import json
from pathlib import Path

import numpy as np
import pytest

from export import load
from serving.cli import main

from ...kmeans_module.problems import blobs


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, blobs(600, 3, 4))
    return path


def train(rows: Path, model: Path, *options: str) -> int:
    command = ["train", str(rows), "--clusters", "4", "--n-init", "1", "--model", str(model)]
    return main([*command, *options])


def test_a_version_has_the_same_centroids_from_a_device(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(rows, tmp_path / "cores", "--device", "CPU") == 0
    assert "steps ran" not in capsys.readouterr().err
    options = ("--device", " /device:CPU:0", "--device-memory", "40KB")
    assert train(rows, tmp_path / "device", *options) == 0
    said = capsys.readouterr().err
    assert "the steps ran on /CPU:0\n" in said
    assert "the rows did not fit in its memory, and were copied in blocks in each step" in said
    ours, theirs = (load(str(tmp_path / name)).decode().centroid for name in ("device", "cores"))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("device", "taken"), [("auto", ("plain", "cpu")), ("/CPU:0", ("device", "/CPU:0"))]
)
def test_json_says_what_took_the_steps_and_where(
    device: str,
    taken: tuple[str, str],
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(rows, tmp_path / "model", "--device", device, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["engine"], told["device"]) == taken


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("gpu",), "--device gpu: not found; TensorFlow sees /CPU:0; give one of"),
        (("/GPU:1",), "--device /GPU:1: not found; TensorFlow sees /CPU:0; give"),
        (
            ("tpu",),
            "unknown device 'tpu'; give 'auto', 'cpu', 'gpu', or a name such as '/GPU:1'",
        ),
        (("/CPU:0, /CPU:7",), "--device /CPU:0,/CPU:7: not found; TensorFlow sees"),
        (("cpu", "--device-memory", "1MB"), "--device-memory 1.0 MB: conflicts with --device cpu"),
        (("/CPU:0,/CPU:0",), "names a device twice; name each once"),
        (
            ("/CPU:0", "--device-memory", "1KB"),
            "--device-memory is 1000, and a block of rows of 3 features and 4 clusters needs ",
        ),
    ],
)
def test_a_device_that_cannot_be_is_one_line_and_exit_code_2(
    options: tuple[str, ...],
    line: str,
    rows: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(rows, tmp_path / "model", "--device", *options) == 2
    said = capsys.readouterr().err
    assert line in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "model").exists()
