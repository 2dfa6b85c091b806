"""The warm-up file, read with TensorFlow Serving's own messages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow_serving.apis import prediction_log_pb2

from export import warmup


def _official(version_directory: Path) -> list[Any]:
    path = str(version_directory / "assets.extra" / "tf_serving_warmup_requests")
    return [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(path)
    ]


@pytest.fixture(scope="module")
def logs(candidate: Path) -> list[Any]:
    return _official(candidate)


def test_the_official_messages_read_each_signature_at_each_batch_size(
    logs: list[Any], points: NDArray[np.float32]
) -> None:
    seen = set()
    training_rows = set(map(tuple, points.tolist()))
    for log in logs:
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "blobs"
        assert request.inputs.keys() == {"points"}
        assert request.inputs["points"].tensor_content
        rows = tf.make_ndarray(request.inputs["points"])
        assert rows.dtype == np.float32
        assert set(map(tuple, rows.tolist())) <= training_rows
        seen.add((request.model_spec.signature_name, len(rows)))
    assert seen == {
        (signature, size) for signature in ("assign", "score", "transform") for size in (1, 32, 512)
    }


def test_a_server_with_batching_and_no_parameters_takes_every_record(logs: list[Any]) -> None:
    default_max_batch_size = 1000  # of TensorFlow Serving's session_bundle_config
    for log in logs:
        (points,) = log.predict_log.request.inputs.values()
        assert points.tensor_shape.dim[0].size <= default_max_batch_size


def test_every_record_runs_on_the_model(logs: list[Any], candidate: Path) -> None:
    signatures = tf.saved_model.load(str(candidate)).signatures
    for log in logs:
        request = log.predict_log.request
        rows = tf.make_ndarray(request.inputs["points"])
        outputs = signatures[request.model_spec.signature_name](points=tf.constant(rows))
        for output in outputs.values():
            assert len(output) == len(rows)
            assert np.isfinite(output.numpy()).all()


def test_few_rows_are_repeated_and_a_nameless_model_has_an_empty_name(tmp_path: Path) -> None:
    rows = np.array([[1.0], [2.0]])  # float64: what is served is float32
    warmup.write(tmp_path, rows, model=None)
    largest = _official(tmp_path)[-1].predict_log.request
    assert largest.model_spec.name == ""
    sent = tf.make_ndarray(largest.inputs["points"])
    assert sent.shape == (512, 1)
    assert set(sent.ravel().tolist()) == {1.0, 2.0}
