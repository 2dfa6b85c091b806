"""Both clients against the embedded server, which serves a real export, row for row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_module import KMeansModule
from kmeans_module.contract import SERVING_DEFAULT, SIGNATURES
from serving import (
    DeadlineExceeded,
    GrpcClient,
    InvalidInput,
    ModelNotFound,
    RestClient,
    ServerUnavailable,
    ServingError,
)
from serving.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

K, D = 5, 3
RANDOM = np.random.default_rng(42)
SHIFT = np.array([10, -20, 3000], np.float32)
SCALE = np.array([1, 2, 50], np.float32)
POINTS = (RANDOM.normal(scale=2, size=(300, D)) * SCALE + SHIFT).astype(np.float32)
POINTS[7, 1], POINTS[200, 0] = np.nan, -np.inf
INPUTS: dict[str, dict[str, Any]] = {
    "assign": {"points": POINTS},
    "score": {"points": POINTS},
    "transform": {"points": POINTS},
    "decode": {"cluster_index": np.array([4, 0, 3, 3, 1, 2], np.int32)},
    "fit_step": {
        "points": np.nan_to_num(POINTS, neginf=0).reshape(3, 100, D),
        "sample_weight": RANDOM.uniform(size=(3, 100)).astype(np.float32),
        "centroids": POINTS[10:22].reshape(3, 4, D),
    },
}


@pytest.fixture(scope="module")
def modules() -> dict[int, KMeansModule]:
    """The module of each version."""
    return {
        version: KMeansModule(RANDOM.normal(scale=2, size=(K, D)).astype(np.float32), SHIFT, SCALE)
        for version in (1, 2)
    }


@pytest.fixture(scope="module")
def server(
    modules: dict[int, KMeansModule], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedServer]:
    """Serves both versions, of which the first has the label ``stable``."""
    from export.candidate import write_saved_model

    folder = tmp_path_factory.mktemp("clients")
    for version, module in modules.items():
        write_saved_model(folder / "customers" / str(version), module)
    config = folder / "models.config"
    config.write_text(_config(folder / "customers"))
    with EmbeddedServer(
        model_config_file=config, allow_version_labels_for_unavailable_models=True
    ) as running:
        yield running


def _config(base: Path) -> str:
    return f"""
