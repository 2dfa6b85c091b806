"""Whatever a network or a server does: the right answer, or a documented error in time."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from serving import (
    DeadlineExceeded,
    GrpcClient,
    Limits,
    ModelNotFound,
    RestClient,
    ServerError,
    ServerUnavailable,
    Tls,
)
from serving.clients import grpc_channel

from ..fake_servers import FakeServer
from .conftest import Wire
from .proxy import Proxy, Trouble
from .test_connections import Papers, papers, secure_server

pytestmark = pytest.mark.slow

__all__ = ["papers"]  # the fixture

Client = GrpcClient | RestClient

POINTS = np.random.default_rng(3).normal(scale=8, size=(300, 2)).astype(np.float32)
#: What a caller is told of trouble on the way; anything else is a fault of the client.
DOCUMENTED = (ServerUnavailable, DeadlineExceeded, ServerError)
MARGIN = (
    10.0  # seconds beyond a deadline, on a machine that has much else to do: only a hang is more
)
SOAK = bool(os.environ.get("TFKMEANS_SOAK"))
ROUNDS = 100 if SOAK else 8


@contextmanager
def in_time(timeout: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < timeout + MARGIN


@pytest.fixture
def proxy(server: FakeServer) -> Iterator[Proxy]:
    with Proxy(server.address) as running:
        yield running


def test_a_client_survives_what_a_network_does_and_recovers(
    wire: Wire, server: FakeServer, proxy: Proxy
) -> None:
    chance = random.Random(5)
    troubles: list[Trouble] = ["none", "cut", "cut answer", "delay", "refuse"]
    answered = 0
    with wire.client(proxy.address, "customers", limits=Limits(rows=40, in_flight=2)) as client:
        for _ in range(ROUNDS):
            proxy.trouble = chance.choice(troubles)
            rows = POINTS[chance.randrange(200) :]
            expected = server.model.answer("transform", {"points": rows})["all_distances"]
            with in_time(1.0):
                try:
                    answer = client.transform(rows, timeout=1.0)
                except DOCUMENTED:
                    continue
            np.testing.assert_array_equal(answer.all_distances, expected)
            answered += 1
        proxy.trouble = "none"
        client.wait_until_ready()
        np.testing.assert_array_equal(
            client.transform(POINTS).all_distances,
            server.model.answer("transform", {"points": POINTS})["all_distances"],
        )
    assert answered > 0


def test_bytes_that_change_on_the_way_are_never_an_answer_over_tls(
    wire: Wire, papers: Papers
) -> None:
    with (
        secure_server(wire, papers) as server,
        Proxy(server.address) as proxy,
        wire.client(proxy.address, "customers", tls=Tls(ca=papers.ca)) as client,
    ):
        expected = server.model.answer("assign", {"points": POINTS})["cluster_index"]
        np.testing.assert_array_equal(client.assign(POINTS).cluster_index, expected)
        proxy.trouble = "corrupt"
        for _ in range(max(3, ROUNDS // 3)):
            with in_time(0.5), pytest.raises(DOCUMENTED):
                client.assign(POINTS, timeout=0.5)
        proxy.trouble = "none"
        client.wait_until_ready()
        np.testing.assert_array_equal(client.assign(POINTS).cluster_index, expected)


def test_a_slow_network_is_waited_for_within_the_deadline(
    wire: Wire, server: FakeServer, proxy: Proxy
) -> None:
    with wire.client(proxy.address, "customers", timeout=30) as client:
        proxy.trouble = "delay"
        assert client.assign(POINTS).cluster_index.shape == (300,)
        with in_time(0.001), pytest.raises(DeadlineExceeded):
            client.assign(POINTS, timeout=0.001)


def test_a_connection_that_is_half_open_exceeds_the_deadline_and_no_more(
    wire: Wire, server: FakeServer, proxy: Proxy
) -> None:
    with wire.client(proxy.address, "customers") as client:
        client.assign(POINTS)
        proxy.trouble = "swallow"
        for call in (
            lambda: client.assign(POINTS, timeout=0.3),
            lambda: client.status(timeout=0.3),
            lambda: client.metadata(timeout=0.3),
        ):
            with in_time(0.3), pytest.raises(DeadlineExceeded):
                call()


@pytest.mark.parametrize("since", ["a call", "the start"])
def test_a_client_finds_out_that_a_connection_is_half_open(
    wire: Wire, server: FakeServer, monkeypatch: pytest.MonkeyPatch, since: str
) -> None:
    # gRPC finds out by keepalive; without its own limit, another ping would wait for a minute.
    monkeypatch.setattr(grpc_channel, "_KEEPALIVE_MS", {"time": 500, "timeout": 500})
    with Proxy(server.address) as proxy, wire.client(proxy.address, "customers") as client:
        if since == "a call":
            client.assign(POINTS)
        proxy.trouble = "swallow"
        with in_time(0.3), pytest.raises(DeadlineExceeded):
            client.assign(POINTS, timeout=0.3)
        proxy.trouble = "none"
        client.wait_until_ready(12)
        assert client.assign(POINTS).cluster_index.shape == (300,)


SERVER = """
import sys, time
from tests.serving import fake_servers
server = getattr(fake_servers, sys.argv[1])(int(sys.argv[2]))
print(server.address, flush=True)
if sys.argv[3] == "hang":
    server.gate.clear()
