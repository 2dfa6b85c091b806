"""Go through docs/release.md on the embedded server: all its commands, with what each one said.

Run by ``make release-rehearsal``. In a folder of its own, which is gone in the end, the penguins of
examples/ are the customers: version 1 is live, and version 2 is released. Exit code 0 when every
command ended as the page says, 3 when one did not.
"""

import csv
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Final

import numpy as np

from scripts.documented_commands import ROOT, Command, parse_commands, run
from serving.cli import main as tfkmeans
from serving.cli.exit_codes import DONE, FAULT, REFUSED
from serving.cli.log_lines import log_to_stderr
from serving.cli.tensorflow_import import LOG_LEVEL, load_tensorflow
from serving.cli.terminal import note

PAGE: Final = ROOT / "docs" / "release.md"
_ROWS: Final = ROOT / "examples" / "penguins.csv"
_COLUMNS: Final = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
#: Rows of a large call.
_REPRESENTATIVE: Final = 10_000


def main() -> int:
    """Rehearse; gives the exit code."""
    os.environ.setdefault(LOG_LEVEL, "2")
    load_tensorflow("serve")
    from serving.embedded import EmbeddedServer

    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name, chdir(name):
        folder = Path(name)
        _write_rows(folder)
        if not _publish_first_version(folder):
            return FAULT
        server = EmbeddedServer(
            model_config_file=folder / "models" / "models.config",
            rest_api_port="auto",
            file_system_poll_wait_seconds=0.2,
            allow_version_labels_for_unavailable_models=True,
            monitoring_config_file=ROOT / "docker" / "config" / "monitoring.config",
        )
        with log_to_stderr(as_json=False), server:
            assert server.grpc_address is not None
            assert server.rest_address is not None
            ports = [each.rpartition(":")[2] for each in (server.grpc_address, server.rest_address)]
            places = {
                "localhost 8500 8501": f"127.0.0.1 {' '.join(ports)}",
                "localhost:8500": server.grpc_address,
                "localhost:8501": server.rest_address,
            }
            return rehearse(list(parse_commands(PAGE)), folder, places)


def rehearse(steps: Sequence[Command], folder: Path, places: Mapping[str, str]) -> int:
    """Run the steps up to the first that does not end as the page says; gives the exit code."""
    section = ""
    for done, step in enumerate(steps):
        if step.section != section:
            section = step.section
            print(f"\n== {section}")
        began = time.monotonic()
        outcome = run(step, folder, places)
        print(f"$ {step.text}")
        for line in outcome.said.replace(f"{folder}/", "").splitlines():
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


def _write_rows(folder: Path) -> None:
    """What was trained on before, what is trained on now, what is held out, and a large call."""
    with _ROWS.open(newline="") as file:
        rows = [[row[name] for name in _COLUMNS] for row in csv.DictReader(file)]
    rng = np.random.default_rng(0)
    rng.shuffle(rows)
    whole = np.array([row for row in rows if "NA" not in row], float)
    drawn = whole[rng.integers(len(whole), size=_REPRESENTATIVE)]
    noise = rng.normal(scale=0.05, size=drawn.shape) * whole.std(axis=0)
    for name, chosen in (
        ("earlier", rows[:200]),
        ("rows", rows[:260]),
        ("holdout", rows[260:]),
        ("representative", (drawn + noise).tolist()),
    ):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *chosen])


def _publish_first_version(folder: Path) -> bool:
    """What is live before the release: a model of fewer rows."""
    print("before: version 1 is published, and served")
    with redirect_stdout(sys.stderr):
        code = tfkmeans(
            [
                *("train", "earlier.csv", "--clusters", "3", "--standardize"),
                *("--model", str(folder / "models" / "customers"), "--json"),
            ]
        )
    if code:
        note(f"error: version 1 could not be published: exit code {code}")
    return code == DONE


if __name__ == "__main__":
    sys.exit(main())
