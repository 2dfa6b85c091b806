"""Waits of a main thread that a signal always ends.

Python acts on a signal in its main thread. A signal that arrives just before the main thread begins
to wait, or that the system gives to another thread, does not end that wait. So these waits end
twice a second and begin again.
"""

import math
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
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
    wait_for_first([future], math.inf)
    return future.result()


def wait_for_first(futures: "Iterable[Future[_T]]", seconds: float) -> "set[Future[_T]]":
    """Wait until one of the futures is done, for so long at most; return those that are."""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        done = wait(futures, max(0.0, min(left, SIGNAL_INTERVAL)), FIRST_COMPLETED).done
        if done or left <= SIGNAL_INTERVAL:
            return done
