"""A call of many rows goes in parts, and what comes back is as if it had gone whole."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kmeans_module.contract import SIGNATURES
from serving import (
    DeadlineExceeded,
    GrpcClient,
    InvalidInput,
    Limits,
    ModelNotFound,
    ResourceExhausted,
    RestClient,
    ServerError,
    ServerUnavailable,
)

from ..fake_servers import Failure, FakeGrpcServer, FakeServer
from .conftest import Wire

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

RANDOM = np.random.default_rng(11)
POINTS = RANDOM.normal(scale=8, size=(1000, 2)).astype(np.float32)
POINTS[::7, 0] = np.nan
INPUTS: dict[str, dict[str, Any]] = {
    "assign": {"points": POINTS},
    "score": {"points": POINTS},
    "transform": {"points": POINTS},
    "decode": {"cluster_index": RANDOM.integers(0, 3, 1000).astype(np.int32)},
    "fit_step": {
        "points": RANDOM.normal(size=(30, 20, 2)).astype(np.float32),
        "sample_weight": RANDOM.uniform(size=(30, 20)).astype(np.float32),
        "centroids": RANDOM.normal(size=(30, 4, 2)).astype(np.float32),
    },
}


@pytest.mark.parametrize("method", INPUTS)
@pytest.mark.parametrize("limits", [Limits(rows=7, in_flight=3), Limits(message_bytes=8192)])
def test_parts_are_put_together_in_order(
    connect: Callable[..., Client], server: FakeServer, method: str, limits: Limits
) -> None:
    answer = getattr(connect(limits=limits), method)(**INPUTS[method], timeout=60)
    assert server.predicts() >= 2 or (method, limits.rows) == ("decode", 65_536)
    expected = server.model.answer(method, INPUTS[method])
    for tensor in SIGNATURES[method].outputs:
        np.testing.assert_array_equal(getattr(answer, tensor.name), expected[tensor.name])


def test_no_request_has_more_rows_than_the_limit(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    connect(limits=Limits(rows=300)).assign(POINTS)
    assert server.predicts() == 4
    assert max(server.rows) == 300
    assert sum(server.rows) == 1000


def test_no_request_is_larger_than_the_limit(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    connect(limits=Limits(message_bytes=20_000)).transform(RANDOM.normal(size=(20_000, 2)))
    assert server.predicts() > 1
    assert max(server.request_bytes) <= 20_000


def test_no_more_parts_are_under_way_than_the_limit(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=50, in_flight=3), version=2)
    client.assign(POINTS[:1])
    server.calls.clear()
    server.gate.clear()
    asking = threading.Thread(target=client.assign, args=(POINTS,), kwargs={"timeout": 60})
    asking.start()
    server.wait_until(lambda: server.predicts() == 3)
    server.gate.set()
    asking.join(60)
    assert server.predicts() == 20
    assert server.most_at_once <= 3


def test_all_parts_ask_one_version_though_a_new_one_comes_meanwhile(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100, in_flight=1))
    client.assign(POINTS[:1])
    server.change_answer = _and_then(lambda: server.model.states.update({3: "AVAILABLE"}))
    answer = client.assign(POINTS)
    assert answer.version == 2
    assert set(server.versions) == {2}
    assert client.assign(POINTS).version == 3


def test_a_version_that_is_unloaded_between_two_parts_is_followed_by_the_next(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100, in_flight=1))
    client.assign(POINTS[:1])
    server.change_answer = _and_then(lambda: server.model.states.update({3: "AVAILABLE", 2: "END"}))
    answer = client.assign(POINTS)
    assert answer.version == 3
    np.testing.assert_array_equal(
        answer.cluster_index, server.model.answer("assign", {"points": POINTS})["cluster_index"]
    )


def test_a_pinned_version_that_is_unloaded_between_two_parts_is_not_found(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100, in_flight=1), version=2)
    server.change_answer = _and_then(lambda: server.model.states.update({2: "END"}))
    with pytest.raises(ModelNotFound):
        client.assign(POINTS)


def _and_then(act: Callable[[], object]) -> Callable[[Any], Any]:
    def change(outputs: Any) -> Any:
        act()
        return outputs

    return change


@pytest.mark.parametrize(
    ("code", "expected"), [("INTERNAL", ServerError), ("RESOURCE_EXHAUSTED", ResourceExhausted)]
)
def test_a_part_that_fails_fails_the_call(
    connect: Callable[..., Client], server: FakeServer, code: str, expected: type[Exception]
) -> None:
    client = connect(limits=Limits(rows=10))
    client.assign(POINTS[:1])
    server.change_answer = _and_then(lambda: server.failures.append(Failure(code, "broken")))
    with pytest.raises(expected, match="broken"):
        client.assign(POINTS)
    server.failures.clear()
    assert server.predicts() < 100


def test_a_part_that_finds_a_full_queue_is_asked_again(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100))
    client.assign(POINTS[:1])
    server.calls.clear()
    server.failures.extend([Failure("UNAVAILABLE", "the queue is full")] * 3)
    answer = client.assign(POINTS)
    np.testing.assert_array_equal(
        answer.cluster_index, server.model.answer("assign", {"points": POINTS})["cluster_index"]
    )
    assert len(server.calls) == 1 + 10 + 3  # the version, the parts, and once more for each failure


def test_a_queue_that_stays_full_is_server_unavailable(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=100))
    client.assign(POINTS[:1])
    server.failures.extend([Failure("UNAVAILABLE", "the queue is full")] * 99)
    with pytest.raises(ServerUnavailable, match="the queue is full"):
        client.assign(POINTS)


def test_one_deadline_is_for_all_parts(connect: Callable[..., Client], server: FakeServer) -> None:
    client = connect(limits=Limits(rows=10, in_flight=1))
    client.assign(POINTS[:1])
    server.gate.clear()
    with pytest.raises(DeadlineExceeded):
        client.assign(POINTS, timeout=0.3)
    server.gate.set()


def test_parts_of_different_versions_are_no_answer() -> None:
    with (
        FakeGrpcServer() as server,
        GrpcClient(server.address, "customers", limits=Limits(rows=500, in_flight=1)) as client,
    ):
        server.failures.append(Failure("PERMISSION_DENIED", "only Predict may pass"))
        server.change_answer = _and_then(lambda: server.model.states.update({3: "AVAILABLE"}))
        with pytest.raises(ServerError, match="by the versions 2 and 3"):
            client.assign(POINTS)


def test_an_answer_larger_than_the_limit_is_resource_exhausted(
    wire: Wire, server: FakeServer
) -> None:
    limits = Limits(answer_bytes=100_000)
    with wire.client(server.address, "customers", limits=limits) as client:
        assert client.transform(POINTS[:10]).all_distances.shape == (10, 3)
        server.change_answer = lambda outputs: {
            name: np.repeat(array, 40, axis=1) for name, array in outputs.items()
        }
        with pytest.raises(ResourceExhausted, match=r"(?i)larger than.*answer_bytes"):
            client.transform(POINTS)


@pytest.mark.parametrize(
    "limits",
    [
        {"rows": 0},
        {"rows": True},
        {"message_bytes": 100},
        {"in_flight": 0},
        {"answer_bytes": 2**31},
    ],
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(InvalidInput, match=f"{name}=.* is not a limit"):
        Limits(**limits)
