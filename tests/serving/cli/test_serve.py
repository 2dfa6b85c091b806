"""``serve`` as a user runs it: its log, its flags, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import psutil
import pytest

from serving.cli import main
from serving.cli.serve import LimitFlags, ServerFlags
from tests.serving.embedded.tiny_models import (
    ask,
    eventually,
    predict,
    states,
    write_gate,
    write_multiplier,
)

from .command import COMMAND, environment
from .serve_process import ServeProcess, serve_process

pytestmark = pytest.mark.slow

#: REST alone.
_PORTS = ("--rest-api-port", "auto", "--port", "0")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The base path of a model ``m`` whose version 1 multiplies by 1."""
    base = tmp_path / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


def _fail_in_every_way(served: ServeProcess, base: Path) -> None:
    """A failed load, failed requests, a load and an unload."""
    address = served.rest_address
    (base / "2").mkdir()
    eventually(lambda: states(address, "m"), lambda s: s.get(2) == "END")
    assert ask(address, "POST", "/v1/models/m:predict", {"instances": ["x"]})[0] == 400
    assert ask(address, "POST", "/v1/models/n%0An:predict", {"instances": [1]})[0] == 404
    assert ask(address, "GET", "/v1/models/m/versions/9")[0] == 404
    assert ask(address, "GET", "/nowhere")[0] == 404
    write_multiplier(base, 3)
    eventually(lambda: states(address, "m"), lambda s: s[1] == "END")
    assert predict(address, "m") == 3


_FLAGS = ("--file-system-poll-wait-seconds", 0.05, "--max-num-load-retries", 0)


def test_each_load_unload_and_failure_is_a_line_of_json_on_stderr(base: Path) -> None:
    with serve_process(base, *_PORTS, *_FLAGS, "--json") as served:
        _fail_in_every_way(served, base)
        assert served.end() == 0
    events = [json.loads(line) for line in served.lines]
    assert [(e["event"], e["model"], e["version"]) for e in events] == [
        ("loaded", "m", 1),
        ("load_failed", "m", 2),
        ("request_failed", "m", 1),
        ("request_failed", "n n", None),
        ("request_failed", "m", 9),
        ("request_failed", "-", None),
        ("loaded", "m", 3),
        ("unloaded", "m", 1),
        ("unloaded", "m", 3),
    ]
    assert events[1]["reason"].startswith("NOT_FOUND: ")
    assert [e["code"] for e in events[2:6]] == [
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "NOT_FOUND",
        "Not Found",
    ]
    assert "is not of expected type: float" in events[2]["reason"]
    assert all(e["time"].endswith("+00:00") and e["reason"] is not None for e in events)


def test_the_log_is_for_people_without_json(base: Path) -> None:
    with serve_process(base, *_PORTS, *_FLAGS) as served:
        _fail_in_every_way(served, base)
        assert served.end() == 0
    said = [line.partition(" ")[2] for line in served.lines]
    assert [line.split(" ")[0] for line in said] == [
        "loaded",
        "m",  # "serving m from ...; Ctrl-C ends it", which has no time before it
        "load_failed",
        *["request_failed"] * 4,
        "loaded",
        "unloaded",
        "unloaded",
    ]
    assert "model=m version=2 NOT_FOUND: " in said[2]
    assert said[3].startswith("request_failed model=m version=1 REST INVALID_ARGUMENT: ")
    assert not any("Traceback" in line for line in served.lines)


def test_sigterm_answers_every_request_that_was_accepted(tmp_path: Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    write_gate(base, 1)
    started, gate = tmp_path / "started", tmp_path / "gate"
    body = json.dumps({"instances": [{"started": str(started), "gate": str(gate)}]}).encode()
    with serve_process(base, *_PORTS) as served, ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, served.rest_address, "POST", "/v1/models/m:predict", body)
        assert eventually(started.exists, bool)
        sending = [_accepted(served.rest_address, len(body)) for _ in range(5)]
        served.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: _is_refused(served.rest_address), bool)
        assert not running.done()
        gate.touch()
        for connection in sending:
            connection.sendall(body)
        assert [running.result()[0], *map(_status, sending)] == [200] * 6
        assert served.end() == 0


def test_the_address_of_a_model_is_served_as_its_folder_is(base: Path) -> None:
    with serve_process(f"file://{base}/", *_PORTS) as served:
        assert predict(served.rest_address, "m") == 1
        assert served.end() == 0


def test_an_address_where_nothing_is_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = _refusal(capsys, "ram://models/m")
    assert "base path ram://models/m of model m does not exist" in line


@pytest.mark.parametrize("place", ["s3://bucket/models/m", "nowhere://bucket/models/m"])
def test_an_address_that_tensorflow_cannot_reach_is_one_line(
    capsys: pytest.CaptureFixture[str], place: str
) -> None:
    line = _refusal(capsys, place)
    assert line == (
        f"error: base path {place} of model m can't be read: this TensorFlow has no file system "
        "for such addresses; mount the store as a folder, or copy the versions"
    )


