"""Which failures of a call are followed by another attempt, and how soon."""

import random
from typing import Final

from ..errors import ResourceExhausted, ServerUnavailable, ServingError
from .operations import Deadline

#: Seconds before the second attempt, the third, … at a server that is not available.
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8)

#: Seconds before the second attempt at a server that has too much to do; they double from one
#: attempt to the next, up to the longest. A thread is free again soon, and with longer pauses a
#: call that was refused often would have fewer attempts than the others until its deadline.
_FIRST_BUSY_PAUSE, _LONGEST_BUSY_PAUSE = 0.01, 0.25

#: Attempts that were in step would hit a server that has trouble all at once.
_JITTER: Final = 0.2
_BUSY_JITTER: Final = 0.5

#: TensorFlow Serving's refusal of calls above ``--grpc_max_threads``. Its other refusals by the
#: same code, of what is too large, would come again.
_BUSY: Final = "Server Threadpool Exhausted"


class Retries:
    """The attempts of one call after the first.

    A server that is not available is asked five times in all; one that has too much to do, and says
    so by TensorFlow Serving's words or by when to come again, until the deadline. No operation
    changes anything on a server, so that each may be repeated.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._pauses = iter(_PAUSES)
        self._busy_pause = _FIRST_BUSY_PAUSE

    def next_pause(self, error: ServingError, *, asked: float | None = None) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: what the last attempt ended with; raised where there is no other one, or no time
                for it.
            asked: the seconds that the server asked to wait, at least.
        """
        is_refused = isinstance(error, ResourceExhausted)
        if is_refused and (error.message == _BUSY or asked is not None):
            pause = _vary(self._busy_pause, _BUSY_JITTER)
            self._busy_pause = min(2 * self._busy_pause, _LONGEST_BUSY_PAUSE)
        elif isinstance(error, ServerUnavailable):
            planned = next(self._pauses, None)
            if planned is None:
                raise error
            pause = _vary(planned, _JITTER)
        else:
            raise error
        pause = max(pause, asked or 0.0)
        if pause >= self._deadline.left():
            if asked is None or pause > asked:
                raise error
            message = f"{error.message}; the server asks to wait {asked:.3g} s"
            raise type(error)(message, error.model, error.address) from error
        return pause


def _vary(seconds: float, share: float) -> float:
    return seconds * random.uniform(1 - share, 1 + share)
