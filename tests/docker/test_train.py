"""docker/train/ and compose.train.yaml: workers that fit together, as they are started there."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pytest
import yaml

from export import load
from export.row_measures import fingerprint
from kmeans_module import RowSource, fit
from kmeans_module.worker_cluster import Cluster

from ..debian_programs import require_program
from ..kmeans_module.worker_processes import config, free_addresses
from .conftest import DOCKER
from .packaged_programs import packaged_program
from .test_kubernetes import CLUSTERS, Manifest, only

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    process = subprocess.run(
        [packaged_program("kubectl"), "kustomize", DOCKER / "train"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return list(yaml.safe_load_all(process.stdout))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_kind_is_valid_by_its_schema(manifests: list[Manifest], cluster: str) -> None:
    assert sorted(each["kind"] for each in manifests) == [
        "Job",
        "Namespace",
        "NetworkPolicy",
        "Service",
    ]
    for each in manifests:
        kubernetes_validate.validate(each, cluster, strict=True)


def _worker(manifests: list[Manifest]) -> tuple[Manifest, Manifest]:
    """The pod of a worker, and its container."""
    pod = only(manifests, "Job")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    return pod, container


def test_the_shell_of_the_job_says_who_the_workers_are(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, container = _worker(manifests)
    spec = only(manifests, "Job")["spec"]
    (workers,) = [each["value"] for each in container["env"] if each["name"] == "WORKERS"]
    assert spec["completions"] == spec["parallelism"] == int(workers)
    *shell, script = container["command"]
    program = script[script.index("exec ") :]
    assert shlex.split(program)[:4] == ["exec", "tfkmeans", "train", "/rows"]
    assert {"--workers", "--checkpoint", "--cache"} <= {*shlex.split(program)}
    for number in range(int(workers)):
        told = subprocess.run(
            [*shell, script.replace(program, 'printf %s "$TF_CONFIG"')],
            env={
                "PATH": os.environ["PATH"],
                "WORKERS": workers,
                "JOB_COMPLETION_INDEX": str(number),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        monkeypatch.setenv("TF_CONFIG", told)
        cluster = Cluster.from_environment()
        assert cluster.own == number
        # As Kubernetes names the pods of an indexed job with a subdomain.
        job, service = only(manifests, "Job"), only(manifests, "Service")
        assert pod["spec"]["subdomain"] == service["metadata"]["name"]
        (port,) = service["spec"]["ports"]
        assert [each.address for each in cluster.workers] == [
            f"{job['metadata']['name']}-{each}.{service['metadata']['name']}:{port['port']}"
            for each in range(int(workers))
        ]
        assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]


def test_workers_are_reached_by_workers_alone(manifests: list[Manifest]) -> None:
    pod, _ = _worker(manifests)
    labels = pod["metadata"]["labels"]
    policy, service = only(manifests, "NetworkPolicy")["spec"], only(manifests, "Service")["spec"]
    workers = {"matchLabels": {"app.kubernetes.io/name": labels["app.kubernetes.io/name"]}}
    assert policy["podSelector"] == workers
    assert service["selector"].items() <= labels.items()
    assert service["clusterIP"] == "None"
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    among = {"from": [{"podSelector": workers}], "ports": [{"port": "worker"}]}
    assert policy["ingress"] == [among]
    others, names = policy["egress"]
    assert others == {"to": among["from"], "ports": among["ports"]}
    assert {each["port"] for each in names["ports"]} == {53}


@pytest.fixture(scope="module")
def services(docker_folder: Path) -> list[dict[str, Any]]:
    """Those of compose.train.yaml, as Compose reads it."""
    process = subprocess.run(
        [require_program("docker-compose"), "--file", "compose.train.yaml", "config"],
        cwd=docker_folder,
        env={"PATH": os.environ["PATH"], "HOME": str(docker_folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    resolved: dict[str, Any] = yaml.safe_load(process.stdout)
    assert resolved["networks"]["workers"]["internal"] is True
    assert sorted(resolved["services"]) == ["worker-0", "worker-1"]
    return [resolved["services"][name] for name in ("worker-0", "worker-1")]


def test_compose_tells_each_worker_who_it_is(
    services: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, service in enumerate(services):
        assert set(service["networks"]) == {"workers"}
        assert not service.get("ports")
        monkeypatch.setenv("TF_CONFIG", service["environment"]["TF_CONFIG"])
        cluster = Cluster.from_environment()
        assert cluster.own == number
        assert [each.address for each in cluster.workers] == ["worker-0:2222", "worker-1:2222"]


@pytest.fixture
def command(services: list[dict[str, Any]], tmp_path: Path) -> list[str]:
    """What Compose runs, with folders of this machine where it mounts some."""
    words = services[0]["command"]
    assert services[1]["command"] == words
    for each in services[0]["volumes"]:
        (tmp_path / each["target"][1:]).mkdir()
    return [f"{tmp_path}{word}" if word.startswith("/") else word for word in words]


def _start(tf_config: str, *words: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        words,
        env={**os.environ, "TF_CONFIG": tf_config, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_workers_of_compose_publish_the_fit_of_one_process(
    command: list[str], tmp_path: Path
) -> None:
    points = np.random.default_rng(0).normal(size=(500, 3)).astype("f4")
    np.save(tmp_path / "rows" / "rows.npy", points)
    addresses = free_addresses(2)
    started = [
        _start(config(addresses, number), packaged_program("tfkmeans"), *command)
        for number in range(2)
    ]
    said = [each.communicate(timeout=200) for each in started]
    assert [each.returncode for each in started] == [0, 0], said
    assert "published" in said[0][0]
    assert said[1][0] == ""
    expected = fit(RowSource.from_array(points), 8)
    card = load(tmp_path / "models" / "customers").card
    assert [(each.inertia, each.shift) for each in card.history] == [
        (each.inertia, each.shift) for each in expected.history
    ]
    assert card.data.fingerprint == fingerprint(points, card.feature_names)
    assert sum(each.size for each in card.clusters) == card.data.rows_used == len(points)


def test_a_lost_worker_ends_the_command_with_the_code_that_asks_for_a_restart(
    command: list[str], tmp_path: Path
) -> None:
    np.save(tmp_path / "rows" / "rows.npy", np.ones((9, 2)))
    addresses = free_addresses(2)
    leaves = (
        "import os\nfrom kmeans_module import connect_workers\n"
        "with connect_workers():\n    os._exit(9)"
    )
    other = _start(config(addresses, 1), sys.executable, "-c", leaves)
    worker = _start(config(addresses, 0), packaged_program("tfkmeans"), *command)
    _, said = worker.communicate(timeout=200)
    other.communicate(timeout=60)
    assert other.returncode == 9
    assert worker.returncode == 143, said
    assert f"lost worker 1 ({addresses[1]}): the fit ends on all" in said
