"""Parse and run the commands of README.md and of the pages of docs/.

A fenced block ``sh`` is run line by line; ``sh docker``, ``sh kubectl`` and ``sh make`` need these
programs, or a checkout. ``# exit code N`` after a command gives the expected exit code, otherwise
0; other comments are ignored. A block ``python run`` is run by Python, and a block ``python
NAME.py`` becomes the file of that name.
"""

import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from serving.cli import main

ROOT: Final = Path(__file__).resolve().parents[1]

_FENCE: Final = re.compile(r"^```(?:sh(?: (\w+))?)?$")
_PYTHON: Final = re.compile(r"^```python (run|\w+\.py)$")
_EXIT_CODE: Final = re.compile(r"# exit code (\d+)$")
_COMMENT: Final = re.compile(r"\s+# .*$")
_WORDS_OF_A_SHELL: Final = re.compile(r"[|<>&;]")
#: The files of the repository that the commands use.
_CARRIED: Final = ("docker", "examples", "scripts")
_PORTS: Final = {"--port": "8500", "--rest-api-port": "0"}


@dataclass(frozen=True)
class Command:
    """A command of a page: its section, line, requirements and expected exit code."""

    section: str
    line: int
    needs: str | None
    text: str
    exit_code: int


@dataclass(frozen=True)
class Outcome:
    """The output of a command, stdout and stderr in order, and its exit code."""

    said: str
    exit_code: int


def parse_commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a page, in their order."""
    section, needs, inside, begun = "", None, False, ""
    file: list[str] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if match := _PYTHON.match(line):
            program = "python -" if match[1] == "run" else f"cat > {match[1]}"
            file = [f"{program} <<'END'"]
            continue
        if file is not None:
            file.append("END" if line == "```" else line)
            if line == "```":
                yield Command(section, number, None, "\n".join(file), 0)
                file = None
            continue
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
            section, number, needs, _COMMENT.sub("", text), int(code.group(1)) if code else 0
        )


class Reader:
    """Runs the commands of pages in a folder, with servers in the background.

    The folder has the files of the repository that the commands use. A server listens on free
    ports, which replace the ports of the page in later commands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: list[subprocess.Popen[str]] = []
        self._addresses: dict[str, str] = {}
        for name in _CARRIED:
            (folder / name).symlink_to(ROOT / name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.communicate(timeout=60)

    def run(self, command: Command) -> Outcome:
        """Run a command. ``tfkmeans`` runs in this process, which loads TensorFlow only once."""
        text = self._with_addresses(command.text)
        if text.startswith("tfkmeans serve "):
            return self._serve(shlex.split(text)[2:])
        if text.startswith("tfkmeans ") and not _WORDS_OF_A_SHELL.search(text):
            said = io.StringIO()
            with chdir(self._folder), redirect_stdout(said), redirect_stderr(said):
                code = main(shlex.split(text)[1:])
            return Outcome(said.getvalue(), code)
        programs = str(Path(sys.executable).parent)
        process = subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=self._folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ.get('PATH', '')}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(process.stdout, process.returncode)

    def _with_addresses(self, text: str) -> str:
        for place, here in self._addresses.items():
            text = text.replace(place, here)
        # The smoke check takes the ports as separate arguments.
        grpc, rest = (self._addresses.get(f"localhost:{port}", "") for port in (8500, 8501))
        ports = f"127.0.0.1 {grpc.rpartition(':')[2]} {rest.rpartition(':')[2]}"
        return text.replace("localhost 8500 8501", ports)

    def _serve(self, words: list[str]) -> Outcome:
        """Start a server in the background; it is ready when it prints its addresses."""
        ports = dict(_PORTS)
        for option in ports:
            if option in words:
                at = words.index(option)
                ports[option] = words[at + 1]
                del words[at : at + 2]
        chosen = [
            word
            for option, port in ports.items()
            for word in (option, "0" if port == "0" else "auto")
        ]
        log = self._folder / f"server-{len(self._servers)}.log"
        with log.open("w") as file:
            server = subprocess.Popen(
                [sys.executable, "-m", "serving", "serve", *words, *chosen, "--json"],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self._servers.append(server)
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            code = server.wait(60)
            return Outcome(log.read_text(), code)
        addresses = json.loads(line)
        for option, kind in (("--port", "grpc_address"), ("--rest-api-port", "rest_address")):
            if addresses[kind] is not None:
                self._addresses[f"localhost:{ports[option]}"] = addresses[kind]
        return Outcome(line, 0)
