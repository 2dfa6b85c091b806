"""Progress of batch scoring: a bar on a terminal, otherwise regular lines of JSON."""

import json
import sys
import time
from typing import Final

from serving.tables.messages import format_count

from .terminal import ProgressCallback, note

#: Seconds between two lines of JSON.
_INTERVAL: Final = 10.0


class ScoringProgress:
    """Receives the numbers of written rows, and shows the total, the speed and the time left.

    ``total`` is the exact or estimated number of rows to score; None if unknown.
    """

    def __init__(self, tell: ProgressCallback, total: int | None) -> None:
        self._tell = tell
        self._total = total
        self._rows = 0
        self._began = self._told = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def add_earlier_rows(self, count: int) -> None:
        """Count rows that an earlier run has finished."""
        if self._total is not None:
            self._total = max(0, self._total - count)

    def on_rows(self, count: int) -> None:
        """Count rows that were written."""
        self._rows += count
        if not self._rows:  # an input may begin with none, and there is no speed yet
            return
        now = time.monotonic()
        speed = self._rows / max(now - self._began, 1e-9)
        left = None if self._total is None else max(0, self._total - self._rows) / speed
        if self._is_terminal:
            of = "" if self._total is None else f" of about {self._total:,}"
            ending = "" if left is None else f", {format_duration(left)} left"
            share = None if not self._total else min(1.0, self._rows / self._total)
            rows = format_count(self._rows, "row")
            self._tell(f"{rows}{of}, {speed:,.0f} a second{ending}", share)
        elif now - self._told >= _INTERVAL:
            self._told = now
            line = {"event": "progress", "rows": self._rows, "rows_per_second": round(speed)}
            if left is not None:
                line["seconds_left"] = round(left)
            note(json.dumps(line))


def format_duration(seconds: float) -> str:
    """Format seconds, such as "40 s", "12 min" and "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
