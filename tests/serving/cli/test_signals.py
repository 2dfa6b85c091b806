"""A signal that ends the command takes back what it has begun."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.repository import config_entry
from tests.published_models import publish_unvalidated

from .command import COMMAND, environment

pytestmark = pytest.mark.slow

#: Runs a command that does not ignore SIGHUP from its start.
HANGUP_ENDS = (
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.execv(sys.argv[1], sys.argv[1:])",
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_move_that_is_ended_while_it_waits_is_taken_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    publish_unvalidated(tmp_path, "people", ("height", "weight"), rows=30, versions=2)
    base = tmp_path / "models" / "people"
    config = base.parent / "models.config"
    before = config.read_bytes()
    with subprocess.Popen(
        # Under nohup, these tests and what they start ignore SIGHUP.
        [*HANGUP_ENDS, *COMMAND, "promote", str(base), "2", "--poll-interval", "60"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("waiting 60 s for the servers")
        assert config.read_bytes() != before
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.startswith(f"interrupted: {config} has its previous entry again")
    assert config.read_bytes() == before


def test_a_hangup_that_is_ignored_stays_so(tmp_path: Path) -> None:
    publish_unvalidated(tmp_path, "people", ("height", "weight"), rows=30, versions=2)
    base = tmp_path / "models" / "people"
    promote = [*COMMAND, "promote", str(base), "2", "--poll-interval", "1"]
    with subprocess.Popen(
        ["nohup", *promote], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith(b"waiting 1 s for the servers"):
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=60)
    assert process.returncode == 0
    entry = config_entry(base)
    assert entry is not None
    assert entry.labels == {"stable": 2}
