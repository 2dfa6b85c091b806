"""A log with one line for many similar events."""

import time
from collections.abc import Callable

_INTERVAL = 10.0


class ThrottledLog:
    """Logs the first event at once, then at most one line in ten seconds, with the number of
    events.

    For one thread only.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._untold = 0
        self._next = 0.0

    def tell(self, reason: str) -> None:
        """Record an event."""
        self._untold += 1
        now = time.monotonic()
        if now < self._next:
            return
        self._log(f"{reason} ({self._untold} since the last such line)")
        self._untold = 0
        self._next = now + _INTERVAL
