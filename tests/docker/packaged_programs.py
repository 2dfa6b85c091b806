"""Programs that come as packages of the ``dev`` extra, beside the interpreter of the tests."""

import os
import sys
from pathlib import Path

import pytest


def packaged_program(name: str) -> Path:
    """The path of a program; where no package brings it the test skips, and fails in CI."""
    path = Path(sys.executable).with_name(name)
    if path.exists():
        return path
    missing = f"{name} is not in {path.parent}; its package is for Linux on x86_64 alone"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
