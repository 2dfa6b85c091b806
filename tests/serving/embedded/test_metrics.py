"""The page of metrics: TF Serving's names, types and labels, and what they count."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from prometheus_client import CollectorRegistry
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from serving.embedded import EmbeddedServer, InvalidMonitoringConfig
from serving.embedded.tensor_proto import proto_of
from serving.embedded.warmup import WARMUP_FILE
from tests.conformance.fixture_models import write_fixture_models
from tests.serving.embedded.tiny_models import ask, predict, write_multiplier

pytestmark = pytest.mark.slow

_PAGE = "/monitoring/prometheus/metrics"
_LIMITS = [f"{10 * 1.8**power:.6g}" for power in range(33)] + ["+Inf"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fixture models, and of a multiplier ``m``."""
    root = tmp_path_factory.mktemp("metrics")
    write_fixture_models(root)
    (root / "m").mkdir()
    write_multiplier(root / "m", 1)
    return root


@pytest.fixture
def server(models: Path) -> Iterator[EmbeddedServer]:
    """A server of ``types`` whose metrics are on."""
    monitoring = models / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with EmbeddedServer(
        model_name="types", model_base_path=models / "types", monitoring_config_file=monitoring
    ) as running:
        yield running


def _samples(server: EmbeddedServer) -> dict[str, float]:
    status, text = ask(server.rest_address, "GET", _PAGE)
    assert status == 200
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def _echo(server: EmbeddedServer, name: str = "types") -> Any:
    body = {"signature_name": "echo_float32", "instances": [1.5]}
    return ask(server.rest_address, "POST", f"/v1/models/{name}:predict", body)


def test_the_types_are_tf_servings_and_there_are_no_comments(server: EmbeddedServer) -> None:
    _, text = ask(server.rest_address, "GET", _PAGE)
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# TYPE :tensorflow:serving:model_warmup_latency histogram",
        "# TYPE :tensorflow:serving:model_warmup_records_read counter",
        "# TYPE :tensorflow:serving:request_count counter",
        "# TYPE :tensorflow:serving:request_example_count_total counter",
        "# TYPE :tensorflow:serving:request_example_counts histogram",
        "# TYPE :tensorflow:serving:request_latency histogram",
        "# TYPE :tensorflow:serving:request_log_count counter",
        "# TYPE :tensorflow:serving:runtime_latency histogram",
    ]


def test_the_page_is_plain_text(server: EmbeddedServer) -> None:
    connection = http.client.HTTPConnection(str(server.rest_address), timeout=20)
    connection.request("GET", _PAGE)
    response = connection.getresponse()
    assert (response.status, response.getheader("Content-Type")) == (200, "text/plain")
    connection.close()


def test_rest_requests_are_counted_and_good_ones_measured(server: EmbeddedServer) -> None:
    _echo(server)
    _echo(server)
    _echo(server, "nope")
    ask(server.rest_address, "POST", "/v1/models/types:predict", b"{")
    samples = _samples(server)
    name = ":tensorflow:serving:request_count"
    counts = {key: value for key, value in samples.items() if key.startswith(name)}
    assert counts == {
        f'{name}{{model_name="nope",status="NOT_FOUND"}}': 1,
        f'{name}{{model_name="types",status="INVALID_ARGUMENT"}}': 1,
        f'{name}{{model_name="types",status="OK"}}': 2,
    }
    labels = 'model_name="types",API="predict",entrypoint="REST"'
    assert samples[f":tensorflow:serving:request_latency_count{{{labels}}}"] == 2
    assert samples[f":tensorflow:serving:request_latency_sum{{{labels}}}"] > 0
    labels = 'model_name="types",API="Predict",runtime="TF1"'
    assert samples[f":tensorflow:serving:runtime_latency_count{{{labels}}}"] == 2


