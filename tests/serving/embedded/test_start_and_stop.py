"""What keeps the server from starting is one clear line; what started leaves nothing behind."""

import http
import socket
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from serving.embedded import (
    AddressUnavailable,
    EmbeddedServer,
    InvalidModelConfig,
    InvalidOptions,
    ModelLoadFailed,
    NoModel,
    PortInUse,
    ServerStartError,
)
from tests.serving.embedded.tiny_models import ask, eventually, predict, write_multiplier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base path of a model of one version."""
    base = tmp_path_factory.mktemp("models") / "m"
    base.mkdir()
    write_multiplier(base, 1)
    return base


def _refusal(kind: type[ServerStartError], **options: Any) -> str:
    """The error of a start, which must be of that class and one line."""
    with pytest.raises(kind) as caught:
        EmbeddedServer(max_num_load_retries=0, **options).start()
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    return message


def test_auto_ports_are_free_ones_on_loopback(base: Path) -> None:
    with EmbeddedServer(model_name="m", model_base_path=base) as server:
        assert server.grpc_address != server.rest_address
        for address in (server.grpc_address, server.rest_address):
            assert address is not None
            host, port = address.split(":")
            assert host == "127.0.0.1"
            socket.create_connection((host, int(port)), timeout=10).close()


def test_given_ports_are_taken(base: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with EmbeddedServer(model_name="m", model_base_path=base, port=0, rest_api_port=port) as server:
        assert server.rest_address == f"127.0.0.1:{port}"


@pytest.mark.parametrize("off", ["port", "rest_api_port"])
def test_port_0_is_off(base: Path, off: str) -> None:
    ports: dict[str, Any] = {off: 0}
    with EmbeddedServer(model_name="m", model_base_path=base, **ports) as server:
        assert (server.grpc_address is None) == (off == "port")
        assert (server.rest_address is None) == (off == "rest_api_port")


def test_both_ports_off_is_refused(base: Path) -> None:
    message = _refusal(
        InvalidOptions, model_name="m", model_base_path=base, port=0, rest_api_port=0
    )
    assert "both 0" in message


@pytest.mark.parametrize("port", [-1, 65536, "8500", "any"])
def test_a_port_that_is_none_is_refused_by_its_value(base: Path, port: Any) -> None:
    message = _refusal(InvalidOptions, model_name="m", model_base_path=base, port=port)
    assert repr(port) in message


@pytest.mark.parametrize("option", ["port", "rest_api_port"])
def test_a_port_in_use_is_named(base: Path, option: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ports: dict[str, Any] = {option: port}
        message = _refusal(PortInUse, model_name="m", model_base_path=base, **ports)
    assert f"{option} {port} on 127.0.0.1 is in use" in message


def test_two_servers_never_share_a_grpc_port(base: Path) -> None:
    with EmbeddedServer(model_name="m", model_base_path=base, rest_api_port=0) as first:
        assert first.grpc_address is not None
        port = int(first.grpc_address.split(":")[1])
        _refusal(PortInUse, model_name="m", model_base_path=base, port=port, rest_api_port=0)


def test_a_host_that_is_not_of_this_machine_is_refused(base: Path) -> None:
    _refusal(AddressUnavailable, model_name="m", model_base_path=base, host="192.0.2.1")
    _refusal(InvalidOptions, model_name="m", model_base_path=base, host="no such host")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model_name": "m"},
        {"model_base_path": "/models/m"},
        {"model_config_file": "x", "model_name": "m", "model_base_path": "/models/m"},
        {"model_config_file": "x", "model_name": "m"},
    ],
)
def test_a_model_is_given_in_one_way(options: dict[str, Any]) -> None:
    assert "model_config_file" in _refusal(InvalidOptions, **options)


def test_a_negative_wait_is_refused(base: Path) -> None:
    _refusal(InvalidOptions, model_name="m", model_base_path=base, file_system_poll_wait_seconds=-1)


def test_a_missing_base_path_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    message = _refusal(NoModel, model_name="m", model_base_path=missing)
    assert f"{missing} of model m does not exist" in message


def test_a_base_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = _refusal(NoModel, model_name="m", model_base_path=tmp_path / "file")
    assert "is not a folder" in message


@pytest.mark.parametrize("inside", [(), ("notes.txt", ".incoming-1", "v1")])
def test_a_base_path_without_versions_is_named(tmp_path: Path, inside: tuple[str, ...]) -> None:
    for name in inside:
        (tmp_path / name).mkdir()
    message = _refusal(NoModel, model_name="m", model_base_path=tmp_path)
    assert f"{tmp_path} of model m holds no version folder" in message


def test_a_policy_for_versions_that_are_not_there_says_which_are(
    base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: '
        '"tensorflow" model_version_policy { specific { versions: 9 } } } }'
    )
    assert "(it contains 1)" in _refusal(NoModel, model_config_file=config)


def test_a_version_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    message = _refusal(ModelLoadFailed, model_name="m", model_base_path=tmp_path)
    assert message.startswith(f"version 3 of model m in {tmp_path} does not load: ")


def test_a_corrupt_saved_model_is_named(tmp_path: Path) -> None:
    version = write_multiplier(tmp_path, 1)
    (version / "saved_model.pb").write_bytes(b"no model")
    message = _refusal(ModelLoadFailed, model_name="m", model_base_path=tmp_path)
    assert "saved_model.pb" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_config_list {", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        ("what: 1", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        ("", "lists no model"),
        ("model_config_list {}", "lists no model"),
        (
            'model_config_list { config { name: "m" base_path: "m" model_type: TENSORFLOW } }',
            "Expected model m to have an absolute path or URI; got base_path()=m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" }'
            ' config { name: "m" base_path: "/n" model_platform: "tensorflow" } }',
            "Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_platform: "x" } }',
            "Model m requests unsupported platform x",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" } }',
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_type: TENSORFLOW '
            'model_platform: "tensorflow" } }',
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            'model_config_list { config { name: "m" base_path: "/m" model_type: OTHER } }',
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
        (  # what is listed twice is told before what is relative
            'model_config_list { config { name: "m" base_path: "m" model_type: TENSORFLOW }'
            ' config { name: "m" base_path: "n" model_type: TENSORFLOW } }',
            "Illegal to list model m multiple times in config list",
        ),
        (
            'model_config_list { config { base_path: "/m" model_platform: "tensorflow" } }',
            "a model without a name",
        ),
    ],
)
def test_a_bad_config_file_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "models.config"
    config.write_text(text)
    message = _refusal(InvalidModelConfig, model_config_file=config)
    assert str(config) in message
    assert said in message


def test_a_model_is_served_from_where_only_gfile_reaches(base: Path, tmp_path: Path) -> None:
    """As from an object store: by the argument, and by a config file."""
    address = "ram://served/m"
    for file in (path for path in (base / "1").rglob("*") if path.is_file()):
        target = f"{address}/{file.relative_to(base).as_posix()}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(file), target)
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{address}" '
        'model_platform: "tensorflow" } }'
    )
    for options in ({"model_name": "m", "model_base_path": address}, {"model_config_file": config}):
        with EmbeddedServer(**options) as server:
            assert predict(server.rest_address, "m", x=3) == 3
    missing = _refusal(NoModel, model_name="m", model_base_path="ram://served/none")
    assert "base path ram://served/none of model m does not exist" in missing


def test_a_missing_config_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "models.config"
    assert str(missing) in _refusal(InvalidModelConfig, model_config_file=missing)


def test_labels_at_the_start_need_to_be_allowed(base: Path, tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: '
        '"tensorflow" version_labels { key: "stable" value: 1 } } }'
    )
    message = _refusal(InvalidModelConfig, model_config_file=config)
    assert "allow_version_labels_for_unavailable_models" in message


def test_stop_leaves_no_thread_and_no_port_behind(base: Path) -> None:
    before = set(threading.enumerate())
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    address = server.rest_address
    assert predict(address, "m") == 1
    assert server.grpc_address is not None
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        with pytest.raises(grpc.RpcError):  # an aborted call must not hold the server either
            stub.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), timeout=20)
    server.stop()
    assert eventually(lambda: set(threading.enumerate()) - before, lambda left: not left) == set()
    with pytest.raises(OSError, match="refused"):
        ask(address, "GET", "/v1/models/m")


def test_a_start_that_failed_leaves_no_thread_behind(base: Path) -> None:
    before = set(threading.enumerate())
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        _refusal(PortInUse, model_name="m", model_base_path=base, rest_api_port=port)
    assert eventually(lambda: set(threading.enumerate()) - before, lambda left: not left) == set()


def test_stop_may_be_called_again_and_before_a_start(base: Path) -> None:
    server = EmbeddedServer(model_name="m", model_base_path=base)
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert server.rest_address is None


def test_a_stopped_server_starts_again(base: Path) -> None:
    server = EmbeddedServer(model_name="m", model_base_path=base)
    for _ in range(2):
        with server:
            assert predict(server.rest_address, "m") == 1


def test_stop_closes_idle_connections(base: Path) -> None:
    server = EmbeddedServer(model_name="m", model_base_path=base).start()
    connection = http.client.HTTPConnection(str(server.rest_address), timeout=20)
    connection.request("GET", "/v1/models/m")
    assert connection.getresponse().read()
    server.stop()
    assert connection.sock is None or connection.sock.recv(1) == b""
    connection.close()


def test_without_polling_a_new_version_is_not_picked_up(tmp_path: Path) -> None:
    write_multiplier(tmp_path, 1)
    before = set(threading.enumerate())
    with EmbeddedServer(
        model_name="m", model_base_path=tmp_path, file_system_poll_wait_seconds=0
    ) as server:
        names = {thread.name for thread in set(threading.enumerate()) - before}
        assert "serving-embedded-loop" in names
        assert "serving-embedded-versions" not in names
        assert predict(server.rest_address, "m") == 1


def test_a_relative_base_path_is_that_of_the_working_directory(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    with EmbeddedServer(model_name="m", model_base_path="m") as server:
        assert predict(server.rest_address, "m") == 1


def test_one_port_for_both_protocols_is_refused(base: Path) -> None:
    with pytest.raises(InvalidOptions, match="both 18555; give each a port of its own"):
        EmbeddedServer(model_name="m", model_base_path=base, port=18555, rest_api_port=18555)
