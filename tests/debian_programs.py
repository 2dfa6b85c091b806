"""Programs of Debian that a test runs; ``scripts/ci_packages.sh`` installs them."""

import os
import shutil

import pytest


def require_program(name: str) -> str:
    """The path of a program; without it the test skips, and fails where CI is ``true``."""
    path = shutil.which(name)
    if path is not None:
        return path
    missing = f"{name} is not installed; scripts/ci_packages.sh installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
