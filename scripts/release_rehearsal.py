"""Run all commands of docs/release.md with the embedded server, and print their output.

``make release-rehearsal`` runs it. In a temporary folder, the commands of README.md make the rows,
two versions and a server; version 3 is released. Exit code 0 if every command ended as the page
states, else 3.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kmeans_module.quiet_import import LOG_LEVEL
from scripts.documented_commands import ROOT, Command, Reader, parse_commands
from serving.cli.exit_codes import DONE, FAULT, REFUSED
from serving.cli.terminal import note

PAGE: Final = ROOT / "docs" / "release.md"
#: The beginnings of the preceding commands of README.md: rows, versions, a server.
_BEFORE: Final = ("cut ", "tfkmeans train ", "tfkmeans serve ")


def main() -> int:
    """Rehearse; return the exit code."""
    os.environ.setdefault(LOG_LEVEL, "2")
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name, Reader(Path(name)) as reader:
        print("before: versions 1 and 2 are published, and version 1 is served")
        for command in parse_commands(ROOT / "README.md"):
            if command.text.startswith(_BEFORE):
                outcome = reader.run(command)
                if outcome.exit_code:
                    note(f"error: {command.text}: exit code {outcome.exit_code}: {outcome.said}")
                    return FAULT
        return rehearse(list(parse_commands(PAGE)), reader)


def rehearse(steps: Sequence[Command], reader: Reader) -> int:
    """Run the steps up to the first that does not end as the page states; return the exit code."""
    section = ""
    for done, step in enumerate(steps):
        if step.section != section:
            section = step.section
            print(f"\n== {section}")
        began = time.monotonic()
        outcome = reader.run(step)
        print(f"$ {step.text}")
        for line in outcome.said.splitlines():
            print(f"    {line}")
        seconds = time.monotonic() - began
        print(f"  exit code {outcome.exit_code}, {seconds:.1f} s", flush=True)
        if outcome.exit_code != step.exit_code:
            note(
                f"error: {PAGE.name}:{step.line}: exit code {outcome.exit_code} where the page "
                f"says {step.exit_code}; {done} of {len(steps)} commands ended as expected"
            )
            return REFUSED
    print(f"\n{len(steps)} of {len(steps)} commands of {PAGE.name} ended as expected")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
