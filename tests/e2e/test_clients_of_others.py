"""Clients that are not ours, against the server: curl for REST, the official stubs for gRPC."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kmeans_module import KMeansModule
from kmeans_module.contract import SIGNATURES
from serving import GrpcClient
from serving.embedded import EmbeddedServer

POINTS = np.random.default_rng(1).normal(scale=3, size=(20, 2)).astype(np.float32)
POINTS[3, 0] = np.nan


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    from export.candidate import write_saved_model

    folder = tmp_path_factory.mktemp("others") / "customers"
    centroids = np.array([[0, 0], [4, 0], [0, 4]], np.float32)
    module = KMeansModule(centroids, np.zeros(2, np.float32), np.ones(2, np.float32))
    write_saved_model(folder / "1", module)
    with EmbeddedServer(model_name="customers", model_base_path=folder) as running:
        yield running


@pytest.fixture(scope="module")
def expected(server: EmbeddedServer) -> Any:
    assert server.grpc_address is not None
    with GrpcClient(server.grpc_address, "customers", timeout=60) as client:
        return client.assign(POINTS)


def curl(server: EmbeddedServer, path: str, *arguments: str, body: bytes = b"") -> Any:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    options = ("--silent", "--show-error", "--fail-with-body", "--max-time", "60")
    process = subprocess.run(
        [program, *options, *arguments, f"http://{server.rest_address}/v1/models/customers{path}"],
        input=body,
        capture_output=True,
        check=False,
        timeout=90,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return json.loads(process.stdout)


def test_curl_is_told_status_and_metadata(server: EmbeddedServer) -> None:
    (status,) = curl(server, "")["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "AVAILABLE")
    declared = curl(server, "/metadata")["metadata"]["signature_def"]["signature_def"]
    assert set(SIGNATURES) <= set(declared)


@pytest.mark.parametrize("zipped", [False, True])
def test_curl_is_answered_as_our_client_is(
    server: EmbeddedServer, expected: Any, zipped: bool
) -> None:
    import gzip

    body = json.dumps({"signature_name": "assign", "inputs": {"points": POINTS.tolist()}}).encode()
    headers = ["--header", "Content-Encoding: gzip"] if zipped else []
    sent = gzip.compress(body) if zipped else body
    answer = curl(server, ":predict", *headers, "--data-binary", "@-", body=sent)["outputs"]
    assert answer["cluster_index"] == expected.cluster_index.tolist()
    np.testing.assert_allclose(answer["distance"], expected.distance, rtol=1e-6)


def test_the_official_stubs_are_answered_as_our_client_is(
    server: EmbeddedServer, expected: Any
) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "customers"
    request.model_spec.signature_name = "assign"
    request.inputs["points"].CopyFrom(tf.make_tensor_proto(POINTS))
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request, 60)
    assert answer.model_spec.version.value == expected.version == 1
    np.testing.assert_array_equal(
        tf.make_ndarray(answer.outputs["cluster_index"]), expected.cluster_index
    )
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["distance"]), expected.distance)


def test_the_official_stubs_are_told_status_and_metadata(server: EmbeddedServer) -> None:
    status_request = get_model_status_pb2.GetModelStatusRequest()
    status_request.model_spec.name = "customers"
    metadata_request = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata_request.model_spec.name = "customers"
    metadata_request.metadata_field.append("signature_def")
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status_request, 60)
        metadata = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(
            metadata_request, 60
        )
    (version,) = status.model_version_status
    assert (version.version, version.state) == (1, 30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    metadata.metadata["signature_def"].Unpack(signatures)
    assert set(SIGNATURES) <= set(signatures.signature_def)
