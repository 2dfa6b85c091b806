"""Every command that answers from one version takes the live one, says so, and can take another."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.cli import main
from serving.embedded import EmbeddedServer
from tests.published_models import publish_unvalidated

pytestmark = pytest.mark.slow

#: Given the base, a file of rows and a folder: the command, and the version in its JSON.
Command = Callable[[Path, Path, Path], list[str]]
COMMANDS: dict[str, tuple[Command, Callable[[Any], int]]] = {
    "inspect": (lambda base, _rows, _out: ["inspect", str(base)], lambda said: said["version"]),
    "report": (
        lambda base, _rows, out: ["report", str(base), "--out", str(out / "page.html")],
        lambda said: said["version"],
    ),
    "compare": (
        lambda base, _rows, _out: ["compare", str(base / "1"), str(base)],
        lambda said: int(Path(said["after"]).name),
    ),
    "batch-score": (
        lambda base, rows, out: ["batch-score", str(rows), str(out / "o"), "--model", str(base)],
        lambda said: said["model"]["version"],
    ),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with the versions 1 to 4 of which 2 is stable and 3 its canary; and its rows."""
    folder = tmp_path_factory.mktemp("live")
    points, _ = publish_unvalidated(folder, "people", ("height", "weight"), rows=90, versions=4)
    rows = folder / "rows.csv"
    np.savetxt(rows, points, delimiter=",", header="height,weight", comments="")
    base = folder / "models" / "people"
    for move in (["promote", str(base), "2"], ["canary", str(base), "3"]):
        assert main([*move, "--poll-interval", "0"]) == 0
    return base, rows


@pytest.fixture(scope="module")
def server(model: tuple[Path, Path]) -> Iterator[str]:
    """A server as models.config has it, with the versions 2 and 3 and not 4."""
    with EmbeddedServer(
        model_config_file=model[0].parent / "models.config",
        rest_api_port=0,
        allow_version_labels_for_unavailable_models=True,
    ) as running:
        assert running.grpc_address is not None
        yield running.grpc_address


WAYS: list[tuple[list[str], int]] = [
    ([], 2),
    (["--label", "canary"], 3),
    (["--version", "4"], 4),
]


@pytest.mark.parametrize(("way", "version"), WAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_live_version_is_the_default_and_another_is_named(
    model: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    way: list[str],
    version: int,
) -> None:
    arguments, version_of = COMMANDS[command]
    assert main([*arguments(*model, tmp_path), *way, "--json"]) == 0
    assert version_of(json.loads(capsys.readouterr().out)) == version


@pytest.mark.parametrize(("way", "version"), WAYS)
def test_assign_says_on_stderr_which_version_answered(
    model: tuple[Path, Path], capsys: pytest.CaptureFixture[str], way: list[str], version: int
) -> None:
    base, rows = model
    assert main(["assign", str(rows), "--model", str(base), *way]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 91
    assert said.err == f"answered by version {version} of {base}\n"


@pytest.mark.parametrize(("way", "version"), WAYS[:2])
def test_a_server_is_asked_for_that_version_by_its_number(
    model: tuple[Path, Path],
    server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    way: list[str],
    version: int,
) -> None:
    base, rows = model
    asked = ["--model", str(base), "--server", server, *way]
    assert main(["assign", str(rows), *asked]) == 0
    assert f"answered by version {version} of {base}" in capsys.readouterr().err
    assert main(["batch-score", str(rows), str(tmp_path / "out"), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"]["version"] == version
    assert main(["monitor", str(rows), *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == version


@pytest.fixture
def config(model: tuple[Path, Path]) -> Iterator[Path]:
    """The models.config of the model, which is in the end what it was."""
    path = model[0].parent / "models.config"
    before = path.read_text()
    yield path
    path.write_text(before)


def test_probe_takes_the_live_version_and_else_the_highest_that_is_available(
    model: tuple[Path, Path], server: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["probe", "--server", server, "--model", str(model[0])]
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith("ok: version 2 is AVAILABLE; ")
    assert main([*asked, "--version", "3"]) == 0
    assert capsys.readouterr().out.startswith("ok: version 3 is AVAILABLE; ")
    text = config.read_text()
    config.write_text(text.replace("versions: 2", "versions: 4").replace("value: 2", "value: 4"))
    assert main(asked) == 0
    assert capsys.readouterr().out.startswith(
        "ok: version 3 is AVAILABLE, and 4, which is live, is not; "
    )
    config.write_text("nonsense")
    assert main(asked) == 2
    assert "give one with --version N" in capsys.readouterr().err
    assert main([*asked, "--version", "2"]) == 0
    assert "requests use the name people; change it with --name" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*COMMANDS, "assign", "monitor"])
def test_a_config_that_cannot_be_read_names_version_and_a_version_goes_without_it(
    model: tuple[Path, Path],
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    config.write_text("model_config_list { config { nonsense")
    base, rows = model
    if command in COMMANDS:
        arguments = COMMANDS[command][0](base, rows, tmp_path)
    else:
        (tmp_path / "scored.csv").write_text("cluster_index,distance\n")
        file = rows if command == "assign" else tmp_path / "scored.csv"
        arguments = [command, str(file), "--model", str(base)]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "models.config:" in line
    assert "give one with --version N" in line
    main([*arguments, "--version", "1"])
    assert "models.config" not in capsys.readouterr().err


def test_a_version_that_is_named_twice_is_one_line(
    model: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base, rows = str(model[0]), str(model[1])
    for arguments in (
        ["assign", rows, "--model", base, "--version", "1", "--label", "stable"],
        ["inspect", base, "1", "--version", "1"],
        ["report", base, "1", "--label", "stable"],
        ["compare", base, f"{base}/1", "--version", "1"],
        ["compare", base],
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "--version" in line


def test_compare_takes_another_version_of_the_same_model(
    model: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(model[0]), "--label", "canary"]) == 0
    assert capsys.readouterr().out.startswith("people 2 and people 3, on ")
