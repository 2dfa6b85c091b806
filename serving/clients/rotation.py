"""Use several servers in turn."""

import itertools
import math
import time
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

_S = TypeVar("_S", bound=Hashable)

#: Seconds that a failed server is skipped if there are others: a refused connection costs little
#: time, a server without an answer costs a whole call.
REFUSED_SECONDS: Final = 2.0
SILENT_SECONDS: Final = 10.0


class Rotation(Generic[_S]):
    """Servers that are used in turn; a server that failed is skipped while others work."""

    def __init__(self, servers: Sequence[_S]) -> None:
        self._skipped_until = dict.fromkeys(servers, -math.inf)
        self._cycle = itertools.cycle(self._skipped_until)

    def __len__(self) -> int:
        return len(self._skipped_until)

    def next(self) -> _S:
        """Return the next server."""
        if len(self._skipped_until) == 1:
            return next(self._cycle)
        now = time.monotonic()
        turn = itertools.islice(self._cycle, len(self))
        asked = next((each for each in turn if self._skipped_until[each] <= now), None)
        return next(self._cycle) if asked is None else asked

    def skip(self, server: _S, seconds: float) -> None:
        """Skip a server for this number of seconds."""
        self._skipped_until[server] = time.monotonic() + seconds
