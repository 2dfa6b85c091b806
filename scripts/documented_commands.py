"""The commands of a page of docs/, and running them as they stand there.

A fenced block ``sh`` is run, line by line; one that says ``sh docker`` or ``sh kubectl`` is for a
machine that has these. ``# exit code N`` behind a command says that N is right, and not 0.
"""

import io
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.cli import main

ROOT: Final = Path(__file__).resolve().parents[1]

_FENCE: Final = re.compile(r"^```(?:sh(?: (\w+))?)?$")
_EXIT_CODE: Final = re.compile(r"\s+# exit code (\d+)$")
_WORDS_OF_A_SHELL: Final = re.compile(r"[|<>&;]")


@dataclass(frozen=True)
class Command:
    """A command of a page: its section, its line, what it needs, and its exit code when right."""

    section: str
    line: int
    needs: str | None
    text: str
    exit_code: int


@dataclass(frozen=True)
class Outcome:
    """What a command said, stdout and stderr as they came, and its exit code."""

    said: str
    exit_code: int


def parse_commands(page: Path) -> Iterator[Command]:
    """The commands of a page, in their order."""
    section, needs, inside, begun = "", None, False, ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if fence := line.startswith("```"):
            match = _FENCE.match(line)
            inside = not inside and match is not None and line != "```"
            needs = match.group(1) if match else None
        if not inside and line.startswith("#"):
            section = line.lstrip("# ")
        if fence or not inside or not line or line.startswith("#"):
            continue
        if line.endswith("\\"):
            begun += line[:-1].rstrip() + " "
            continue
        text, begun = begun + line.strip(), ""
        code = _EXIT_CODE.search(text)
        yield Command(
            section, number, needs, _EXIT_CODE.sub("", text), int(code.group(1)) if code else 0
        )


def run(command: Command, folder: Path, places: Mapping[str, str]) -> Outcome:
    """Run a command in ``folder``, with the ``places`` of its text replaced.

    ``tfkmeans`` runs in this process, which spares the time of loading TensorFlow each time; all
    else runs by bash.
    """
    text = command.text
    for place, here in places.items():
        text = text.replace(place, here)
    if text.startswith("tfkmeans ") and not _WORDS_OF_A_SHELL.search(text):
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            code = main(shlex.split(text)[1:])
        return Outcome(said.getvalue(), code)
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text.replace("scripts/", f"{ROOT}/scripts/")],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(process.stdout, process.returncode)
