"""No caller can have all of the server: what is above a limit is refused, and it serves on."""

import gzip
import http.client
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.embedded import EmbeddedServer, InvalidOptions, ServerLimits
from serving.embedded.option_ranges import MAX_COUNT, MAX_LARGE
from tests.serving.embedded.tiny_models import ask, eventually, predict, write_multiplier

pytestmark = pytest.mark.slow

_TIMEOUT = 20
_PATH = "/v1/models/m:predict"
_LIMITS = ServerLimits(
    rest_api_max_connections=3,
    grpc_max_connections=1,
    rest_api_max_body_bytes=50_000,
    rest_api_max_inflated_bytes=40_000,
    rest_api_max_nested_bytes=20_000,
    max_unknown_models_in_metrics=5,
    max_log_text_characters=200,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of the multiplier ``m`` under narrow limits, its metrics on."""
    root: Path = tmp_path_factory.mktemp("limits")
    (root / "m").mkdir()
    write_multiplier(root / "m", 1)
    monitoring = root / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with EmbeddedServer(
        model_name="m",
        model_base_path=root / "m",
        monitoring_config_file=monitoring,
        limits=_LIMITS,
    ) as running:
        yield running


def _connect(server: EmbeddedServer) -> socket.socket:
    host, port = str(server.rest_address).split(":")
    return socket.create_connection((host, int(port)), timeout=_TIMEOUT)


def _status(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/v1/models/m")
    response = connection.getresponse()
    response.read()
    return response.status


def _is_served(server: EmbeddedServer) -> bool:
    try:
        return ask(server.rest_address, "GET", "/v1/models/m")[0] == 200
    except OSError:  # cut off as one too many, before its request was read
        return False


def _post(server: EmbeddedServer, body: bytes, **headers: str) -> tuple[int, str]:
    return ask(server.rest_address, "POST", _PATH, body, headers)


def _refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "request_failed"]


def test_one_connection_too_many_is_told_so_and_the_others_are_served(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        held = [http.client.HTTPConnection(str(server.rest_address), timeout=20) for _ in range(3)]
        for connection in held:
            stack.callback(connection.close)
            assert _status(connection) == 200
        for _ in range(50):
            with _connect(server) as more:
                assert more.makefile("rb").read().startswith(b"HTTP/1.1 503 Service Unavailable")
        assert _status(held[0]) == 200
    # They are free again.
    assert (
        eventually(lambda: ask(server.rest_address, "GET", "/v1/models/m")[0], (200).__eq__) == 200
    )
    (told,) = _refusals(caplog)
    assert "more than 3 connections" in told


def test_one_grpc_connection_too_many_is_closed(server: EmbeddedServer) -> None:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m"})
    options = [("grpc.use_local_subchannel_pool", 1)]
    with (
        grpc.insecure_channel(str(server.grpc_address), options) as first,
        grpc.insecure_channel(str(server.grpc_address), options) as second,
    ):
        status = model_service_pb2_grpc.ModelServiceStub(first).GetModelStatus
        assert status(request, timeout=_TIMEOUT).model_version_status
        with pytest.raises(grpc.RpcError) as caught:
            model_service_pb2_grpc.ModelServiceStub(second).GetModelStatus(request, timeout=1)
        assert caught.value.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }
        assert status(request, timeout=_TIMEOUT).model_version_status


def test_a_longer_body_is_refused_with_413(server: EmbeddedServer) -> None:
    body = b'{"instances": [3], "more": "%s"}' % (b"x" * 49_900)
    assert _post(server, body)[0] == 200
    status, text = _post(server, body + b" " * 200)
    assert (status, "Request Entity Too Large" in text) == (413, True)


def test_a_longer_body_in_chunks_is_refused_before_its_end(server: EmbeddedServer) -> None:
    with _connect(server) as connection:
        head = f"POST {_PATH} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"EA60\r\n" + b" " * 0xEA60)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 413")


def test_a_body_that_grows_too_long_when_inflated_is_refused(server: EmbeddedServer) -> None:
    within, beyond = b'{"instances": [3]}' + b" " * 39_000, b" " * 10_000_000
    encoding = {"Content-Encoding": "gzip"}
    assert _post(server, gzip.compress(within), **encoding)[0] == 200
    status, text = _post(server, gzip.compress(beyond), **encoding)
    assert status == 400
    assert "more than 40000 bytes when it is inflated (rest_api_max_inflated_bytes)" in text


@pytest.mark.parametrize("brackets", [b"[]", b"{}"])
def test_a_long_body_that_is_nested_deep_is_refused(
    server: EmbeddedServer, brackets: bytes
) -> None:
    opening = b"[" if brackets == b"[]" else b'{"a":'
    nested = b'{"instances": %s1%s}' % (opening * 2_000, brackets[1:] * 2_000)
    assert "levels deep" not in _post(server, nested)[1]
    status, text = _post(server, nested.replace(b"}", b" " * 20_000 + b"}", 1))
    assert status == 400
    assert "nested more than 16 levels deep; a body that is so may have 20000" in text


@pytest.mark.parametrize("opening", [b"[", b'{"":'])
def test_a_long_body_may_be_nested_16_levels_deep(server: EmbeddedServer, opening: bytes) -> None:
    """The body itself and its list are the first two."""
    closing = bytes([opening[0] + 2])

    def body(levels: int) -> bytes:
        element = opening * (levels - 2) + b"1" + closing * (levels - 2)
        return b'{"instances": [%s]}' % b",".join([element] * (30_000 // len(element)))

    encoding = {"Content-Encoding": "gzip"}
    for levels in (16, 17, 199, 900):
        status, text = _post(server, gzip.compress(body(levels)), **encoding)
        assert (status == 400 and "more than 16 levels deep" in text) == (levels > 16)


def test_brackets_in_strings_are_no_levels(server: EmbeddedServer) -> None:
    body = b'{"instances": [3], "more": "%s"}' % (b"[" * 30_000)
    assert _post(server, body)[0] == 200


def test_made_up_models_share_a_series_once_there_are_many(server: EmbeddedServer) -> None:
    for number in range(50):
        assert ask(server.rest_address, "GET", f"/v1/models/made-up-{number}")[0] == 404
    assert predict(server.rest_address, "m") == 1
    _, page = ask(server.rest_address, "GET", "/monitoring/prometheus/metrics")
    name = ":tensorflow:serving:request_count"
    counts = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(name))
    unknown = [label for label in counts if "made-up" in label]
    assert len(unknown) <= 5
    others = counts[f'{name}{{model_name="(other)",status="NOT_FOUND"}}']
    assert int(others) + len(unknown) >= 50
    assert f'{name}{{model_name="m",status="OK"}}' in counts


def test_a_line_of_the_log_has_a_bounded_length(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "serving.embedded"):
        assert ask(server.rest_address, "GET", "/v1/models/" + "x" * 50_000)[0] == 404
        assert ask(server.rest_address, "GET", "/" + "y" * 50_000)[0] == 404
    told = _refusals(caplog)
    assert len(told) == 2
    for line in told:
        assert len(line) < 600
        assert "characters)" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rest_api_max_connections", -1),
        ("rest_api_max_body_bytes", 0),
        ("max_log_text_characters", 1.5),
        ("grpc_max_connections", MAX_COUNT + 1),
        ("rest_api_max_inflated_bytes", MAX_LARGE + 1),
    ],
)
def test_a_limit_that_is_none_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidOptions, match=f"{name} {value} is not a whole number"):
        ServerLimits(**{name: value})


def test_the_greatest_limits_and_options_are_taken(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_multiplier(tmp_path / "m", 1)
    limits = ServerLimits(
        **{
            each.name: MAX_LARGE if each.name.endswith("_bytes") else MAX_COUNT
            for each in fields(ServerLimits)
        }
    )
    with EmbeddedServer(
        model_name="m",
        model_base_path=tmp_path / "m",
        file_system_poll_wait_seconds=MAX_COUNT,
        max_num_load_retries=MAX_COUNT,
        load_retry_interval_micros=MAX_LARGE,
        rest_api_timeout_in_ms=MAX_COUNT,
        limits=limits,
    ) as server:
        body = gzip.compress(b'{"instances": [3]}')
        assert _post(server, body, **{"Content-Encoding": "gzip"})[0] == 200
        request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "m"})
        with grpc.insecure_channel(str(server.grpc_address)) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            assert stub.GetModelStatus(request, timeout=_TIMEOUT).model_version_status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rest_api_timeout_in_ms", 10**20),
        ("load_retry_interval_micros", MAX_LARGE + 1),
        ("file_system_poll_wait_seconds", float("inf")),
        ("file_system_poll_wait_seconds", float("nan")),
    ],
)
def test_an_option_that_is_out_of_range_is_named(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidOptions, match=f"{name} {value} is not from 0 to"):
        EmbeddedServer(model_name="m", model_base_path=tmp_path, **{name: value})


def test_a_refused_request_is_counted_as_what_it_is(server: EmbeddedServer) -> None:
    """OPTIONS counts as a request about no model, good or bad, as in TF Serving."""
    assert ask(server.rest_address, "OPTIONS", _PATH)[0] == 400
    assert ask(server.rest_address, "OPTIONS", _PATH, None, {"Origin": "http://a"})[0] == 200
    connection = http.client.HTTPConnection(str(server.rest_address), timeout=_TIMEOUT)
    connection.request("GET", "/monitoring/prometheus/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    name = ":tensorflow:serving:request_count"
    assert f'{name}{{model_name="",status="FAILED_PRECONDITION"}} 1' in page
    assert f'{name}{{model_name="",status="OK"}} 1' in page
    assert ':request_latency_count{model_name="",API="",entrypoint="REST"} 1' in page


def test_the_limits_and_flags_have_the_same_defaults() -> None:
    from serving.cli.serve import LimitFlags

    assert asdict(LimitFlags()) == asdict(ServerLimits())


def test_names_that_are_json_are_cut_whole(server: EmbeddedServer) -> None:
    """The answer itself is not cut: REST gives messages whole."""
    status, text = ask(server.rest_address, "GET", "/v1/models/" + "z" * 30_000)
    assert status == 404
    assert "z" * 30_000 in json.loads(text)["error"]
