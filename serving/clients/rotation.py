"""Servers that take turns."""

import itertools
import math
import time
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

_S = TypeVar("_S", bound=Hashable)

#: Seconds that a server is passed over, where there are others: one that refuses connections costs
#: hardly anything to ask again, one that is silent costs a call.
REFUSED_SECONDS: Final = 2.0
SILENT_SECONDS: Final = 10.0


class Rotation(Generic[_S]):
    """Servers that take turns; one that did not answer is passed over while others do."""

    def __init__(self, servers: Sequence[_S]) -> None:
        self._skipped_until = dict.fromkeys(servers, -math.inf)
        self._cycle = itertools.cycle(self._skipped_until)

    def __len__(self) -> int:
        return len(self._skipped_until)

    def next(self) -> _S:
        """The server whose turn it is."""
        if len(self._skipped_until) == 1:
            return next(self._cycle)
        now = time.monotonic()
        turn = itertools.islice(self._cycle, len(self))
        asked = next((each for each in turn if self._skipped_until[each] <= now), None)
        return next(self._cycle) if asked is None else asked

    def skip(self, server: _S, seconds: float) -> None:
        """Pass over a server for so long."""
        self._skipped_until[server] = time.monotonic() + seconds
