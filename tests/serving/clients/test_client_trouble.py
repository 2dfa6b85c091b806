"""Servers that fail, are slow, are gone, or say nonsense: each gives its error, none a hang."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

from export.wire import tensor_pb2
from serving import (
    AccessDenied,
    DeadlineExceeded,
    GrpcClient,
    InvalidInput,
    Limits,
    ModelNotFound,
    ResourceExhausted,
    RestClient,
    ServerError,
    ServerUnavailable,
    ServingError,
)
from serving.clients import rest_messages

from ..fake_servers import Failure, FakeGrpcServer, FakeRestServer, FakeServer
from .conftest import Wire

pytestmark = pytest.mark.slow

Client = GrpcClient | RestClient

POINTS = np.ones((4, 2), np.float32)
LIMIT = 20.0  # seconds: far above every deadline here, so that only a hang goes beyond it


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextmanager
def raw_server(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """A TCP server that hands each connection to ``serve``, in a thread of its own."""
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            pass  # the client, or the end of the test, has closed it
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threads.append(threading.Thread(target=handle, args=(connection,)))
            threads[-1].start()

    listener = socket.create_server(("127.0.0.1", 0))
    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for connection in connections:
            with suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_an_unavailable_server_is_asked_again(client: Client, server: FakeServer) -> None:
    client.assign(POINTS)
    server.calls.clear()
    server.failures.extend([Failure("UNAVAILABLE", "the queue is full")] * 2)
    assert client.assign(POINTS).cluster_index.shape == (4,)
    assert len(server.calls) == 3


def test_a_large_request_is_asked_again_too(client: Client, server: FakeServer) -> None:
    client.assign(POINTS)
    server.calls.clear()
    server.failures.append(Failure("UNAVAILABLE", "the queue is full"))
    points = np.ones((40_000, 2), np.float32)  # more than gRPC keeps for a retry by itself
    assert client.assign(points).distance.shape == (40_000,)
    assert len(server.calls) == 2


def test_after_five_attempts_the_server_is_unavailable(client: Client, server: FakeServer) -> None:
    client.assign(POINTS)  # connected: a first attempt could end before the server sees it
    server.calls.clear()
    server.failures.extend([Failure("UNAVAILABLE", "the queue is full")] * 9)
    with pytest.raises(ServerUnavailable, match="the queue is full"):
        client.assign(POINTS)
    assert len(server.calls) == 5


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("INVALID_ARGUMENT", InvalidInput),
        ("NOT_FOUND", ModelNotFound),
        ("RESOURCE_EXHAUSTED", ResourceExhausted),
        ("UNAUTHENTICATED", AccessDenied),
        ("PERMISSION_DENIED", AccessDenied),
        ("DEADLINE_EXCEEDED", DeadlineExceeded),
        ("INTERNAL", ServerError),
        ("UNIMPLEMENTED", ServerError),
    ],
)
@pytest.mark.parametrize("method", ["assign", "status", "metadata"])
def test_any_other_failure_is_raised_at_once_with_the_servers_words(
    client: Client, server: FakeServer, method: str, code: str, expected: type[ServingError]
) -> None:
    client.assign(POINTS)
    server.calls.clear()
    server.failures.append(Failure(code, "the server's own words"))
    with pytest.raises(expected) as raised:
        client.assign(POINTS) if method == "assign" else getattr(client, method)()
    assert str(raised.value) == f"the server's own words (model 'customers' at {server.address})"
    assert len(server.calls) == 1


def test_a_slow_server_exceeds_the_deadline_of_the_call(client: Client, server: FakeServer) -> None:
    server.gate.clear()
    with within(LIMIT), pytest.raises(DeadlineExceeded):
        client.assign(POINTS, timeout=0.2)
    server.gate.set()
    assert client.assign(POINTS).cluster_index.shape == (4,)


def test_a_slow_server_exceeds_the_deadline_of_the_client(
    connect: Callable[..., Client], server: FakeServer
) -> None:
    server.gate.clear()
    client = connect(timeout=0.2)
    for call in (lambda: client.assign(POINTS), client.status, client.metadata):
        with within(LIMIT), pytest.raises(DeadlineExceeded):
            call()


def test_the_deadline_bounds_the_retries(client: Client, server: FakeServer) -> None:
    server.failures.extend([Failure("UNAVAILABLE", "the queue is full")] * 9)
    with pytest.raises((DeadlineExceeded, ServerUnavailable)):
        client.assign(POINTS, timeout=0.15)
    assert len(server.calls) < 5


def test_no_server_is_server_unavailable(wire: Wire) -> None:
    with (
        wire.client(f"127.0.0.1:{closed_port()}", "customers") as client,
        within(LIMIT),
        pytest.raises(ServerUnavailable),
    ):
        client.assign(POINTS)


def test_a_server_that_comes_back_is_found_again(wire: Wire) -> None:
    with wire.start_server() as first:
        client = wire.client(first.address, "customers")
        client.assign(POINTS)
    port = int(first.address.rpartition(":")[2])
    with client:
        with pytest.raises(ServerUnavailable):
            client.assign(POINTS)
        with wire.start_server(port):
            client.wait_until_ready(10)
            assert client.assign(POINTS).cluster_index.shape == (4,)


def test_a_server_that_cuts_every_connection_is_unavailable(wire: Wire) -> None:
    with (
        raw_server(lambda connection: connection.recv(1)) as address,
        wire.client(address, "customers") as client,
        within(LIMIT),
        pytest.raises(ServerUnavailable),
    ):
        client.assign(POINTS)


def test_a_server_that_never_answers_exceeds_the_deadline(wire: Wire) -> None:
    def listen(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    with (
        raw_server(listen) as address,
        wire.client(address, "customers") as client,
        within(LIMIT),
        pytest.raises(DeadlineExceeded),
    ):
        client.assign(POINTS, timeout=0.3)


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"]
)
def test_an_answer_that_drips_exceeds_the_deadline(start: bytes) -> None:
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(start)
        while not done.wait(0.05):
            connection.sendall(b" ")

    with raw_server(drip) as address, RestClient(address, "customers") as client:
        with within(LIMIT), pytest.raises(DeadlineExceeded):
            client.assign(POINTS, timeout=0.5)
        done.set()


def test_an_answer_that_is_cut_is_asked_for_again() -> None:
    whole = b'{"outputs": {"cluster_index": [1], "distance": [2.0]}}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(whole)
    refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answers = [refused, head + whole[:20], head + whole]  # the first is to the metadata

    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(answers.pop(0))

    with raw_server(answer) as address, RestClient(address, "customers") as client:
        assert client.assign(POINTS[:1]).distance.tolist() == [2.0]
    assert answers == []


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux has it")
def test_what_comes_of_an_answer_is_acknowledged_before_the_rest_is_waited_for(
    rest_wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged = threading.Event()
    set_option = socket.socket.setsockopt

    def spy(self: socket.socket, level: int, option: int, value: Any) -> None:
        set_option(self, level, option, value)
        if (level, option, value) == (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1):
            acknowledged.set()

    def answer(connection: socket.socket) -> None:
        whole = b'{"model_version_status": []}'
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole))
        for start in range(0, len(whole), 10):  # as Nagle's algorithm holds the next piece back
            assert acknowledged.wait(LIMIT)
            acknowledged.clear()
            connection.sendall(whole[start : start + 10])

    monkeypatch.setattr(socket.socket, "setsockopt", spy)
    with raw_server(answer) as address, rest_wire.client(address, "customers") as client:
        assert client.status(timeout=LIMIT) == []


@pytest.mark.parametrize(
    ("status", "body", "expected", "said"),
    [
        (200, b"<html>", ServerError, "the answer is not JSON"),
        (200, b"\xff\xfe", ServerError, "the answer is not JSON"),
        (200, b"[1]", ServerError, "the answer is not a JSON object"),
        (200, b'{"outputs": null}', ServerError, "the answer to assign cannot be read"),
        (200, b'{"outputs": {"cluster_index": [1, 1, 1, 1]}}', ServerError, "cannot be read"),
        (200, b'{"outputs": {"cluster_index": [[1], 1]}}', ServerError, "cannot be read"),
        (200, b'{"outputs": {"cluster_index": [null]}}', ServerError, "cannot be read"),
        (200, b'{"outputs": {"cluster_index": [4e9]}}', ServerError, "cannot be read"),
        (404, b"<HTML>Not Found</HTML>", ModelNotFound, "HTTP 404 Reason"),
        (302, b"", ServerError, "HTTP 302 Reason"),
        (401, b"{}", AccessDenied, "HTTP 401 Reason"),
        (413, b'{"error": ""}', ResourceExhausted, "HTTP 413 Reason"),
        (500, b'{"error": 5}', ServerError, "HTTP 500 Reason"),
    ],
)
def test_an_answer_that_nobody_can_read_is_one_clear_line(
    status: int, body: bytes, expected: type[ServingError], said: str
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        head = f"HTTP/1.1 {status} Reason\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    with (
        raw_server(answer) as address,
        RestClient(address, "customers") as client,
        pytest.raises(expected, match=said) as raised,
    ):
        client.assign(POINTS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "said"), [(200, "the answer is not JSON"), (500, "HTTP 500 Internal Server Error")]
)
def test_json_that_is_nested_without_end_is_no_answer(status: int, said: str) -> None:
    with FakeRestServer() as server, RestClient(server.address, "customers") as client:
        server.handle = lambda path, body: (status, b"[" * 200_000)  # type: ignore[method-assign]
        with pytest.raises(ServerError, match=said):
            client.assign(POINTS)


@pytest.mark.parametrize(
    ("index", "distance", "said"),
    [
        ("[1.7, 1, 2, 1]", "[1, 2, 3, 4]", "cluster_index holds fractions, not int32"),
        ("[1, true, 2, 1]", "[1, 2, 3, 4]", "cluster_index holds true or false, not int32"),
        ('[1, "2", 2, 1]', "[1, 2, 3, 4]", "cluster_index holds text, not int32"),
        ("[1, 1, 2, 1]", '[null, "3", 1, 1]', "distance holds null, text, not float32"),
        ("[1, 1, 2, 1]", "[1, 2, 3, true]", "distance holds true or false, not float32"),
        ("[1, 1, 2, [1]]", "[1, 2, 3, 4]", "cannot be read"),
        ("5", "[1, 2, 3, 4]", "cannot be read"),
    ],
)
def test_json_that_numpy_would_make_numbers_of_is_no_answer(
    index: str, distance: str, said: str
) -> None:
    with FakeRestServer() as server, RestClient(server.address, "customers") as client:
        client.assign(POINTS)
        answer = f'{{"outputs": {{"cluster_index": {index}, "distance": {distance}}}}}'.encode()
        server.handle = lambda path, body: (200, answer)  # type: ignore[method-assign]
        with pytest.raises(ServerError, match=said):
            client.assign(POINTS)
        answer = b'{"outputs": {"cluster_index": [1, 1, 1, 1], "distance": [1, 2, NaN, Infinity]}}'
        np.testing.assert_array_equal(client.assign(POINTS).distance, [1, 2, np.nan, np.inf])
        answer = b'{"predictions": [[1, 2], [3, 4], [5, 6], [7, null]]}'
        with pytest.raises(ServerError, match="all_distances holds null"):
            client.transform(POINTS)


@pytest.mark.parametrize(
    ("method", "shape", "said"),
    [
        ("assign", [2**40], r"cluster_index of int32 \[1099511627776\], expected int32 \[4\]"),
        ("transform", [4, 2**40], "larger than any message"),
    ],
)
def test_a_few_bytes_that_claim_to_be_a_huge_array_are_no_answer(
    grpc_wire: Wire, method: str, shape: list[int], said: str
) -> None:
    def huge(array: Any) -> tensor_pb2.TensorProto:
        floats = array.dtype.kind == "f"
        tensor = tensor_pb2.TensorProto(
            dtype=tensor_pb2.DT_FLOAT if floats else tensor_pb2.DT_INT32
        )
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        (tensor.float_val if floats else tensor.int_val).append(1)
        return tensor

    with FakeGrpcServer() as server, grpc_wire.client(server.address, "customers") as client:
        server._tensor = huge  # type: ignore[method-assign]
        with pytest.raises(ServerError, match=said):
            getattr(client, method)(POINTS)


@pytest.mark.parametrize("method", ["status", "metadata"])
@pytest.mark.parametrize(
    "body", [b'{"model_version_status": [{}], "metadata": {}}', b'{"model_version_status": 5}']
)
def test_status_or_metadata_of_another_form_is_a_server_error(method: str, body: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with (
        raw_server(answer) as address,
        RestClient(address, "customers") as client,
        pytest.raises(ServerError, match=f"the answer to {method} cannot be read"),
    ):
        getattr(client, method)()


def test_a_client_at_the_port_of_the_other_protocol_gets_an_error_in_time() -> None:
    with FakeRestServer() as rest, FakeGrpcServer() as over_grpc:
        for client in (
            GrpcClient(rest.address, "customers"),
            RestClient(over_grpc.address, "customers"),
        ):
            with client, within(LIMIT), pytest.raises((ServerUnavailable, DeadlineExceeded)):
                client.assign(POINTS, timeout=3)


def test_ready_at_once_when_a_version_is_available(client: Client) -> None:
    with within(LIMIT):
        client.wait_until_ready()
        client.wait_until_ready(version=1)
        client.wait_until_ready(label="stable")


def test_waits_until_the_version_is_available(client: Client, server: FakeServer) -> None:
    server.model.states = {1: "LOADING"}
    waiting = threading.Thread(target=client.wait_until_ready, kwargs={"timeout": 30})
    waiting.start()
    server.wait_until(lambda: len(server.calls) >= 3)
    assert waiting.is_alive()
    server.model.states = {1: "AVAILABLE"}
    waiting.join(LIMIT)
    assert not waiting.is_alive()


def test_waits_for_the_version_that_was_chosen(client: Client, server: FakeServer) -> None:
    server.model.states = {3: "LOADING", 2: "AVAILABLE"}
    with pytest.raises(DeadlineExceeded, match=r"last: version 3 is LOADING \(model"):
        client.wait_until_ready(0.2, version=3)


def test_waits_for_a_label_to_be_given(client: Client, server: FakeServer) -> None:
    waiting = threading.Thread(target=client.wait_until_ready, args=(30,), kwargs={"label": "new"})
    waiting.start()
    server.wait_until(lambda: len(server.calls) >= 2)
    server.model.labels = {"new": 2}
    waiting.join(LIMIT)
    assert not waiting.is_alive()


def test_not_ready_in_time_says_how_it_was_last(client: Client, server: FakeServer) -> None:
    server.model.states = {1: "END"}
    with pytest.raises(DeadlineExceeded) as raised:
        client.wait_until_ready(0.2)
    assert str(raised.value) == (
        "not ready after 0.2 s; last: version 1 is END (NOT_FOUND: no such file) "
        f"(model 'customers' at {server.address})"
    )


def test_not_ready_in_time_says_what_the_server_said(connect: Callable[..., Client]) -> None:
    with pytest.raises(DeadlineExceeded, match="last: Could not find any versions of model nope"):
        connect("nope").wait_until_ready(0.2)


def test_no_server_in_time_is_deadline_exceeded(wire: Wire) -> None:
    with (
        wire.client(f"127.0.0.1:{closed_port()}", "customers") as client,
        within(LIMIT),
        pytest.raises(DeadlineExceeded, match=r"not ready after 0.3 s; last: "),
    ):
        client.wait_until_ready(0.3)


def test_waits_for_a_server_that_has_not_started(wire: Wire) -> None:
    port = closed_port()
    with wire.client(f"127.0.0.1:{port}", "customers") as client:
        waiting = threading.Thread(target=client.wait_until_ready)
        waiting.start()
        with wire.start_server(port):
            waiting.join(LIMIT)
            assert not waiting.is_alive()


def test_waiting_does_not_hide_a_mistake(client: Client, server: FakeServer) -> None:
    server.failures.append(Failure("INVALID_ARGUMENT", "a mistake"))
    with pytest.raises(InvalidInput, match="a mistake"):
        client.wait_until_ready()


def test_a_closed_client_says_so(client: Client, server: FakeServer) -> None:
    client.assign(POINTS)
    client.close()
    client.close()
    for call in (lambda: client.assign(POINTS), client.status, client.wait_until_ready):
        with pytest.raises(InvalidInput, match="this client is closed"):
            call()


def test_a_call_under_way_ends_when_its_client_is_closed(
    client: Client, server: FakeServer
) -> None:
    server.gate.clear()
    raised = _in_thread(lambda: client.assign(POINTS, timeout=60))
    server.wait_until(lambda: bool(server.calls))
    client.close()
    (error,) = raised()
    assert type(error) is ServerError
    assert error.message == "the client was closed during the call"


def test_waiting_until_ready_ends_when_its_client_is_closed(wire: Wire, server: FakeServer) -> None:
    client = wire.client(server.address, "customers")
    server.model.states = {1: "LOADING"}
    raised = _in_thread(lambda: client.wait_until_ready(LIMIT))
    server.wait_until(lambda: len(server.calls) >= 3)
    client.close()
    assert [type(each) for each in raised()] == [ServerError]


ROWS = np.ones((2000, 2), np.float32)


@pytest.fixture
def writing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[threading.Event], list[Any]]]:
    """Holds what writes a request until an event is set; gives the questions as they come."""
    written: list[Any] = []
    gates: list[threading.Event] = []
    write = rest_messages.build_request

    def hold(gate: threading.Event) -> list[Any]:
        gates.append(gate)

        def held(question: Any) -> Any:
            written.append(question)
            assert gate.wait(LIMIT + 10)
            return write(question)

        monkeypatch.setattr(rest_messages, "build_request", held)
        return written

    yield hold
    for gate in gates:
        gate.set()


def test_a_call_whose_request_is_being_written_ends_when_its_client_is_closed(
    rest_wire: Wire, writing: Callable[[threading.Event], list[Any]]
) -> None:
    with FakeRestServer() as server:
        client = rest_wire.client(server.address, "customers")
        client.assign(ROWS)
        gate = threading.Event()
        written = writing(gate)
        raised = _in_thread(lambda: client.assign(ROWS, timeout=60))
        server.wait_until(lambda: bool(written))
        closing = threading.Thread(target=client.close)
        closing.start()
        assert [type(each) for each in raised()] == [ServerError]
        gate.set()
        closing.join(LIMIT)


def test_the_deadline_counts_while_a_request_is_written(
    rest_wire: Wire, writing: Callable[[threading.Event], list[Any]]
) -> None:
    with FakeRestServer() as server, rest_wire.client(server.address, "customers") as client:
        client.assign(ROWS)
        gate = threading.Event()
        writing(gate)
        with within(LIMIT), pytest.raises(DeadlineExceeded):
            client.assign(ROWS, timeout=0.3)
        gate.set()


def test_no_part_is_written_before_it_can_be_sent(
    writing: Callable[[threading.Event], list[Any]],
) -> None:
    limits = Limits(rows=100, in_flight=2)
    with (
        FakeRestServer() as server,
        RestClient(server.address, "customers", version=2, limits=limits) as client,
    ):
        client.assign(ROWS[:1])
        server.calls.clear()
        server.gate.clear()
        gate = threading.Event()
        gate.set()
        written = writing(gate)
        raised = _in_thread(lambda: client.assign(ROWS, timeout=60))
        server.wait_until(lambda: server.predicts() == 2)
        assert len(written) == 2
        server.gate.set()
        assert raised() == []
        assert len(written) == 20


def test_a_forked_process_goes_on_with_a_rest_client() -> None:
    program = """
