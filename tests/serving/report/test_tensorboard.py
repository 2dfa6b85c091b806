"""What a fit writes for TensorBoard, read by TensorBoard's own readers."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from kmeans_module import FitResult, Progress, fit
from serving.report.errors import ReportNotWritten
from serving.report.tensorboard import TensorBoardLog
from tests.kmeans_module.problems import blobs

POINTS = blobs(300, 3, 4)
NAMES = ("length", "a\tname", "width")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult, list[Progress]]:
    folder = tmp_path_factory.mktemp("logs") / "run"
    told: list[Progress] = []
    with TensorBoardLog(folder) as log:

        def on_iteration(now: Progress) -> None:
            told.append(now)
            log.write_iteration(now)

        result = fit(POINTS, 4, n_init=2, on_iteration=on_iteration)
        assert result.assignments is not None
        log.write_centroids(result, NAMES, np.bincount(result.assignments).tolist())
    return folder, result, told


def scalars(events: EventAccumulator, tag: str) -> tuple[list[int], list[float]]:
    found = events.Tensors(tag)
    return [each.step for each in found], [
        float(tf.make_ndarray(each.tensor_proto)) for each in found
    ]


@pytest.mark.parametrize("start", [1, 2])
def test_each_start_is_a_run_with_its_inertia_shift_and_sizes(
    logged: tuple[Path, FitResult, list[Progress]], start: int
) -> None:
    folder, _, told = logged
    own = [each for each in told if each.start == start]
    events = EventAccumulator(str(folder / f"start_{start}")).Reload()
    steps = list(range(1, len(own) + 1))
    assert len(own) > 1
    for tag in ("inertia", "shift"):
        assert scalars(events, tag)[0] == steps
        expected = [getattr(each, tag) for each in own]
        np.testing.assert_allclose(scalars(events, tag)[1], expected, rtol=1e-6)
    sizes = np.array([scalars(events, f"cluster_size/{cluster}")[1] for cluster in range(4)])
    np.testing.assert_array_equal(sizes.T, [each.cluster_sizes for each in own])
    assert (sizes.sum(axis=0) == 300).all()
    assert [each.step for each in events.Tensors("cluster_sizes")] == steps


def test_the_projector_has_the_centroids_and_a_name_for_each(
    logged: tuple[Path, FitResult, list[Progress]],
) -> None:
    folder, result, _ = logged
    text = (folder / "projector_config.pbtxt").read_text()
    (embedding,) = text_format.Parse(text, ProjectorConfig()).embeddings
    places = np.loadtxt(folder / embedding.tensor_path, delimiter="\t", dtype=np.float32)
    np.testing.assert_array_equal(places, result.module.centroids.numpy())
    header, *lines = (folder / embedding.metadata_path).read_text().splitlines()
    assert header.split("\t") == ["cluster", "rows", "length", "a name", "width"]
    cells = np.array([line.split("\t") for line in lines], float)
    np.testing.assert_array_equal(cells[:, 0], range(4))
    assert result.assignments is not None
    np.testing.assert_array_equal(cells[:, 1], np.bincount(result.assignments))
    np.testing.assert_array_equal(cells[:, 2:].astype("f4"), result.centroids)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with TensorBoardLog(tmp_path / "file") as log, pytest.raises(ReportNotWritten, match="another"):
        log.write_iteration(Progress(1, 1, 1, 1, 1.0, 1.0, np.ones(2)))
