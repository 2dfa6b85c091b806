"""The demo, run once for the tests that look at what it prints and at what it makes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.validation_in_process import validation_in_process

__all__ = ["validation_in_process"]

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, "-u", "examples/demo.py"]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the demo was given, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    run = subprocess.run(
        [*DEMO, folder], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return folder, run.stdout
