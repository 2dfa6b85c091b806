"""A gRPC call is answered whose client sets no deadline, as a stub by itself, or one far off."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.embedded import EmbeddedServer
from tests.conformance.fixture_models import write_fixture_models

pytestmark = pytest.mark.slow

_TYPES = 'config { name: "types" base_path: "%s/types" model_platform: "tensorflow" }'
_EXAMPLE = """
input { example_list { examples { features {
  feature { key: "a" value { float_list { value: 1.5 } } }
} } } }
"""
_POINT = """
model_spec { name: "kmeans" signature_name: "assign" }
inputs { key: "points" value {
  dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: 10 float_val: -3
} }
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the two fixture models, kmeans and types."""
    root: Path = tmp_path_factory.mktemp("without-deadline")
    write_fixture_models(root)
    return root


@pytest.fixture(scope="module")
def channel(root: Path) -> Iterator[grpc.Channel]:
    """A channel to a server of the two models, with the health service."""
    config = root / "models.config"
    config.write_text(f"model_config_list {{ {_configs(root)} }}")
    with (
        EmbeddedServer(
            model_config_file=config, rest_api_port=0, enable_grpc_healthcheck_service=True
        ) as server,
        grpc.insecure_channel(str(server.grpc_address)) as opened,
    ):
        yield opened


def _configs(root: Path) -> str:
    return (_TYPES + _TYPES.replace("types", "kmeans")) % (root, root)


def _predict(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = text_format.Parse(_POINT, predict_pb2.PredictRequest())
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, **timeout)
    return len(answer.outputs) > 0


def _classify(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = text_format.Parse(_EXAMPLE, classification_pb2.ClassificationRequest())
    request.model_spec.name, request.model_spec.signature_name = "types", "classify"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return len(stub.Classify(request, **timeout).result.classifications) == 1


def _regress(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = text_format.Parse(_EXAMPLE, regression_pb2.RegressionRequest())
    request.model_spec.name, request.model_spec.signature_name = "types", "regress"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return len(stub.Regress(request, **timeout).result.regressions) == 1


def _metadata(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "types"}, metadata_field=["signature_def"]
    )
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return "signature_def" in stub.GetModelMetadata(request, **timeout).metadata


def _model_status(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "types"})
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    return len(stub.GetModelStatus(request, **timeout).model_version_status) > 0


def _reload(channel: grpc.Channel, root: Path, **timeout: float) -> bool:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(_configs(root), request.config.model_config_list)
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    answer = stub.HandleReloadConfigRequest(request, **timeout)
    return not answer.status.error_code


def _health(channel: grpc.Channel, _: Path, **timeout: float) -> bool:
    request = health_pb2.HealthCheckRequest()
    answer = health_pb2_grpc.HealthStub(channel).Check(request, **timeout)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("timeout", [{}, {"timeout": 1e9}, {"timeout": 4e9}], ids=str)
@pytest.mark.parametrize(
    "call", [_predict, _classify, _regress, _metadata, _model_status, _reload, _health]
)
def test_a_call_is_answered_without_a_deadline_or_with_one_far_off(
    channel: grpc.Channel, root: Path, call: Callable[..., bool], timeout: dict[str, Any]
) -> None:
    assert call(channel, root, **timeout)