@pytest.mark.parametrize("output", ["closed", "a pipe that nobody reads"])
def test_a_server_whose_output_nobody_takes_says_so_and_serves(
    base: Path, tmp_path: Path, output: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ports = ["--port", "0", "--rest-api-port", address.rpartition(":")[2]]
    close = ">&-" if output == "closed" else ""
    serve = ["bash", "-c", f'exec "$@" {close}', "bash", *COMMAND, "serve", str(base), *ports]
    reading, writing = os.pipe()
    os.close(reading)
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(serve, env=environment(), stdout=writing, stderr=stderr) as process,
    ):
        os.close(writing)
        try:
            deadline = time.monotonic() + 120  # TensorFlow's import is in it
            while not _is_served(address):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert predict(address, "m") == 1
        finally:
            process.terminate()
    assert process.returncode == 0
    said = log.read_text()
    assert "Traceback" not in said
    assert ("standard output is closed" if close else "Broken pipe") in said


def _is_served(address: str) -> bool:
    try:
        return ask(address, "GET", "/v1/models/m")[0] == 200
    except OSError:
        return False


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that ``serve`` writes before it ends with exit code 2."""
    assert main(["serve", *arguments, "--port", "auto"]) == 2
    said, complaint = capsys.readouterr()
    assert said == ""
    (line,) = complaint.splitlines()
    return str(line)


def _accepted(address: str | None, size: int) -> socket.socket:
    """A connection of a request whose body the server has said that it waits for."""
    assert address is not None
    host, port = address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(
        b"POST /v1/models/m:predict HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % size
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    return connection


def _status(connection: socket.socket) -> int:
    with connection, connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def _is_refused(address: str | None) -> bool:
    try:
        ask(address, "GET", "/v1/models/m")
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    "flag",
    [
        "--enable_batching",
        "--enable-batching=true",
        "--batching_parameters_file=x",
        "-tensorflow_session_parallelism=1",
        "--grpc_max_threads",
        "--saved-model-tags",
    ],
)
def test_another_flag_of_tf_serving_is_refused_by_its_name(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _refusal(capsys, str(tmp_path), flag)
    assert f"{flag.partition('=')[0]}: a flag of TensorFlow Serving" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ssl-config-file", "nothing.pem"], "nothing.pem does not exist"),
        (["--max-num-load-retries", "-1"], "--max-num-load-retries"),
        (["--load-retry-interval-micros", "1.5"], "--load-retry-interval-micros"),
        (["--rest-api-timeout-in-ms", "x"], "--rest-api-timeout-in-ms"),
        (
            ["--enable-model-warmup=maybe"],
            "--enable-model-warmup=maybe is not valid; give true or false",
        ),
        (["--model-config-file-poll-wait-seconds", "1"], "needs a model_config_file"),
    ],
)
def test_a_flag_with_a_bad_value_is_one_line(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in _refusal(capsys, str(tmp_path), *arguments)


_NUMBER_FLAGS = [
    f"--{field.name.replace('_', '-')}"
    for field in (*fields(ServerFlags), *fields(LimitFlags))
    if type(field.default) in {int, float}
]


@pytest.mark.parametrize("flag", _NUMBER_FLAGS)
@pytest.mark.parametrize("number", ["-1", "99999999999999999999"])
def test_a_number_that_is_out_of_range_is_refused_by_its_flag(
    tmp_path: Path, flag: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _refusal(capsys, str(tmp_path), flag, number)
    assert flag in line
    assert f"{number} is not a" in line


def test_metrics_are_served_and_warm_up_is_left_out_as_asked(base: Path, tmp_path: Path) -> None:
    warmup = base / "1" / "assets.extra" / "tf_serving_warmup_requests"
    warmup.parent.mkdir(exist_ok=True)
    warmup.write_bytes(b"no records")
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ("--enable-model-warmup=false", "--monitoring-config-file", monitoring)
    with serve_process(base, *_PORTS, *flags) as served:
        assert predict(served.rest_address, "m") == 1
        _, page = ask(served.rest_address, "GET", "/monitoring/prometheus/metrics")
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1' in page.splitlines()


def test_a_server_out_of_descriptors_says_so_in_few_lines_and_recovers(base: Path) -> None:
    flags = (*_PORTS, "--rest-api-max-connections", 100_000, "--file-system-poll-wait-seconds", 0)
    with serve_process(base, *flags) as served, ExitStack() as stack:
        assert predict(served.rest_address, "m") == 1
        served_as = psutil.Process(served.process.pid)
        few = served_as.num_fds() + 20
        served_as.rlimit(psutil.RLIMIT_NOFILE, (few, few))
        host, port = str(served.rest_address).split(":")
        for _ in range(100):
            connection = socket.create_connection((host, int(port)), timeout=60)
            stack.enter_context(connection)
        assert eventually(lambda: _lines_about(served, "can't be accepted"), bool)
        stack.close()
        assert predict(served.rest_address, "m") == 1
        assert served.end() == 0
    assert len(_lines_about(served, "can't be accepted: Too many open files")) == 1
    assert not _lines_about(served, "Traceback")


def _lines_about(served: ServeProcess, text: str) -> list[str]:
    return [line for line in served.lines if text in line]


def test_a_crowd_of_connections_leaves_descriptors_for_the_rest(base: Path) -> None:
    flags = (*_PORTS, "--rest-api-max-connections", 20, "--enable-grpc-healthcheck-service")
    with serve_process(base, *flags) as served, ExitStack() as stack:
        host, port = str(served.rest_address).split(":")
        held = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            for _ in range(200)
        ]
        assert held[-1].recv(12) == b"HTTP/1.1 503"
        stack.close()
        assert predict(served.rest_address, "m") == 1
        assert served.end() == 0
    assert len(_lines_about(served, "more than 20 connections")) == 1
