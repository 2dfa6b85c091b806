"""Waits of a main thread that a signal always ends.

Python acts on a signal in its main thread. A signal that arrives just before the main thread begins
to wait, or that the system gives to another thread, does not end that wait. So these waits end
twice a second and begin again.
"""

import time
from concurrent.futures import Future, wait
from typing import Final, TypeVar

_T = TypeVar("_T")

#: Python acts on a signal after this many seconds at most.
SIGNAL_INTERVAL: Final = 0.5


def sleep(seconds: float) -> None:
    """Sleep, as ``time.sleep``. Raises ValueError for a negative number or NaN."""
    if not seconds >= 0:
        raise ValueError(f"seconds is {seconds}; give 0 or more")
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, SIGNAL_INTERVAL))


def result_of(future: "Future[_T]") -> _T:
    """Wait for a future; return its result, or raise its exception."""
    while not wait([future], SIGNAL_INTERVAL).done:
        pass
    return future.result()
