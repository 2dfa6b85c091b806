"""The Dockerfiles: what hadolint and shellcheck say, and what ``docker build`` is told."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow
from packaging.requirements import Requirement

from ..debian_programs import require_program
from .conftest import DOCKER
from .packaged_programs import packaged_program
from .server_flags import checked_flags

ROOT = DOCKER.parent
DOCKERFILES = sorted([DOCKER / "Dockerfile", *DOCKER.glob("*.Dockerfile")])


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    run = subprocess.run(
        [packaged_program("hadolint"), file], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    run = subprocess.run(
        [require_program("shellcheck"), *DOCKER.glob("*.sh")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_every_base_can_be_replaced(file: Path) -> None:
    text = file.read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    for base in bases:
        names = re.findall(r"\$\{(\w+)\}", base)
        assert re.sub(r"\$\{\w+\}", "", base) in ("", ":")
        for name in names:
            assert re.search(rf"^ARG {name}=\S+$", text[: text.index("FROM")], re.MULTILINE)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_last_stage_is_not_root_and_installs_nothing(file: Path) -> None:
    last = file.read_text().rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert users
    assert int(users[-1]) > 0
    assert "RUN " not in last


def test_the_context_has_what_the_scorer_copies_and_no_more_than_that() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
    }
    ignored, *let_in = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored == "*"
    patterns = [line.removeprefix("!") for line in let_in if line.startswith("!")]
    for path in copied:
        name = path.replace("${PARTS}", "scorer")
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), path
        assert (ROOT / name).exists()
    assert len(copied) == len(patterns)


@pytest.mark.parametrize(("parts", "extra"), [("scorer", "all"), ("tools", None)])
def test_a_lock_of_an_image_has_the_versions_that_the_tests_ran_with(
    parts: str, extra: str | None
) -> None:
    tested = _pins(ROOT / "requirements.lock")
    pins = _pins(DOCKER / f"requirements-{parts}.lock")
    assert pins
    assert pins <= tested
    names = {Requirement(pin).name for pin in pins}
    assert ("tensorflow" in names) == (extra == "all")
    assert "pytest" not in names


def _pins(lock: Path) -> set[str]:
    lines = lock.read_text().splitlines()
    return {line.rstrip(" \\") for line in lines if line[:1].isalnum()}


def test_the_baked_server_has_the_flags_of_compose_and_polls_nothing() -> None:
    text = (DOCKER / "serving.Dockerfile").read_text().replace("\\\n", "")
    program = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[0])
    arguments = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[0])
    assert program == ["tensorflow_model_server"]
    flags = checked_flags(arguments)
    assert flags["file_system_poll_wait_seconds"] == "0"
    assert "model_config_file_poll_wait_seconds" not in flags
    written = (DOCKER / "compose.yaml").read_text()
    for name, value in flags.items():
        assert name == "file_system_poll_wait_seconds" or f"- --{name}={value}\n" in written


def test_the_baked_server_ends_as_soon_as_it_is_stopped() -> None:
    # As process 1 it has no handler of SIGTERM, and the kernel then passes SIGTERM over.
    text = (DOCKER / "serving.Dockerfile").read_text()
    assert re.findall(r"^STOPSIGNAL (.*)$", text, re.MULTILINE) == ["SIGKILL"]


def test_what_the_scorer_lets_go_is_there_to_be_let_go_and_imported_by_nothing() -> None:
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", "")
    (removed,) = re.findall(r"^RUN rm -rf (.*)$", text, re.MULTILINE)
    places = [each.partition("/site-packages/")[2] for each in removed.split()]
    installed = Path(tensorflow.__file__).parent.parent
    assert len(places) == 2
    for place in places:
        assert (installed / place).is_dir()
    imported = {str(getattr(module, "__file__", None)) for module in sys.modules.values()}
    for place in places:
        assert not [file for file in imported if file.startswith(f"{installed / place}/")]
