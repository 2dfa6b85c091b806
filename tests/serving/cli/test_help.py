"""The help at 80 columns: whole flags, groups of options, whole paragraphs; and completion."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from serving.cli.application import app

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]
PROGRAM = Path(sys.executable).with_name("tfkmeans")


def show_help(*arguments: str) -> str:
    return CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "80"}).stdout


def panels(text: str) -> list[str]:
    return [line.strip("╭╮─ ") for line in text.splitlines() if line.startswith("╭")]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_flag_is_cut_and_no_line_is_longer(name: str) -> None:
    text = show_help(name)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    flags = [parameter.opts[0] for parameter in command.params if parameter.opts[0][:2] == "--"]
    # Those of TensorFlow Serving are shown as it spells them.
    spellings = {flag: {flag, "--" + flag[2:].replace("-", "_")} for flag in flags}
    shown = set(text.replace(",", " ").split())
    assert [flag for flag in flags if shown.isdisjoint(spellings[flag])] == []
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_a_paragraph_is_broken_by_the_width_alone(name: str) -> None:
    before = show_help(name).partition("╭")[0].splitlines()
    lines = [line.strip() for line in before]
    short = [(one, two) for one, two in pairwise(lines) if one and two]
    assert [pair for pair in short if len(f"{pair[0]} {pair[1].split()[0]}") <= 78] == []


def test_options_that_go_together_have_a_group() -> None:
    assert {"Rows", "Fit", "Gate", "Reading text files", "Connection"} <= {
        *panels(show_help("train"))
    }
    assert panels(show_help())[1:] == ["Train and inspect", "Versions", "Serve and query"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, tmp_path: Path) -> None:
    asked = {**os.environ, "HOME": str(tmp_path), "SHELL": f"/bin/{shell}"}
    asked |= {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    process = subprocess.run(
        [str(PROGRAM), "--install-completion", shell],
        env=asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "_TFKMEANS_COMPLETE" in written


def test_a_command_is_completed() -> None:
    asked = {"_TFKMEANS_COMPLETE": "complete_bash", "COMP_WORDS": "tfkmeans pro", "COMP_CWORD": "1"}
    process = subprocess.run(
        [str(PROGRAM)], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["promote", "probe"]
    assert process.stderr == ""
