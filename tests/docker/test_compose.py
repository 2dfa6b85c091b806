"""docker/compose.yaml: what Docker is told to run, and its health check against a real server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kmeans_module import KMeansModule
from serving import RestClient
from serving.embedded import EmbeddedServer

from ..debian_programs import require_program

COMPOSE = Path(__file__).resolve().parents[2] / "docker" / "compose.yaml"

#: Flags of tensorflow_model_server (tensorflow_serving/model_servers/main.cc) that may be of use.
KNOWN_FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "enable_per_model_batching_parameters",
    "file_system_poll_wait_seconds",
    "load_retry_interval_micros",
    "max_num_load_retries",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "rest_api_num_threads",
    "rest_api_timeout_in_ms",
    "ssl_config_file",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
}

Resolve = Callable[..., dict[str, Any]]


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """Resolves a copy of the file, beside which there is no .env, in a bare environment."""
    program = require_program("docker-compose")
    copy = tmp_path / "docker" / "compose.yaml"
    copy.parent.mkdir()
    shutil.copy(COMPOSE, copy)

    def run(**variables: str) -> dict[str, Any]:
        process = subprocess.run(
            [program, "--file", copy, "config"],
            cwd=copy.parent,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""  # no warning, as of a variable that is not set
        service: dict[str, Any] = yaml.safe_load(process.stdout)["services"]["serving"]
        return service

    return run


def published_ports(service: dict[str, Any]) -> dict[int, tuple[str, int]]:
    """The host's address and port of each port in the container.

    docker-compose 1.29 prints ``address:port:port/tcp``, version 2 a mapping.
    """
    ports: dict[int, tuple[str, int]] = {}
    for each in service["ports"]:
        if isinstance(each, str):
            address, outside, inside = each.removesuffix("/tcp").rsplit(":", 2)
        else:
            address, outside, inside = each["host_ip"], each["published"], each["target"]
        ports[int(inside)] = (address, int(outside))
    return ports


def test_without_any_setting_it_serves_the_published_penguins_on_loopback(
    resolve: Resolve, tmp_path: Path
) -> None:
    service = resolve()
    assert service["image"] == "tensorflow/serving:2.20.0"
    assert service["platform"] == "linux/amd64"
    assert service["environment"] == {"MODEL_NAME": "penguins"}
    assert published_ports(service) == {8500: ("127.0.0.1", 8500), 8501: ("127.0.0.1", 8501)}
    (mount,) = service["volumes"]
    assert mount["type"] == "bind"
    assert mount["source"] == str(tmp_path / "models")
    assert mount["target"] == "/models"
    assert mount["read_only"] is True


def test_model_folder_image_and_ports_can_be_chosen(resolve: Resolve, tmp_path: Path) -> None:
    service = resolve(
        MODEL_NAME="customers",
        MODELS_DIR=str(tmp_path / "elsewhere"),
        TFS_IMAGE="mirror.example/serving",
        TFS_TAG="2.19.1",
        BIND_ADDRESS="0.0.0.0",
        GRPC_PORT="9500",
        REST_PORT="9501",
    )
    assert service["image"] == "mirror.example/serving:2.19.1"
    assert service["environment"] == {"MODEL_NAME": "customers"}
    assert published_ports(service) == {8500: ("0.0.0.0", 9500), 8501: ("0.0.0.0", 9501)}
    assert service["volumes"][0]["source"] == str(tmp_path / "elsewhere")


def test_the_command_holds_flags_that_the_server_knows(resolve: Resolve) -> None:
    flags = [each.partition("=") for each in resolve()["command"]]
    names = [name.removeprefix("--") for name, _, _ in flags]
    assert len(set(names)) == len(names)
    assert set(names) <= KNOWN_FLAGS
    assert "enable_batching" not in names
    for name, equals, value in flags:
        # Without --name=value the server takes the next argument for its own.
        assert name.startswith("--")
        assert equals
        assert value.isdigit()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Serves version 1 of a model ``penguins`` in ``tmp_path``, by REST alone."""
    from export import saved_model

    zeros, ones = np.zeros(2, np.float32), np.ones(2, np.float32)
    module = KMeansModule(np.eye(2, dtype=np.float32), zeros, ones)
    saved_model.write(tmp_path / "penguins" / "1", module)
    with EmbeddedServer(
        model_name="penguins",
        model_base_path=tmp_path / "penguins",
        port=0,
        file_system_poll_wait_seconds=0.05,
    ) as running:
        yield running


def rest_port(server: EmbeddedServer) -> int:
    assert server.rest_address is not None
    return int(server.rest_address.rpartition(":")[2])


def health(service: dict[str, Any], model: str, port: int) -> int:
    """The exit code of the service's health check, asked of a server at another port."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    # In the file a dollar is written twice, so that it is the container's shell that reads it.
    words = [word.replace("$$", "$").replace("8501", str(port)) for word in command]
    run = subprocess.run(
        words,
        env={"PATH": os.environ["PATH"], "MODEL_NAME": model},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return run.returncode


def test_a_server_is_healthy_as_long_as_a_version_is_available(
    resolve: Resolve, server: EmbeddedServer, tmp_path: Path
) -> None:
    service = resolve()
    port = rest_port(server)
    assert health(service, "penguins", port) == 0
    assert health(service, "customers", port) != 0

    # Without its folder the version is unloaded; the status route goes on answering 200.
    (tmp_path / "penguins" / "1").rename(tmp_path / "gone")
    with RestClient(f"127.0.0.1:{port}", "penguins") as client:
        deadline = time.monotonic() + 30
        while [each.state for each in client.status()] != ["END"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert health(service, "penguins", port) != 0


def test_a_closed_port_is_unhealthy(resolve: Resolve) -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        assert health(resolve(), "penguins", bound.getsockname()[1]) != 0
