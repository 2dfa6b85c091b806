"""docker/compose.yaml: what Docker is told to run, and its health check against a real server."""

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving import RestClient
from serving.embedded import EmbeddedServer

from ..debian_programs import require_program
from .conftest import DOCKER
from .server_flags import checked_flags

PROFILES = ((), ("tls",), ("monitoring",), ("monitoring", "tls"))
FILES = (("compose.yaml",), ("compose.yaml", "compose.gpu.yaml"))

Resolve = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def resolve(docker_folder: Path) -> Resolve:
    """The services of a copy of the files, in a bare environment."""
    program = require_program("docker-compose")
    known: dict[object, dict[str, Any]] = {}

    def run(
        *, files: tuple[str, ...] = FILES[0], profiles: tuple[str, ...] = (), **variables: str
    ) -> dict[str, Any]:
        key = (files, profiles, tuple(sorted(variables.items())))
        if key not in known:
            known[key] = config(files, profiles, variables)
        return known[key]

    def config(
        files: tuple[str, ...], profiles: tuple[str, ...], variables: dict[str, str]
    ) -> dict[str, Any]:
        process = subprocess.run(
            [
                program,
                *(word for file in files for word in ("--file", str(docker_folder / file))),
                *(word for profile in profiles for word in ("--profile", profile)),
                "config",
            ],
            cwd=docker_folder,
            env={"PATH": os.environ["PATH"], "HOME": str(docker_folder), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""  # no warning, as of a variable that is not set
        services: dict[str, Any] = yaml.safe_load(process.stdout)["services"]
        return services

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


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """The source of each folder or file of the host, by its place in the container."""
    binds = [each for each in service["volumes"] if isinstance(each, dict)]
    assert all(each["type"] == "bind" and each["read_only"] for each in binds)
    # Docker cleans the target likewise.
    return {os.path.normpath(each["target"]): each["source"] for each in binds}


@pytest.mark.parametrize("files", FILES, ids=["plain", "gpu"])
@pytest.mark.parametrize("profiles", PROFILES, ids=lambda each: "+".join(each) or "none")
def test_every_combination_of_profile_and_override_is_clean(
    resolve: Resolve, files: tuple[str, ...], profiles: tuple[str, ...]
) -> None:
    services = resolve(files=files, profiles=profiles)
    assert "serving" in services
    assert {"prometheus", "grafana"} <= set(services) or "monitoring" not in profiles
    assert "serving-tls" in services or "tls" not in profiles


def test_only_the_server_is_in_no_profile() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert {name: service.get("profiles") for name, service in services.items()} == {
        "serving": None,
        "serving-tls": ["tls"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }


def test_without_any_setting_it_serves_the_published_models_on_loopback(
    resolve: Resolve, docker_folder: Path
) -> None:
    service = resolve()["serving"]
    assert service["image"] == "tensorflow/serving:2.20.0"
    assert service["platform"] == "linux/amd64"
    assert published_ports(service) == {8500: ("127.0.0.1", 8500), 8501: ("127.0.0.1", 8501)}
    assert mounts(service)["/models"] == str(docker_folder.parent / "models")


def test_every_source_of_a_mount_but_the_models_and_the_key_is_there(resolve: Resolve) -> None:
    services = resolve(profiles=("monitoring", "tls"))
    made = {"/models", "/host/models", "/host/root/models", "/run/secrets/ssl.config"}
    for service in services.values():
        for target, source in mounts(service).items():
            assert Path(source).exists() or target in made


@pytest.mark.parametrize("name", ["serving", "serving-tls"])
@pytest.mark.parametrize("called_in", ["docker", "."])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_entries_of_the_default_folder_are_found_at_the_path_by_which_they_were_named(
    resolve: Resolve,
    docker_folder: Path,
    tmp_path: Path,
    name: str,
    called_in: str,
    through_a_link: bool,
) -> None:
    """What ``publish`` writes as base_path is the path on the host, as the shell has it."""
    root = docker_folder.parent
    if through_a_link:
        root = tmp_path / "link"
        root.symlink_to(docker_folder.parent)
    found = mounts(resolve(profiles=("tls",), PWD=os.path.normpath(root / called_in))[name])
    assert found[str(root / "models")] == str(docker_folder.parent / "models")


@pytest.mark.parametrize(
    "variables", [{}, {"PWD": "/srv/tfkmeans"}, {"PWD": "/srv/tfkmeans/docker"}]
)
def test_no_two_mounts_have_the_same_place(resolve: Resolve, variables: dict[str, str]) -> None:
    for service in resolve(profiles=("tls", "monitoring"), **variables).values():
        binds = [each for each in service["volumes"] if isinstance(each, dict)]
        assert len(mounts(service)) == len(binds)


def test_folder_image_limits_and_ports_can_be_chosen(resolve: Resolve, tmp_path: Path) -> None:
    service = resolve(
        MODELS_DIR=str(tmp_path),
        TFS_IMAGE="mirror.example/serving",
        TFS_TAG="2.19.1",
        TFS_USER="1000:1000",
        TFS_MEMORY="4g",
        TFS_CPUS="0.5",
        TFS_BATCHING="true",
        BIND_ADDRESS="0.0.0.0",
        GRPC_PORT="9500",
        REST_PORT="9501",
    )["serving"]
    assert service["image"] == "mirror.example/serving:2.19.1"
    assert published_ports(service) == {8500: ("0.0.0.0", 9500), 8501: ("0.0.0.0", 9501)}
    assert mounts(service)["/models"] == str(tmp_path)
    assert service["user"] == "1000:1000"
    assert service["mem_limit"] in ("4g", "4294967296")
    assert float(service["cpus"]) == 0.5
    flags = checked_flags(service["entrypoint"][1:])
    assert flags["enable_batching"] == flags["enable_per_model_batching_parameters"] == "true"


@pytest.mark.parametrize("name", ["serving", "serving-tls"])
def test_the_server_may_do_no_more_than_it_must(resolve: Resolve, name: str) -> None:
    service = resolve(profiles=("tls",))[name]
    assert service["user"] == "65534:65534"
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert float(service["cpus"]) > 0
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    # The most threads that were seen, on 192 cores, is 1,413.
    assert service["pids_limit"] == 4096


def test_the_flags_are_the_servers_and_follow_the_published_labels(resolve: Resolve) -> None:
    program, *arguments = resolve()["serving"]["entrypoint"]
    assert program == "tensorflow_model_server"
    flags = checked_flags(arguments)
    assert flags["model_config_file"] == "/models/models.config"
    assert int(flags["model_config_file_poll_wait_seconds"]) > 0
    assert flags["allow_version_labels_for_unavailable_models"] == "true"
    assert flags["enable_batching"] == "false"
    # 64 callers in a closed loop lost most of their calls at the default, and none at this.
    assert int(flags["grpc_max_threads"]) == 512
    assert flags["monitoring_config_file"] == "/config/monitoring.config"


def test_each_flag_has_a_comment_that_says_why() -> None:
    lines = (DOCKER / "compose.yaml").read_text().splitlines()
    flags = [n for n, line in enumerate(lines) if line.strip().startswith(("- --", '- "--'))]
    groups = [n for n in flags if n - 1 not in flags]
    prometheus = lines.index("  prometheus:")
    assert len(groups) > 8
    for first in groups:
        if first < prometheus:
            assert lines[first - 1].strip().startswith("#"), lines[first]


def test_the_tls_server_has_the_same_flags_and_mounts_and_its_key(
    resolve: Resolve, docker_folder: Path
) -> None:
    services = resolve(profiles=("tls",))
    plain, tls = services["serving"], services["serving-tls"]
    assert tls["entrypoint"] == plain["entrypoint"]
    flags = checked_flags([*tls["entrypoint"][1:], *tls["command"]])
    place = flags["ssl_config_file"]
    key = {place: str(docker_folder / "tls" / "ssl.config")}
    assert mounts(tls) == mounts(plain) | key
    assert mounts(resolve(profiles=("tls",), TLS_DIR="/etc/keys")["serving-tls"])[place] == (
        "/etc/keys/ssl.config"
    )
    # REST, which has no TLS, is not published.
    assert published_ports(tls) == {8500: ("127.0.0.1", 8510)}


def test_no_file_has_a_secret_of_which_compose_1_29_warns_on_every_command() -> None:
    for file in DOCKER.glob("compose*.yaml"):
        assert "secrets" not in yaml.safe_load(file.read_text())


def test_an_image_can_be_pinned_by_its_digest(resolve: Resolve) -> None:
    digest = f"@sha256:{'0f' * 32}"
    services = resolve(
        profiles=("monitoring", "tls"),
        TFS_TAG=f"2.20.0{digest}",
        PROMETHEUS_TAG=f"v3.5.0{digest}",
        GRAFANA_TAG=f"12.0.0{digest}",
    )
    assert all(service["image"].endswith(digest) for service in services.values())
    pinned = resolve(files=FILES[1], TFS_GPU_TAG=f"2.20.0-gpu{digest}")["serving"]["image"]
    assert pinned == f"tensorflow/serving:2.20.0-gpu{digest}"


def test_the_gpu_override_changes_the_image_and_asks_for_a_gpu(resolve: Resolve) -> None:
    services = resolve(files=FILES[1], profiles=("tls",))
    for name in ("serving", "serving-tls"):
        service = services[name]
        assert service["image"] == "tensorflow/serving:2.20.0-gpu"
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert service["entrypoint"] == resolve(profiles=("tls",))[name]["entrypoint"]


def health(service: dict[str, Any], config: Path, port: int) -> subprocess.CompletedProcess[str]:
    """The service's health check, with the config and port of a server that runs here."""
    kind, program, script = service["healthcheck"]["test"]
    assert kind == "CMD"
    return subprocess.run(
        [program, mounts(service)[script], str(config), str(port)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def rest_port(server: EmbeddedServer) -> int:
    assert server.rest_address is not None
    return int(server.rest_address.rpartition(":")[2])


def test_a_server_is_healthy_as_long_as_each_model_has_a_version_available(
    resolve: Resolve, server: EmbeddedServer, published: Path, tmp_path: Path
) -> None:
    service, port = resolve()["serving"], rest_port(server)
    config = published.parent / "models.config"
    assert health(service, config, port).returncode == 0

    two = tmp_path / "models.config"
    two.write_text(config.read_text() + 'model_config_list { config { name: "nobody" } }\n')
    unhealthy = health(service, two, port)
    assert (unhealthy.returncode, unhealthy.stdout) == (1, "nobody: no version is AVAILABLE\n")

    # Without its folder the version is unloaded; the status route goes on answering 200.
    (published / "1").rename(tmp_path / "gone")
    with RestClient(f"127.0.0.1:{port}", "people") as client:
        _wait_for_state(client, "END")
        assert health(service, config, port).stdout == "people: no version is AVAILABLE\n"
        (tmp_path / "gone").rename(published / "1")
        _wait_for_state(client, "AVAILABLE")
    assert health(service, config, port).returncode == 0


def _wait_for_state(client: RestClient, state: str) -> None:
    deadline = time.monotonic() + 30
    while [each.state for each in client.status()] != [state]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_closed_port_and_a_config_without_models_are_unhealthy(
    resolve: Resolve, published: Path, tmp_path: Path
) -> None:
    service = resolve()["serving"]
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert health(service, published.parent / "models.config", port).returncode != 0
    empty = tmp_path / "models.config"
    empty.write_text("model_config_list {\n}\n")
    assert health(service, empty, 1).stdout == f"{empty} names no model\n"