import multiprocessing, warnings
from tests.serving.fake_servers import FakeRestServer
from serving import RestClient
warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: there are threads

def ask(client):
    assert client.assign([[1, 2]], timeout=20).cluster_index.tolist() == [0]
    client.close()

with FakeRestServer() as server:
    clients = [RestClient(server.address, "customers") for _ in range(2)]
    clients[0].assign([[1, 2]])
    for client in clients:
        child = multiprocessing.get_context("fork").Process(target=ask, args=(client,))
        child.daemon = True
        child.start()
        child.join(40)
        assert child.exitcode == 0, child.exitcode
    for client in clients:
        ask(client)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=100)


def test_threads_share_a_client_and_each_gets_its_own_answer(client: Client) -> None:
    rows = np.random.default_rng(5).normal(scale=8, size=(8, 30, 2))
    expected = [client.transform(each).all_distances for each in rows]
    wrong: list[int] = []

    def ask(at: int) -> None:
        for _ in range(10):
            answer: Any = client.transform(rows[at]).all_distances
            if not np.array_equal(answer, expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(rows))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def _in_thread(call: Callable[[], object]) -> Callable[[], list[BaseException]]:
    """What a call raised in a thread of its own, when that has ended."""
    raised: list[BaseException] = []

    def act() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to tell
            raised.append(error)

    thread = threading.Thread(target=act)
    thread.start()

    def ended() -> list[BaseException]:
        thread.join(LIMIT)
        assert not thread.is_alive()
        return raised

    return ended


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names whose resolver gives no answer before the event is set."""
    answer, asked = threading.Event(), threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        asked.set()
        assert answer.wait(LIMIT + 10)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield asked
    answer.set()


@pytest.mark.usefixtures("slow_names")
def test_a_name_that_is_not_resolved_in_time_is_told_so(rest_wire: Wire) -> None:
    client = rest_wire.client("models.test:8501", "customers")
    with pytest.raises(
        (ServerUnavailable, DeadlineExceeded), match=r"the name was not resolved in 0\.\d+ s"
    ):
        client.status(timeout=1)


def test_closing_a_client_does_not_wait_for_a_name(slow_names: threading.Event) -> None:
    client = RestClient("models.test:8501", "customers")
    raised = _in_thread(lambda: client.status(timeout=60))
    assert slow_names.wait(LIMIT)
    with within(LIMIT):
        client.close()
    assert [type(each) for each in raised()] == [ServerError]


def test_a_handshake_without_an_answer_is_told_so(rest_wire: Wire) -> None:
    def listen(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass

    with (
        raw_server(listen) as address,
        rest_wire.client(f"https://{address}", "customers") as client,
        pytest.raises(
            (ServerUnavailable, DeadlineExceeded), match="TLS: no answer to the handshake in"
        ),
    ):
        client.status(timeout=0.5)
