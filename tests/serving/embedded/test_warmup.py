"""A version's warm-up requests run before it serves, and one that fails fails the load."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.embedded import EmbeddedServer, ModelLoadFailed
from serving.embedded.request_monitor import Request
from serving.embedded.servable import Servable
from serving.embedded.status import Code, StatusError
from serving.embedded.tensor_proto import proto_of
from serving.embedded.warmup import WARMUP_FILE, replay_warmup
from tests.serving.embedded.tiny_models import ask, eventually, predict, states, write_multiplier

pytestmark = pytest.mark.slow


def _log(name: str = "x") -> Any:
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs[name].CopyFrom(proto_of(np.ones(2, np.float32)))
    return log


def _write(version: Path, *logs: Any) -> Path:
    path = version / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return path


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The folder of version 1 of a multiplier."""
    base = tmp_path / "m"
    base.mkdir()
    return write_multiplier(base, 1)


def test_every_record_runs(version: Path) -> None:
    servable = Servable("m", 1, str(version))
    assert replay_warmup(servable, str(version), Request("warmup")) == 0
    _write(version, _log(), prediction_log_pb2.PredictionLog(), _log())
    assert replay_warmup(servable, str(version), Request("warmup")) == 3
    servable.close()


def test_a_server_warms_up_and_serves(version: Path) -> None:
    _write(version, _log())
    with EmbeddedServer(model_name="m", model_base_path=version.parent) as server:
        assert predict(server.rest_address, "m") == 1


def test_a_failing_record_fails_the_load(version: Path) -> None:
    _write(version, _log(), _log("y"))
    with pytest.raises(ModelLoadFailed, match="Signature input alias: x"):
        EmbeddedServer(
            model_name="m", model_base_path=version.parent, max_num_load_retries=0
        ).start()


def test_a_new_version_whose_warmup_fails_ends_and_the_old_one_serves_on(version: Path) -> None:
    base = version.parent
    with EmbeddedServer(
        model_name="m",
        model_base_path=base,
        file_system_poll_wait_seconds=0.05,
        max_num_load_retries=0,
    ) as server:
        aside_base = base.parent / "aside"
        aside_base.mkdir()
        aside = write_multiplier(aside_base, 2)
        _write(aside, _log("y"))
        aside.rename(base / "2")
        now = eventually(lambda: states(server.rest_address, "m"), lambda s: s.get(2) == "END")
        assert now == {2: "END", 1: "AVAILABLE"}
        assert "Signature input alias: x" in ask(server.rest_address, "GET", "/v1/models/m")[1]
        assert predict(server.rest_address, "m") == 1


def _refusal(version: Path) -> StatusError:
    servable = Servable("m", 1, str(version))
    try:
        with pytest.raises(StatusError) as caught:
            replay_warmup(servable, str(version), Request("warmup"))
        return caught.value
    finally:
        servable.close()


def test_a_broken_file_is_data_loss(version: Path) -> None:
    path = _write(version, _log())
    path.write_bytes(path.read_bytes()[:-3])
    assert _refusal(version).code is Code.DATA_LOSS


def test_more_than_1000_records_are_refused(version: Path) -> None:
    _write(version, *[prediction_log_pb2.PredictionLog()] * 1001)
    assert "exceeds the maximum (1000)" in _refusal(version).message


def test_a_kind_without_warm_up_is_unimplemented(version: Path) -> None:
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.request.model_spec.name = "m"
    _write(version, log)
    assert _refusal(version).code is Code.UNIMPLEMENTED
