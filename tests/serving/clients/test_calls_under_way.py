"""No more calls are under way than a server takes, and what it refuses is asked again."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from typing import Any

import numpy as np
import pytest

from serving import (
    AsyncGrpcClient,
    AsyncRestClient,
    DeadlineExceeded,
    GrpcClient,
    InvalidInput,
    Limits,
    ResourceExhausted,
    RestClient,
    ServerError,
)
from serving.clients import call_slots
from serving.clients.call_slots import CallSlots
from serving.clients.operations import Deadline
from serving.clients.target import Target

from ..fake_servers import Failure, FakeGrpcServer, FakeRestServer, FakeServer
from .conftest import Wire

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

POINTS = np.ones((4, 2), np.float32)
BUSY = Failure("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")
CALLS = 10_000 if os.environ.get("TFKMEANS_SOAK") == "1" else 1000
CALLERS = 64
TARGET = Target("models:8500", "customers")


@pytest.fixture
def busy_server() -> Any:
    """A server that takes 8 calls at a time, as ``--grpc_max_threads=8`` makes it."""
    with FakeGrpcServer(threads=2 * CALLERS) as server:
        server.allowed_at_once = 8
        yield server


def hold_until_one_is_refused(server: FakeGrpcServer) -> None:
    """Keep the server's threads taken until a call that finds none was refused."""

    def hold(outputs: dict[str, Any]) -> dict[str, Any]:
        server.wait_until(lambda: server.refused > 0)
        return outputs

    server.change_answer = hold


