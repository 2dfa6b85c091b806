"""Running the command, in a process of its own as a user does."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = (sys.executable, "-m", "serving")


def run(
    *arguments: object, cwd: Path | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def environment() -> dict[str, str]:
    # A width, so that the help is laid out alike everywhere; no log level that hides our own.
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return kept | {"COLUMNS": "100", "PYTHONWARNINGS": "error::ResourceWarning"}
