"""Callers that go away, dawdle or send too much get an answer, or no connection; it serves on."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import grpc
import pytest
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.embedded import EmbeddedServer
from tests.serving.embedded.tiny_models import (
    ask,
    eventually,
    predict,
    write_gate,
    write_multiplier,
)

pytestmark = pytest.mark.slow

_TIMEOUT = 60.0
_PATH = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of a multiplier by 1."""
    base = tmp_path_factory.mktemp("trouble") / "m"
    base.mkdir()
    write_multiplier(base, 1)
    with EmbeddedServer(model_name="m", model_base_path=base) as running:
        yield running


@pytest.fixture(autouse=True)
def _serves_on(server: EmbeddedServer) -> Iterator[None]:
    yield
    assert predict(server.rest_address, "m", x=7) == 7


def _connect(server: EmbeddedServer) -> socket.socket:
    assert server.rest_address is not None
    host, port = server.rest_address.split(":")
    return socket.create_connection((host, int(port)), timeout=_TIMEOUT)


def _post(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return (
        b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (_PATH.encode(), size) + body
    )


def _status(connection: socket.socket) -> int:
    first = connection.makefile("rb").readline()
    return int(first.split()[1]) if first else 0


def _next_body(stream: BinaryIO) -> bytes:
    """The body of the next answer of a connection."""
    head = iter(stream.readline, b"\r\n")
    (length,) = (line.split()[1] for line in head if line.lower().startswith(b"content-length"))
    return stream.read(int(length))


@pytest.mark.parametrize("sent", [b"POST ", _post(b"{", 100), _post(b'{"instances": [1]}')])
def test_a_client_that_goes_away_is_forgotten(server: EmbeddedServer, sent: bytes) -> None:
    for _ in range(20):
        connection = _connect(server)
        # Closed by a reset, as by a program that is killed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent)
        connection.close()


def test_a_client_that_goes_away_while_its_request_runs_does_not_stop_it(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    body = json.dumps({"instances": [{"started": str(started), "gate": str(gate)}]}).encode()
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        connection = _connect(server)
        connection.sendall(_post(body))
        assert eventually(started.exists, bool)
        connection.close()
        gate.touch()
        assert ask(server.rest_address, "GET", "/v1/models/m")[0] == 200


def test_a_body_of_100_mb_is_answered(server: EmbeddedServer) -> None:
    body = b'{"instances": [3], "more": "' + b"x" * 100_000_000 + b'"}'
    status, text = ask(server.rest_address, "POST", _PATH, body)
    assert (status, json.loads(text)) == (200, {"predictions": [3.0]})


@pytest.mark.parametrize("levels", [2_000, 20_000])
@pytest.mark.parametrize("key", ["instances", "inputs", "more"])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_thousands_of_brackets_are_answered(
    server: EmbeddedServer, levels: int, key: str, brackets: str
) -> None:
    opening = "[" if brackets == "[]" else '{"a":'
    closing = brackets[1]
    nested = opening * levels + "1" + closing * levels
    status, text = ask(server.rest_address, "POST", _PATH, f'{{"{key}": {nested}}}'.encode())
    assert status == 400
    assert json.loads(text)["error"]
    # And cut off, so that it is no JSON.
    status, _ = ask(server.rest_address, "POST", _PATH, f'{{"{key}": {opening * levels}'.encode())
    assert status == 400


def test_a_slow_sender_is_answered_and_holds_nobody_up(server: EmbeddedServer) -> None:
    request = _post(b'{"instances": [5]}')
    with _connect(server) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            slow.sendall(bytes([byte]))
            if byte == ord("\n"):
                assert predict(server.rest_address, "m", x=2) == 2
        assert _status(slow) == 200


def test_a_slow_senders_time_is_not_the_servers(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    seconds = 1.0
    with EmbeddedServer(
        model_name="m", model_base_path=base, rest_api_timeout_in_ms=int(seconds * 1000)
    ) as server:
        request = _post(b'{"instances": [5]}')
        with _connect(server) as slow:
            slow.sendall(request[:-5])
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began, lambda waited: waited > seconds)
            slow.sendall(request[-5:])
            assert _status(slow) == 200


def _stopping(server: EmbeddedServer) -> threading.Thread:
    """A thread that stops the server; its port is closed already."""
    stopper = threading.Thread(target=server.stop)
    address = server.rest_address
    stopper.start()
    assert eventually(lambda: _refuses(address), bool)
    return stopper


def _refuses(address: str | None) -> bool:
    try:
        ask(address, "GET", "/v1/models/m")
    except OSError:
        return True
    return False


def test_a_stop_waits_for_no_body_that_does_not_come(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    with _connect(server) as half:
        half.sendall(_post(b'{"instances"', 100))
        assert predict(server.rest_address, "m", x=3) == 3
        stopper = _stopping(server)
        stopper.join(20)
        assert not stopper.is_alive()
    (failed,) = (r for r in caplog.records if getattr(r, "event", "") == "request_failed")
    assert f"POST {_PATH} was not whole when the server stopped" in failed.getMessage()
    assert not [r for r in caplog.records if r.exc_info or r.name.startswith("uvicorn")]


def test_a_stop_waits_for_a_body_that_it_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.embedded.rest_listener._BODY_GRACE", 0.0)
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    body = b'{"instances": [5]}'
    with _connect(server) as asked:
        asked.sendall(_post(b"", len(body)).replace(b"Host", b"Expect: 100-continue\r\nHost"))
        assert _status(asked) == 100
        stopper = _stopping(server)
        asked.sendall(body)
        answered = asked.makefile("rb").read()
    stopper.join()
    assert b"HTTP/1.1 200" in answered


def test_what_is_not_done_when_the_grace_ends_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.embedded.server._GRACE", 0.5)
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    body = json.dumps({"instances": [{"started": str(started), "gate": str(gate)}]}).encode()
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    with _connect(server) as connection:
        connection.sendall(_post(body))
        assert eventually(started.exists, bool)
        stopper = _stopping(server)
        answered = connection.makefile("rb").read()
        gate.touch()
        stopper.join()
    assert answered.startswith(b"HTTP/1.1 503")
    assert b"The server is stopping" in answered
    assert not [r for r in caplog.records if r.exc_info or r.name.startswith("uvicorn")]


def test_500_idle_connections_hold_nobody_up(server: EmbeddedServer) -> None:
    idle = [_connect(server) for _ in range(500)]
    try:
        assert predict(server.rest_address, "m", x=3) == 3
        # Each of them is still good for a request.
        for connection in idle[::100]:
            connection.sendall(_post(b'{"instances": [1]}'))
            assert _status(connection) == 200
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v1/models/m\r\n\r\n",
        b"GET /v1/models/\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\r\n\r\n\0\0\0",
    ],
)
def test_what_is_no_http_gets_the_error_page_and_is_cut_off(
    server: EmbeddedServer, sent: bytes
) -> None:
    answer = b""
    # What is cut off before all of it was read may be a reset to its sender.
    with _connect(server) as connection, suppress(ConnectionError):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert re.fullmatch(rb"|HTTP/1\.1 (400|404|501) .*", answer, re.DOTALL)
    assert b"Traceback" not in answer


def test_a_request_is_answered_though_its_sender_has_closed_his_side(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    body = json.dumps({"instances": [{"started": str(started), "gate": str(gate)}]}).encode()
    with (
        EmbeddedServer(model_name="m", model_base_path=base) as server,
        _connect(server) as connection,
    ):
        connection.sendall(_post(body))
        connection.shutdown(socket.SHUT_WR)
        assert eventually(started.exists, bool)
        # The end of what was sent has been read once a later request is answered.
        assert ask(server.rest_address, "GET", "/v1/models/m")[0] == 200
        gate.touch()
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK")  # and then the connection was closed


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 19\r\nContent-Length: 18",
        b"Content-Length: 18\r\nContent-Length: 018",
        b"Content-Length: 18\r\nTransfer-Encoding: chunked",
        b"Content-Length: 18\nContent-Length: 18",
        b"X: y\nTransfer-Encoding: chunked\r\nContent-Length: 18",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(
    server: EmbeddedServer, lengths: bytes
) -> None:
    request = _post(b'{"instances": [5]}').replace(b"Content-Length: 18", lengths)
    with _connect(server) as connection:
        connection.sendall(request)
        assert _status(connection) == 400


@pytest.mark.parametrize("lengths", [1, 2, 3])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_length_that_is_there_again_and_lines_without_carriage_return_are_taken(
    server: EmbeddedServer, lengths: int, end: bytes
) -> None:
    length = b"\r\ncontent-LENGTH:  22" * lengths
    head = b"POST %b HTTP/1.1%b\r\nHost: h\r\n\r\n" % (_PATH.encode(), length)
    with _connect(server) as connection:
        connection.sendall(head.replace(b"\r\n", end) + b'{"instances": [5]\r\n\r\n}')
        stream = connection.makefile("rb")
        assert json.loads(_next_body(stream))["predictions"] == [5]


def test_half_a_request_is_dropped_with_its_sender(server: EmbeddedServer) -> None:
    for sent in (b"", b"GET /v1/models/m HTT", _post(b"{", 100)):
        with _connect(server) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.makefile("rb").read() == b""


def test_requests_sent_in_one_go_are_answered_in_order(server: EmbeddedServer) -> None:
    with _connect(server) as connection:
        connection.sendall(b"".join(_post(b'{"instances": [%d]}' % x) for x in range(1, 9)))
        stream = connection.makefile("rb")
        answers = [_next_body(stream) for _ in range(8)]
    assert [json.loads(answer)["predictions"] for answer in answers] == [[x] for x in range(1, 9)]


def test_what_is_no_http_behind_a_request_does_not_take_its_answer(server: EmbeddedServer) -> None:
    with _connect(server) as connection:
        connection.sendall(_post(b'{"instances": [5]}') + b"no HTTP at all\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_a_request_that_asks_for_another_protocol_is_answered_by_this_one(
    server: EmbeddedServer,
) -> None:
    """As Java's client sends it."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost"
    with _connect(server) as connection:
        stream = connection.makefile("rb")
        for _ in range(2):
            connection.sendall(_post(b'{"instances": [5]}').replace(b"Host", upgrade))
            assert json.loads(_next_body(stream))["predictions"] == [5]


def test_what_is_no_message_is_refused_over_grpc(server: EmbeddedServer) -> None:
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        for rpc in ("Predict", "Classify", "MultiInference", "GetModelMetadata"):
            call: Any = channel.unary_unary(f"/tensorflow.serving.PredictionService/{rpc}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff\xff", timeout=_TIMEOUT)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert caught.value.details() == ""
        unknown: Any = channel.unary_unary("/tensorflow.serving.PredictionService/Nope")
        with pytest.raises(grpc.RpcError) as caught:
            unknown(b"", timeout=_TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reloads_that_wait_hold_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """More of them than there are threads, each with a model that does not load."""
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    served = model_server_config_pb2.ModelConfig(
        name="m", base_path=str(base), model_platform="tensorflow"
    )
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        assert server.grpc_address is not None
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            calls = []
            for number in range(40):
                empty = tmp_path / f"empty{number}"
                (empty / "1").mkdir(parents=True)
                request = model_management_pb2.ReloadConfigRequest()
                models = request.config.model_config_list
                models.config.append(served)
                models.config.add(
                    name=empty.name, base_path=str(empty), model_platform="tensorflow"
                )
                calls.append(stub.HandleReloadConfigRequest.future(request))
            # Those that have a thread to wait in.
            assert eventually(lambda: _logged(caplog, "load_failed"), lambda n: n >= 8) >= 8
            assert predict(server.rest_address, "m", x=3) == 3
            status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
            asked = get_model_status_pb2.GetModelStatusRequest()
            asked.model_spec.name = "m"
            assert status(asked, timeout=_TIMEOUT).model_version_status
            for call in calls:
                call.cancel()
            # With the callers their waiting has ended: a thread is free for the next.
            request = model_management_pb2.ReloadConfigRequest()
            request.config.model_config_list.config.append(served)
            assert not stub.HandleReloadConfigRequest(request, timeout=_TIMEOUT).status.error_code


def _logged(caplog: pytest.LogCaptureFixture, event: str) -> int:
    return sum(getattr(record, "event", "") == event for record in caplog.records)


def test_a_small_message_cannot_ask_for_all_memory(server: EmbeddedServer) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(1)
    tensor.tensor_shape.dim.add(size=2**39)
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=_TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