@pytest.mark.parametrize("limit", [8, CALLERS], ids=["as many as it takes", "more than it takes"])
def test_threads_in_closed_loops_lose_no_call(busy_server: FakeGrpcServer, limit: int) -> None:
    if limit > 8:
        hold_until_one_is_refused(busy_server)
    limits = Limits(connection_in_flight=limit)
    with (
        GrpcClient(busy_server.address, "customers", timeout=60, limits=limits) as client,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        answers = list(callers.map(lambda _: client.assign(POINTS), range(CALLS)))
    assert len(answers) == CALLS


@pytest.mark.parametrize("limit", [8, CALLERS], ids=["as many as it takes", "more than it takes"])
def test_tasks_in_closed_loops_lose_no_call(busy_server: FakeGrpcServer, limit: int) -> None:
    async def ask() -> int:
        limits = Limits(connection_in_flight=limit)
        async with AsyncGrpcClient(
            busy_server.address, "customers", timeout=60, limits=limits
        ) as client:

            async def call() -> int:
                for _ in range(CALLS // CALLERS):
                    await client.assign(POINTS)
                return CALLS // CALLERS

            return sum(await asyncio.gather(*(call() for _ in range(CALLERS))))

    if limit > 8:
        hold_until_one_is_refused(busy_server)
    assert asyncio.run(ask()) == CALLS // CALLERS * CALLERS


def test_clients_of_one_address_share_the_limit(wire: Wire, server: FakeServer) -> None:
    limits = Limits(connection_in_flight=3)
    clients = [wire.client(server.address, "customers", limits=limits) for _ in range(2)]
    for client in clients:
        client.assign(POINTS)
    server.gate.clear()
    server.calls.clear()
    threads = [
        threading.Thread(target=client.assign, args=(POINTS,), kwargs={"timeout": 30})
        for client in clients * 4
    ]
    for thread in threads:
        thread.start()
    server.wait_until(lambda: server.predicts() == 3)
    server.gate.set()
    for thread in threads:
        thread.join(30)
    for client in clients:
        client.close()
    assert server.predicts() == 8
    assert server.most_at_once <= 3


def test_a_call_that_waits_for_others_ends_at_its_own_deadline(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(connection_in_flight=1))
    client.assign(POINTS)
    server.gate.clear()
    server.calls.clear()
    first = threading.Thread(target=client.assign, args=(POINTS,), kwargs={"timeout": 30})
    first.start()
    server.wait_until(lambda: server.predicts() == 1)
    with pytest.raises(
        DeadlineExceeded, match=r"no answer in 0\.2 s; all of connection_in_flight=1"
    ):
        client.assign(POINTS, timeout=0.2)
    assert server.predicts() == 1
    server.gate.set()
    first.join(30)
    client.assign(POINTS)


def test_a_server_whose_threads_are_taken_is_asked_until_one_is_free(
    client: Client, server: FakeServer
) -> None:
    client.assign(POINTS)
    server.calls.clear()
    server.failures.extend([BUSY] * 7)  # more than the attempts at a server that is unavailable
    assert client.assign(POINTS).cluster_index.shape == (4,)
    assert server.predicts() == 8


def test_a_server_whose_threads_stay_taken_is_resource_exhausted_before_the_deadline(
    client: Client, server: FakeServer
) -> None:
    client.assign(POINTS)
    server.failures.extend([BUSY] * 99)
    with pytest.raises(ResourceExhausted, match="Server Threadpool Exhausted"):
        client.assign(POINTS, timeout=0.5)
    assert 3 <= server.predicts() <= 30


def test_parts_that_find_the_threads_taken_are_asked_again(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    client = connect(limits=Limits(rows=10), version=2)
    client.assign(POINTS)
    server.failures.extend([Failure("UNAVAILABLE", "loading"), *[BUSY] * 8])
    assert client.assign(np.ones((100, 2)), timeout=30).cluster_index.shape == (100,)


@pytest.mark.parametrize("message", ["Received message larger than max", "Threadpool Exhausted"])
def test_another_refusal_is_not_asked_again(
    client: Client, server: FakeServer, message: str
) -> None:
    client.assign(POINTS)
    server.calls.clear()
    server.failures.append(Failure("RESOURCE_EXHAUSTED", message))
    with pytest.raises(ResourceExhausted, match=message):
        client.assign(POINTS)
    assert server.predicts() == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_rest_waits_as_long_as_the_server_asks(rest_wire: Wire, form: str) -> None:
    with FakeRestServer() as server, rest_wire.client(server.address, "customers") as client:
        client.assign(POINTS)
        asked = {"seconds": "1", "date": formatdate(time.time() + 2, usegmt=True)}[form]
        server.headers = {"Retry-After": asked}
        server.failures.append(Failure("RESOURCE_EXHAUSTED", "slow down"))
        start = time.monotonic()
        assert client.assign(POINTS).cluster_index.shape == (4,)
        assert time.monotonic() - start >= 0.9


@pytest.mark.parametrize("asked", ["60", "soon", "-1", None])
def test_rest_is_resource_exhausted_at_once_where_waiting_cannot_help(
    rest_wire: Wire, asked: str | None
) -> None:
    with FakeRestServer() as server, rest_wire.client(server.address, "customers") as client:
        client.assign(POINTS)
        server.calls.clear()
        server.headers = {} if asked is None else {"Retry-After": asked}
        server.failures.append(Failure("RESOURCE_EXHAUSTED", "slow down"))
        with pytest.raises(ResourceExhausted, match="slow down") as raised:
            client.assign(POINTS)
        assert ("; the server asks to wait 60 s" in raised.value.message) == (asked == "60")
        assert server.predicts() == 1


def test_those_who_wait_are_served_in_their_order_and_none_twice() -> None:
    slots = CallSlots()
    slots.take(1, Deadline(9), TARGET)
    with pytest.raises(DeadlineExceeded, match="connection_in_flight=1"):
        slots.take(1, Deadline(0.01), TARGET)
    served: list[int] = []

    def wait(number: int) -> None:
        with slots.held(1, Deadline(30), TARGET):
            served.append(number)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        while len(slots._waiting) <= number:
            assert threads[-1].is_alive()
    slots.release()
    for thread in threads:
        thread.join(30)
    assert served == [0, 1, 2, 3, 4]
    slots.take(1, Deadline(0.01), TARGET)


def test_a_task_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    async def wait(slots: CallSlots) -> None:
        async with slots.held_by_task(1, Deadline(30), TARGET):
            pass

    async def cancel_one() -> None:
        slots = CallSlots()
        slots.take(1, Deadline(9), TARGET)
        tasks = [asyncio.create_task(wait(slots)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        slots.release()
        tasks[1].cancel()  # its turn may have come in this moment
        assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [
            asyncio.CancelledError,
            asyncio.CancelledError,
            type(None),
        ]
        slots.take(1, Deadline(0.01), TARGET)

    asyncio.run(cancel_one())


def test_a_call_that_gave_up_its_wait_does_not_hold_up_those_behind_it() -> None:
    slots = CallSlots()
    slots.take(2, Deadline(9), TARGET)
    gave_up = threading.Event()

    def give_up() -> None:
        with pytest.raises(DeadlineExceeded):
            slots.take(1, Deadline(0.3), TARGET)
        gave_up.set()

    thread = threading.Thread(target=give_up)
    thread.start()
    while not slots._waiting:
        assert thread.is_alive()
    slots.take(2, Deadline(20), TARGET)  # waits behind the other one, and not for the first call
    assert gave_up.wait(20)
    thread.join()


def test_a_task_that_is_cancelled_does_not_hold_up_those_behind_it() -> None:
    async def take(slots: CallSlots, limit: int) -> None:
        async with slots.held_by_task(limit, Deadline(20), TARGET):
            pass

    async def cancel_the_first() -> None:
        slots = CallSlots()
        slots.take(2, Deadline(9), TARGET)
        first, second = (asyncio.create_task(take(slots, limit)) for limit in (1, 2))
        await asyncio.sleep(0)
        assert len(slots._waiting) == 2
        first.cancel()
        await second

    asyncio.run(cancel_the_first())


@pytest.mark.parametrize("state", ["holds a slot", "waits for one", "was given one"])
def test_a_loop_that_is_closed_in_a_call_keeps_no_slot(state: str) -> None:
    slots = CallSlots()
    loop = asyncio.new_event_loop()

    async def hold() -> None:
        async with slots.held_by_task(1, Deadline(60), TARGET):
            await asyncio.Event().wait()

    if state != "holds a slot":
        slots.take(1, Deadline(9), TARGET)
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0))
    if state == "was given one":
        slots.release()
    loop.close()
    if state == "waits for one":
        slots.release()
    slots.take(1, Deadline(20), TARGET)
    task.get_coro().close()  # nobody else ends it
    with pytest.raises(DeadlineExceeded):  # and what it held is not free twice
        slots.take(1, Deadline(0.01), TARGET)


def test_a_call_that_waits_for_a_loop_is_served_when_that_is_closed() -> None:
    slots = CallSlots()
    loop = asyncio.new_event_loop()
    holding = slots.held_by_task(1, Deadline(60), TARGET)
    loop.run_until_complete(holding.__aenter__())
    served = threading.Event()

    def wait() -> None:
        slots.take(1, Deadline(20), TARGET)
        served.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not slots._waiting:
        assert thread.is_alive()
    loop.close()
    thread.join()
    assert served.is_set()


@pytest.mark.parametrize(
    ("kind", "start_server"),
    [(AsyncGrpcClient, FakeGrpcServer), (AsyncRestClient, FakeRestServer)],
)
def test_a_call_of_a_loop_that_was_closed_does_not_hold_up_later_ones(
    kind: Callable[..., Any], start_server: Callable[[], FakeServer]
) -> None:
    with start_server() as server:
        client = kind(server.address, "customers", limits=Limits(connection_in_flight=1))
        server.gate.clear()
        loop = asyncio.new_event_loop()
        task = loop.create_task(client.assign(POINTS, timeout=60))
        while not server.calls:
            loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
        server.gate.set()
        assert asyncio.run(client.assign(POINTS)).cluster_index.shape == (4,)
        asyncio.run(client.close())
        assert not task.done()


def test_a_call_that_waits_for_others_ends_when_its_client_is_closed(
    wire: Wire, server: FakeServer
) -> None:
    limits = Limits(connection_in_flight=1)
    raised: list[ServerError] = []
    with wire.client(server.address, "customers", limits=limits) as other:
        client = wire.client(server.address, "customers", limits=limits)
        for each in (client, other):
            each.assign(POINTS)
        server.gate.clear()
        server.calls.clear()
        first = threading.Thread(target=other.assign, args=(POINTS,), kwargs={"timeout": 60})
        first.start()
        server.wait_until(lambda: server.predicts() == 1)

        def wait() -> None:
            with pytest.raises(ServerError, match="the client was closed during the call") as error:
                client.assign(POINTS, timeout=60)
            raised.append(error.value)

        second = threading.Thread(target=wait)
        second.start()
        (slots,) = (each for each in list(call_slots._SLOTS.values()) if each._taken)
        server.wait_until(lambda: len(slots._waiting) == 1)
        client.close()
        second.join(30)
        assert not server.gate.is_set()  # the first call is under way still
        assert len(raised) == 1
        server.gate.set()
        first.join(30)


@pytest.mark.parametrize("value", [0, True, 1.5])
def test_a_limit_of_calls_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"connection_in_flight=.* is not a limit"):
        Limits(connection_in_flight=value)