while True:
    if not server.gate.is_set() and server.calls:
        print("asked", flush=True)
        server.calls.clear()
    time.sleep(0.01)
"""


@contextmanager
def server_process(wire: Wire, port: int, mood: str) -> Iterator[tuple[str, Any]]:
    """A server in a process of its own, and that process; it is killed in the end."""
    kind: Any = wire.start_server
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, kind.__name__, str(port), mood],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_a_server_that_is_killed_in_a_call_and_started_again(wire: Wire) -> None:
    with server_process(wire, 0, "hang") as (address, process):
        client = wire.client(address, "customers", version=1)
        raised: list[Exception] = []

        def ask() -> None:
            try:
                client.assign(POINTS, timeout=20)
            except DOCUMENTED as error:
                raised.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGKILL)
        with in_time(20):
            asking.join(30)
        assert [type(each) for each in raised] == [ServerUnavailable]
    with client, server_process(wire, int(address.rpartition(":")[2]), "well"):
        client.wait_until_ready(20)
        assert client.assign(POINTS).cluster_index.shape == (300,)


def test_a_version_that_comes_and_goes_while_it_is_called(
    client: Client, server: FakeServer
) -> None:
    expected = server.model.answer("assign", {"points": POINTS})["cluster_index"]
    outcomes: set[str] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answer = client.assign(POINTS, version=2)
            except ModelNotFound:
                outcomes.add("not found")
            else:
                outcomes.add("right" if np.array_equal(answer.cluster_index, expected) else "wrong")

    asking = threading.Thread(target=ask)
    asking.start()
    for state in ("END", "AVAILABLE", "END", "AVAILABLE") * 2:
        calls = len(server.calls)
        server.model.states[2] = state
        server.wait_until(lambda calls=calls: len(server.calls) > calls + 2)  # type: ignore[misc]
    done.set()
    asking.join(30)
    assert outcomes == {"right", "not found"}


def test_nothing_is_answered_twice_or_to_another(wire: Wire, proxy: Proxy) -> None:
    rows = np.random.default_rng(5).normal(scale=8, size=(6, 40, 2)).astype(np.float32)
    wrong: list[int] = []
    with wire.client(proxy.address, "customers", limits=Limits(rows=7)) as client:
        expected = [client.transform(each).all_distances for each in rows]

        def ask(at: int) -> None:
            for _ in range(3):
                try:
                    answer: Any = client.transform(rows[at], timeout=1).all_distances
                except DOCUMENTED:
                    continue
                if not np.array_equal(answer, expected[at]):
                    wrong.append(at)

        threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(rows))]
        for thread in threads:
            thread.start()
        chance = random.Random(1)
        while any(thread.is_alive() for thread in threads):
            proxy.trouble = chance.choice(["none", "delay", "cut", "none"])
            time.sleep(0.02)
        proxy.trouble = "none"
    assert wrong == []
