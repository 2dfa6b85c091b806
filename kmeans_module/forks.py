"""See that a process was not forked from one in which TensorFlow ran. Imports no TensorFlow."""

import os
from functools import cache

from .errors import ForkedProcess


@cache
def _first_process() -> int:
    """The process in which threads were first used: a fork of it has none."""
    return os.getpid()


def check_not_forked() -> None:
    """Check that this process has its threads, TensorFlow's too.

    Raises:
        ForkedProcess: it was forked from one that had started them.
    """
    if _first_process() != os.getpid():
        raise ForkedProcess(
            "this process was forked from one in which TensorFlow ran, whose threads it lacks; "
            "start processes by 'spawn' or 'forkserver', or fork before the first fit and the "
            "first answer of a model"
        )
