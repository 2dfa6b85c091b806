"""Clients that several event loops share, and clients that go to other threads and processes."""

import asyncio
import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from serving import (
    AsyncGrpcClient,
    AsyncRestClient,
    GrpcClient,
    InvalidInput,
    Limits,
    RestClient,
    ServerError,
    Tls,
)

from ..fake_servers import FakeGrpcServer, FakeRestServer, FakeServer

pytestmark = pytest.mark.slow

POINTS = np.ones((4, 2), np.float32)
ASYNC_KINDS = [(AsyncGrpcClient, FakeGrpcServer), (AsyncRestClient, FakeRestServer)]
SYNC_KINDS = [(GrpcClient, FakeGrpcServer), (RestClient, FakeRestServer)]


@pytest.mark.parametrize(("kind", "start_server"), ASYNC_KINDS)
def test_a_second_event_loop_is_answered_like_the_first(
    kind: Callable[..., Any], start_server: Callable[[], FakeServer]
) -> None:
    with start_server() as server:
        client = kind(server.address, "customers", timeout=10)
        for _ in range(3):
            answer = asyncio.run(client.assign(POINTS))
            assert answer.cluster_index.tolist() == [0] * 4
        asyncio.run(client.close())
        with pytest.raises(InvalidInput, match="this client is closed"):
            asyncio.run(client.assign(POINTS))


@pytest.mark.parametrize(("kind", "start_server"), ASYNC_KINDS)
def test_event_loops_of_several_threads_share_a_client(
    kind: Callable[..., Any], start_server: Callable[[], FakeServer]
) -> None:
    answered: list[int] = []

    async def ask() -> None:
        for _ in range(20):
            answered.append(len((await client.assign(POINTS)).cluster_index))

    with start_server() as server:
        client = kind(server.address, "customers", timeout=20)
        threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        asyncio.run(client.close())
    assert answered == [4] * 80


@pytest.mark.parametrize(("kind", "start_server"), ASYNC_KINDS)
def test_a_call_in_one_loop_ends_when_another_closes_the_client(
    kind: Callable[..., Any], start_server: Callable[[], FakeServer]
) -> None:
    raised: list[BaseException] = []

    async def ask() -> None:
        try:
            await client.assign(POINTS, timeout=60)
        except ServerError as error:
            raised.append(error)

    with start_server() as server:
        client = kind(server.address, "customers")
        server.gate.clear()
        asking = threading.Thread(target=asyncio.run, args=(ask(),))
        asking.start()
        server.wait_until(lambda: bool(server.calls))
        asyncio.run(client.close())
        asking.join(30)
    assert [type(each) for each in raised] == [ServerError]


@pytest.mark.parametrize(("kind", "start_server"), ASYNC_KINDS + SYNC_KINDS)
def test_a_client_that_is_pickled_or_copied_is_made_anew_of_what_it_was_made_of(
    kind: Callable[..., Any], start_server: Callable[[], FakeServer], tmp_path: Path
) -> None:
    with start_server() as server:
        client = kind(
            server.address,
            "customers",
            label="stable",
            timeout=7,
            limits=Limits(rows=3),
            headers=MappingProxyType({"x-team": "blue"}),
        )
        _assign(client)
        copies = [pickle.loads(pickle.dumps(client)), copy.deepcopy(client), copy.copy(client)]
        for each in copies:
            assert type(each) is kind
            server.rows.clear()
            assert _assign(each).cluster_index.shape == (4,)
            assert sorted(server.rows) == [1, 3]
            assert server.versions[-1] == 1
            assert server.sent_headers[-1]["x-team"] == "blue"
            _close(each)
        assert _assign(client).cluster_index.shape == (4,)
        _close(client)


@pytest.mark.parametrize("kind", [GrpcClient, RestClient, AsyncGrpcClient, AsyncRestClient])
def test_a_list_of_addresses_and_tls_are_pickled_too(kind: Callable[..., Any]) -> None:
    client = kind(["a:1", "b:2"], "customers", tls=Tls(server_name="models.internal"))
    again = pickle.loads(pickle.dumps(client))
    with pytest.raises(InvalidInput, match="at a:1, b:2"):
        _assign(again, timeout=-1)
    for each in (client, again):
        _close(each)


def ask_in_a_process(client: Any) -> list[int]:
    """What a process that was handed a client is answered."""
    return _assign(client).cluster_index.tolist()  # type: ignore[no-any-return]


def test_clients_go_to_the_processes_of_a_pool() -> None:
    context = multiprocessing.get_context("spawn")
    with (
        FakeGrpcServer() as grpc_server,
        FakeRestServer() as rest_server,
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        clients = [
            kind((grpc_server if "Grpc" in kind.__name__ else rest_server).address, "customers")
            for kind, _ in ASYNC_KINDS + SYNC_KINDS
        ]
        assert list(pool.map(ask_in_a_process, clients)) == [[0] * 4] * 4
        for client in clients:
            _close(client)


def test_a_loop_that_ends_leaves_no_connection_and_no_word_of_it() -> None:
    program = """
import asyncio
from tests.serving.fake_servers import FakeGrpcServer, FakeRestServer
from serving import AsyncGrpcClient, AsyncRestClient
with FakeGrpcServer() as over_grpc, FakeRestServer() as rest:
    places = (AsyncGrpcClient, over_grpc.address), (AsyncRestClient, rest.address)
    clients = [kind(address, "customers") for kind, address in places]
    for client in clients * 2:
        asyncio.run(client.assign([[1, 2]]))
    for client in clients:
        asyncio.run(client.close())
"""
    run = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert not any(word in run.stderr for word in ("Traceback", "Warning", "xception", "rror:"))


def _assign(client: Any, **call: Any) -> Any:
    answer = client.assign(POINTS, **call)
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


def _close(client: Any) -> None:
    closing = client.close()
    if closing is not None:
        asyncio.run(closing)
