"""The health service and the reflection of gRPC, as probes and grpcurl ask them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from serving.embedded import EmbeddedServer
from tests.serving.embedded.tiny_models import write_multiplier

_TIMEOUT = 20
_HEALTH = "grpc.health.v1.Health"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a model of one version."""
    base = tmp_path_factory.mktemp("models") / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


@pytest.fixture(scope="module", params=[True, False], ids=["with health", "without health"])
def channel(base: Path, request: Any) -> Iterator[grpc.Channel]:
    """A channel to a server with the health service or without it."""
    with (
        EmbeddedServer(
            model_name="m",
            model_base_path=base,
            rest_api_port=0,
            enable_grpc_healthcheck_service=request.param,
        ) as server,
        grpc.insecure_channel(str(server.grpc_address)) as opened,
    ):
        with_health: Any = opened
        with_health.has_health = request.param
        yield opened


def _status(channel: grpc.Channel, service: str) -> str:
    request = health_pb2.HealthCheckRequest(service=service)
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@pytest.mark.parametrize("service", ["", "ModelService", "PredictionService"])
def test_what_probes_ask_for_is_healthy(channel: Any, service: str) -> None:
    assert _status(channel, service) == ("SERVING" if channel.has_health else "UNIMPLEMENTED")


def test_another_service_is_unknown(channel: Any) -> None:
    name = "tensorflow.serving.PredictionService"
    assert _status(channel, name) == ("NOT_FOUND" if channel.has_health else "UNIMPLEMENTED")


def test_the_services_are_listed(channel: Any) -> None:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=_TIMEOUT)
    listed = {service.name for service in answer.list_services_response.service}
    assert listed == {
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
        "grpc.reflection.v1alpha.ServerReflection",
        *([_HEALTH] if channel.has_health else []),
    }


def test_a_method_can_be_called_by_its_name_alone(channel: Any) -> None:
    """As grpcurl does: the messages come from the server, whole with all that they need."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service: Any = pool.FindServiceByName("tensorflow.serving.PredictionService")
    predict = service.FindMethodByName("Predict")
    inputs = predict.input_type.fields_by_name["inputs"].message_type
    assert inputs.fields_by_name["value"].message_type.full_name == "tensorflow.TensorProto"
