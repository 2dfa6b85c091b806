"""docs/runbook.md: its commands work, and it has a word on every alert and every error."""

import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml

import export.errors
import serving.embedded.errors
import serving.errors
from export import validation
from scripts.documented_commands import ROOT, Command, parse_commands, run
from serving.cli import main
from serving.embedded import EmbeddedServer
from tests.debian_programs import require_program
from tests.docker.packaged_programs import packaged_program
from tests.published_models import publish_unvalidated

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "runbook.md"
COMMANDS = list(parse_commands(PAGE))


def of(needs: str | None) -> list[Command]:
    return [each for each in COMMANDS if each.needs == needs]


def name(command: Command) -> str:
    return f"{command.line}: {command.text}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three versions, and files of rows as the page names them."""
    folder = tmp_path_factory.mktemp("runbook")
    rows, result = publish_unvalidated(folder, "customers", ("a", "b"), rows=120, versions=3)
    np.savetxt(folder / "sample.csv", rows, delimiter=",", header="a,b", comments="")
    answer = result.module.assign(rows)
    scored = np.column_stack([answer["cluster_index"], answer["distance"]])
    for file, table in (("scored", scored), ("moved", scored * [0, 1])):
        lines = [f"{index:.0f},{distance:.9g}\n" for index, distance in table.tolist()]
        (folder / f"{file}.csv").write_text("cluster_index,distance\n" + "".join(lines))
    return folder


@pytest.fixture(scope="module")
def places(folder: Path) -> Iterator[dict[str, str]]:
    """Where the page's addresses are: a server with version 2 stable and 3 its canary."""
    with EmbeddedServer(
        model_config_file=folder / "models" / "models.config",
        rest_api_port="auto",
        file_system_poll_wait_seconds=0.1,
        allow_version_labels_for_unavailable_models=True,
        monitoring_config_file=ROOT / "docker" / "config" / "monitoring.config",
    ) as server:
        assert server.grpc_address is not None
        assert server.rest_address is not None
        base = str(folder / "models" / "customers")
        for command, version in (("promote", "2"), ("canary", "3")):
            assert main([command, base, version, "--server", server.grpc_address]) == 0
        yield {"localhost:8500": server.grpc_address, "localhost:8501": server.rest_address}


@pytest.mark.parametrize("command", of(None), ids=name)
def test_a_command_does_what_the_page_says(
    command: Command, folder: Path, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the order of the page. What verify does in a fresh process has tests of its own.
    monkeypatch.setattr(validation, "validate", lambda *_arguments, **_keywords: None)
    monkeypatch.chdir(folder)
    outcome = run(command, folder, places)
    assert outcome.exit_code == command.exit_code, outcome.said
    assert outcome.said


def test_after_the_rollback_of_the_page_the_version_before_is_stable(
    folder: Path, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(folder / "models" / "customers")
    assert main(["versions", base, "--server", places["localhost:8500"]]) == 0
    states = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in states if line[-1] == "AVAILABLE"] == ["stable"]
    assert [line[0] for line in states if line[-1] == "AVAILABLE"] == ["1"]


@pytest.mark.parametrize("command", of("docker"), ids=name)
def test_a_command_of_docker_is_one_that_compose_takes(command: Command) -> None:
    words = command.text.split()
    assert words[:2] == ["docker", "compose"]
    process = subprocess.run(
        [require_program("docker-compose"), *words[2:]],
        cwd=ROOT / "docker",
        # Nothing listens there: what is parsed rightly gets as far as that.
        env={**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"refused|Cannot connect", process.stderr)


@pytest.mark.parametrize("command", of("kubectl"), ids=name)
def test_a_command_of_kubernetes_is_one_that_kubectl_takes(command: Command) -> None:
    program = packaged_program("kubectl")
    process = subprocess.run(
        [
            "bash",
            "-c",
            command.text.replace("kubectl", f'"{program}" --server http://127.0.0.1:1', 1),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "connection to the server 127.0.0.1:1 was refused" in process.stderr


def test_kubectl_refuses_what_it_does_not_take() -> None:
    process = subprocess.run(
        [packaged_program("kubectl"), "--server", "http://127.0.0.1:1", "rollout", "back", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "was refused" not in process.stderr


def test_every_command_that_is_not_run_is_marked_so() -> None:
    text = PAGE.read_text()
    for needs, mark in (("docker", "# Docker"), ("kubectl", "# Kubernetes")):
        assert text.count(f"```sh {needs}\n") == text.count(f"```sh {needs}\n{mark}\n") > 0


def alerts() -> dict[str, dict[str, str]]:
    rules = yaml.safe_load((ROOT / "docker" / "prometheus" / "rules.yaml").read_text())
    return {rule["alert"]: rule["annotations"] for rule in rules["groups"][0]["rules"]}


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_what_it_means_what_to_do_and_who_decides(alert: str) -> None:
    heading = f"\n### {alert}\n"
    _, found, rest = PAGE.read_text().partition(heading)
    assert found
    section = re.split(r"\n##+ ", rest)[0]
    for part in ("**Means**", "**First**", "**Rollback**", "**Who decides**"):
        assert part in section
    assert alerts()[alert]["runbook"] == f"docs/runbook.md#{alert.lower()}"


@pytest.mark.parametrize(
    "module", [serving.errors, export.errors, serving.embedded.errors], ids=lambda m: m.__name__
)
def test_every_error_is_in_a_table(module: ModuleType) -> None:
    text = PAGE.read_text()
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    leaves = [each for each in classes if Exception in each.__mro__[2:]]
    assert len(leaves) > 5
    for each in leaves:
        assert f"`{each.__name__}`" in text
