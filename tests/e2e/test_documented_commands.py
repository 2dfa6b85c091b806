"""Every command of README.md and docs/ works as it is printed, in the order of the pages.

From an empty folder, with the files that the text makes or that the repository carries. The server
that a page starts runs beside, on free ports.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest
from typer.main import get_command

from export import validation
from scripts.documented_commands import ROOT, Command, Reader, parse_commands
from serving.cli.application import app
from tests.debian_programs import require_program
from tests.docker.packaged_programs import packaged_program

pytestmark = pytest.mark.slow

#: README.md, then pages that go on from those above them.
PAGES = (
    "README.md",
    "docs/files.md",
    "docs/features.md",
    "docs/vectors.md",
    "docs/columns.md",
    "docs/choosing-k.md",
    "docs/out-of-core.md",
    "docs/distributed.md",
    "docs/versions.md",
    "docs/clients.md",
    "docs/batch.md",
    "docs/embedded-server.md",
    "docs/migrating.md",
    "docs/release.md",
    "docs/runbook.md",
    "docs/performance.md",
    "docs/performance-notes.md",
    "docs/gpu.md",
    "docs/support.md",
    "docs/limitations.md",
    "docs/contract.md",
    "docs/commands.md",
)
#: What is not run as it stands, and why; each has a test that it is understood by its program.
NOT_RUN = {
    "docker": "starts containers, for which there is no Docker here",
    "kubectl": "asks a cluster, which is not here",
    "make": "builds the environment of this test or runs this suite; the demo and the rehearsal "
    "have tests of their own",
}
COMMANDS = [(page, command) for page in PAGES for command in parse_commands(ROOT / page)]


def of(needs: str | None) -> list[object]:
    return [
        pytest.param(command, id=f"{page}:{command.line}: {command.text[:70]}")
        for page, command in COMMANDS
        if command.needs == needs
    ]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with Reader(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


@pytest.mark.parametrize("command", of(None))
def test_a_command_does_what_its_page_says(
    command: Command, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What verify does in a fresh process has tests of its own.
    monkeypatch.setattr(validation, "validate", lambda *_arguments, **_keywords: None)
    outcome = reader.run(command)
    assert outcome.exit_code == command.exit_code, outcome.said


@pytest.mark.parametrize("command", of("docker"))
def test_a_command_of_docker_is_one_that_compose_takes(command: Command) -> None:
    program = shlex.quote(require_program("docker-compose"))
    text = command.text.removeprefix("cd docker && ")
    assert text.startswith("docker compose ")
    process = subprocess.run(
        ["bash", "-c", text.replace("docker compose", program, 1)],
        cwd=ROOT / "docker",
        # Nothing listens there: what is parsed rightly gets as far as that.
        env={**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"refused|Cannot connect", process.stderr)


@pytest.mark.parametrize("command", of("kubectl"))
def test_a_command_of_kubernetes_is_one_that_kubectl_takes(command: Command) -> None:
    program = packaged_program("kubectl")
    asked = f'"{program}" --server http://127.0.0.1:1'
    process = subprocess.run(
        ["bash", "-c", command.text.replace("kubectl", asked, 1)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"127\.0\.0\.1:1.* refused", process.stderr)


def test_kubectl_refuses_what_it_does_not_take() -> None:
    process = subprocess.run(
        [packaged_program("kubectl"), "--server", "http://127.0.0.1:1", "rollout", "back", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "was refused" not in process.stderr


@pytest.mark.parametrize("command", of("make"))
def test_a_target_of_make_is_there(command: Command) -> None:
    words = shlex.split(command.text)
    assert words[0] == "make"
    process = subprocess.run(
        ["make", "--dry-run", "--directory", str(ROOT), *words[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def test_every_page_is_read_and_every_kind_that_is_not_run_has_its_reason() -> None:
    there = {"README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))}
    assert set(PAGES) == there
    assert {command.needs for _, command in COMMANDS} - {None} == set(NOT_RUN)


def test_no_command_stands_in_a_block_that_is_not_run() -> None:
    for page in PAGES:
        blocks = re.findall(r"^```(.*)\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
        for language, text in blocks:
            if not language.startswith("sh"):
                assert not re.search(r"^(tfkmeans|make|docker|kubectl) ", text, re.M), (page, text)


def test_the_page_of_the_commands_lists_each_of_them() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \|", text, re.M)
    assert listed == list(get_command(app).commands)  # type: ignore[attr-defined]


def test_a_command_in_the_text_has_only_options_that_there_are() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    found = 0
    for page in PAGES:
        for text in re.findall(r"`(tfkmeans [a-z][^`]*)`", (ROOT / page).read_text()):
            words = text.split()
            options = {option for each in commands[words[1]].params for option in each.opts}
            used = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert used <= {*options, "--help"}, (page, text)
            found += 1
    assert found > 10
