"""Check that a process was not forked from one in which TensorFlow ran. Does not import it."""

import os
from functools import cache

from .errors import ForkedProcess


@cache
def _first_process() -> int:
    """The process in which threads were first used: a forked process does not have them."""
    return os.getpid()


def check_not_forked() -> None:
    """Check that this process has its threads, including those of TensorFlow.

    Raises:
        ForkedProcess: the process was forked after the threads were started.
    """
    if _first_process() != os.getpid():
        raise ForkedProcess(
            "this process was forked from one in which TensorFlow ran, whose threads it lacks; "
            "start processes by 'spawn' or 'forkserver', or fork before the first fit and the "
            "first answer of a model"
        )