model_config_list {{
  config {{
    name: "customers"
    base_path: "{base}"
    model_platform: "tensorflow"
    model_version_policy {{ all {{}} }}
    version_labels {{ key: "stable" value: 1 }}
  }}
}}
"""


@pytest.fixture(params=["gRPC", "REST"])
def client(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Client]:
    with _client(request.param, server, "customers") as made:
        yield made


def _client(wire: str, server: EmbeddedServer, model: str) -> Client:
    if wire == "gRPC":
        assert server.grpc_address is not None
        return GrpcClient(server.grpc_address, model, timeout=60)
    assert server.rest_address is not None
    return RestClient(server.rest_address, model, timeout=60)


@pytest.mark.parametrize("asked", [{}, {"version": 1}, {"label": "stable"}])
@pytest.mark.parametrize("method", INPUTS)
def test_answers_are_those_of_the_module_in_this_process(
    client: Client, modules: dict[int, KMeansModule], method: str, asked: dict[str, Any]
) -> None:
    answer = getattr(client, method)(**INPUTS[method], **asked)

    expected = getattr(modules[1 if asked else 2], method)(**INPUTS[method])
    for tensor in SIGNATURES[method].outputs:
        got = getattr(answer, tensor.name)
        assert got.dtype.name == tensor.dtype
        np.testing.assert_allclose(got, expected[tensor.name].numpy(), rtol=1e-6, atol=1e-6)


def test_the_two_wires_give_the_same_bits(server: EmbeddedServer) -> None:
    with _client("gRPC", server, "customers") as one, _client("REST", server, "customers") as two:
        for method, inputs in INPUTS.items():
            over_grpc, over_rest = getattr(one, method)(**inputs), getattr(two, method)(**inputs)
            for tensor in SIGNATURES[method].outputs:
                np.testing.assert_array_equal(
                    getattr(over_grpc, tensor.name), getattr(over_rest, tensor.name)
                )


@pytest.mark.parametrize("method", INPUTS)
def test_no_rows_give_empty_answers(client: Client, method: str) -> None:
    answer = getattr(client, method)(*(array[:0] for array in INPUTS[method].values()))
    sizes = {"n": 0, "b": 0, "d": D, "k": 4 if method == "fit_step" else K}
    for tensor in SIGNATURES[method].outputs:
        got = getattr(answer, tensor.name)
        assert got.shape == tuple(sizes[letter] for letter in tensor.shape)
        assert got.dtype.name == tensor.dtype


def test_problems_without_rows_leave_the_centroids(client: Client) -> None:
    centroids = INPUTS["fit_step"]["centroids"]
    answer = client.fit_step(np.zeros((3, 0, D)), np.zeros((3, 0)), centroids)
    np.testing.assert_allclose(answer.centroids, centroids, rtol=1e-5)
    np.testing.assert_array_equal(answer.counts, np.zeros((3, 4)))
    np.testing.assert_array_equal(answer.inertia, np.zeros(3))


def test_bad_rows_come_back_as_such(client: Client) -> None:
    index = client.assign(POINTS).cluster_index
    np.testing.assert_array_equal(np.flatnonzero(index == -1), [7, 200])


def test_status_and_metadata_tell_the_versions_and_signatures(client: Client) -> None:
    client.wait_until_ready()
    assert [(each.version, each.state, each.error_code) for each in client.status()] == [
        (2, "AVAILABLE", "OK"),
        (1, "AVAILABLE", "OK"),
    ]
    assert [each.version for each in client.status(label="stable")] == [1]
    metadata = client.metadata(label="stable")
    assert metadata.version == 1
    assert set(metadata.signatures) == set(SIGNATURES)
    for name, signature in SIGNATURES.items():
        declared = metadata.signatures[name]
        for tensors, found in (
            (signature.inputs, declared.inputs),
            (signature.outputs, declared.outputs),
        ):
            assert {tensor.name: tensor.dtype for tensor in tensors} == {
                name: tensor.dtype for name, tensor in found.items()
            }
    points = metadata.signatures[SERVING_DEFAULT].inputs["points"]
    assert points.shape == (None, D)


@pytest.mark.parametrize(
    ("method", "inputs", "asked", "expected"),
    [
        ("assign", [np.zeros((2, D + 1))], {}, InvalidInput),
        ("transform", [np.zeros((0, D + 1))], {}, InvalidInput),
        ("decode", [[K]], {}, InvalidInput),
        ("decode", [[-1]], {}, InvalidInput),
        ("assign", [POINTS], {"version": 9}, ModelNotFound),
        ("assign", [POINTS], {"label": "nope"}, ModelNotFound),
    ],
)
def test_a_mistake_is_the_same_error_over_both_wires(
    server: EmbeddedServer,
    method: str,
    inputs: list[Any],
    asked: dict[str, Any],
    expected: type[ServingError],
) -> None:
    for wire in ("gRPC", "REST"):
        with (
            _client(wire, server, "customers") as client,
            pytest.raises(expected) as raised,
        ):
            getattr(client, method)(*inputs, **asked)
        assert "\n" not in str(raised.value)
        assert "'customers'" in str(raised.value)


@pytest.mark.parametrize("wire", ["gRPC", "REST"])
def test_an_unknown_model_is_not_found_and_never_ready(server: EmbeddedServer, wire: str) -> None:
    with _client(wire, server, "nope") as client:
        for call in (lambda: client.assign(POINTS), client.status, client.metadata):
            with pytest.raises(ModelNotFound, match="nope"):
                call()
        with pytest.raises(DeadlineExceeded, match="Could not find any versions of model nope"):
            client.wait_until_ready(0.3)


@pytest.mark.parametrize("wire", ["gRPC", "REST"])
def test_a_stopped_server_is_unavailable(
    modules: dict[int, KMeansModule], tmp_path: Path, wire: str
) -> None:
    from export.candidate import write_saved_model

    write_saved_model(tmp_path / "customers" / "1", modules[1])
    with EmbeddedServer(model_name="customers", model_base_path=tmp_path / "customers") as running:
        client = _client(wire, running, "customers")
        client.assign(POINTS)
    with client, pytest.raises(ServerUnavailable):
        client.assign(POINTS)