def test_the_buckets_are_tf_servings_and_add_up(server: EmbeddedServer) -> None:
    _echo(server)
    _, text = ask(server.rest_address, "GET", _PAGE)
    buckets = re.findall(
        r'^:tensorflow:serving:runtime_latency_bucket\{.*le="(.*)"\} (\d+)$', text, re.M
    )
    assert [limit for limit, _ in buckets] == _LIMITS
    counts = [int(count) for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 1


def test_grpc_requests_and_examples_are_counted(server: EmbeddedServer) -> None:
    assert server.grpc_address is not None
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name, asked.model_spec.signature_name = "types", "echo_float32"
    asked.inputs["x"].CopyFrom(proto_of(np.ones(2, np.float32)))
    classified = classification_pb2.ClassificationRequest()
    classified.model_spec.name, classified.model_spec.signature_name = "types", "classify"
    for _ in range(3):
        example = classified.input.example_list.examples.add()
        example.features.feature["a"].float_list.value.append(1.5)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(asked, timeout=20)
        stub.Classify(classified, timeout=20)
    samples = _samples(server)
    assert samples[':tensorflow:serving:request_count{model_name="types",status="OK"}'] == 2
    for api in ("Predict", "Classify"):
        labels = f'model_name="types",API="{api}",entrypoint="GRPC"'
        assert samples[f":tensorflow:serving:request_latency_count{{{labels}}}"] == 1
    assert samples[':tensorflow:serving:request_example_counts_bucket{model="types",le="2"}'] == 0
    assert samples[':tensorflow:serving:request_example_counts_bucket{model="types",le="4"}'] == 1
    assert samples[':tensorflow:serving:request_example_count_total{model="types"}'] == 3


def test_a_name_cannot_break_the_page(server: EmbeddedServer) -> None:
    status, _ = _raw(server, "/v1/models/a%0A%22b%22%5C%ff")
    assert status == 404
    status, page = _raw(server, _PAGE)
    assert status == 200
    assert rb'{model_name="a\n\"b\"\\' + b"\xff" in page


def _raw(server: EmbeddedServer, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(str(server.rest_address), timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


@pytest.mark.parametrize("query", ["?x=1", "?", "#x"])
def test_a_query_on_the_page_is_refused(server: EmbeddedServer, query: str) -> None:
    assert ask(server.rest_address, "GET", _PAGE + query) == (
        400,
        f"Unexpected path: {_PAGE}{query}. Should be {_PAGE}",
    )


@pytest.mark.parametrize("config", [None, "", "prometheus_config { enable: false }"])
def test_the_page_is_off_unless_it_is_turned_on(
    models: Path, tmp_path: Path, config: str | None
) -> None:
    path = None
    if config is not None:
        path = tmp_path / "monitoring.config"
        path.write_text(config)
    with EmbeddedServer(
        model_name="m", model_base_path=models / "m", monitoring_config_file=path
    ) as server:
        status, text = ask(server.rest_address, "GET", _PAGE)
    assert status == 404
    assert "<H1>Not Found</H1>" in text


def test_the_path_of_the_page_can_be_another(models: Path, tmp_path: Path) -> None:
    config = tmp_path / "monitoring.config"
    config.write_text('prometheus_config { enable: true path: "/metrics" }')
    with EmbeddedServer(
        model_name="m", model_base_path=models / "m", monitoring_config_file=config
    ) as server:
        assert ask(server.rest_address, "GET", "/metrics")[0] == 200
        assert ask(server.rest_address, "GET", _PAGE)[0] == 404


@pytest.mark.parametrize("text", ["prometheus_config {", "enable: true", None])
def test_a_bad_monitoring_config_is_named(models: Path, tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "monitoring.config"
    if text is not None:
        config.write_text(text)
    with pytest.raises(InvalidMonitoringConfig, match=r"monitoring\.config") as caught:
        EmbeddedServer(
            model_name="m", model_base_path=models / "m", monitoring_config_file=config
        ).start()
    assert "\n" not in str(caught.value)


def test_the_metrics_can_be_registered_beside_others(models: Path) -> None:
    registry = CollectorRegistry()
    with EmbeddedServer(model_name="m", model_base_path=models / "m") as server:
        registry.register(server.metrics)
        predict(server.rest_address, "m")
    labels = {"model_name": "m", "status": "OK"}
    assert registry.get_sample_value(":tensorflow:serving:request_count", labels) == 1


def test_the_examples_of_several_tasks_are_counted_once(server: EmbeddedServer) -> None:
    assert server.grpc_address is not None
    asked = inference_pb2.MultiInferenceRequest()
    for method in ("classify", "regress"):
        task = asked.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "types", method
    asked.input.example_list.examples.add().features.feature["a"].float_list.value.append(1.5)
    with grpc.insecure_channel(server.grpc_address) as channel:
        prediction_service_pb2_grpc.PredictionServiceStub(channel).MultiInference(asked, timeout=20)
    samples = _samples(server)
    assert samples[':tensorflow:serving:request_example_count_total{model="types"}'] == 1


def test_the_warm_up_counts_its_records_and_measures_their_runs(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    warmup = write_multiplier(base, 1) / WARMUP_FILE
    warmup.parent.mkdir(exist_ok=True)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(proto_of(np.ones(2, np.float32)))
    with tf.io.TFRecordWriter(str(warmup)) as writer:
        for _ in range(3):
            writer.write(log.SerializeToString())
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with EmbeddedServer(
        model_name="m", model_base_path=base, monitoring_config_file=monitoring
    ) as server:
        predict(server.rest_address, "m")
        samples = _samples(server)
    path = f'model_path="{base}/1",status="OK"'
    assert samples[f":tensorflow:serving:model_warmup_records_read{{{path}}}"] == 3
    assert samples[f":tensorflow:serving:model_warmup_latency_count{{{path}}}"] == 1
    runs = 'model_name="m",API="Predict",runtime="TF1"'
    assert samples[f":tensorflow:serving:runtime_latency_count{{{runs}}}"] == 3 + 1
    # Nobody asked for them.
    assert samples[':tensorflow:serving:request_count{model_name="m",status="OK"}'] == 1
