"""Validation without a process of its own, for tests that are of something else.

A process that validates spends most of its time on the import of TensorFlow. What is found is the
same here: the version is loaded from its files, and its golden requests are replayed. The tests of
the validation itself, and those that start a command or a program, start the process.
"""

import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from export import validation


@pytest.fixture(autouse=True, scope="module")
def validation_in_process() -> Iterator[None]:
    """For a conftest.py: validate in the process of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        stand_in = SimpleNamespace(**{**vars(subprocess), "run": _run_validation})
        patch.setattr(validation, "subprocess", stand_in)
        yield


def _run_validation(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` gives for ``python -P -m export.validation ARGUMENTS``."""
    said = StringIO()
    with redirect_stdout(said):
        code = validation._main(command[command.index("export.validation") + 1 :])
    return subprocess.CompletedProcess(command, code, said.getvalue(), "")
