"""Decide whether a failed call is repeated, and after which pause."""

import random
from typing import Final

from ..errors import ResourceExhausted, ServerUnavailable, ServingError
from .operations import Deadline

#: Seconds before the second, third, ... attempt at an unavailable server.
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8)

#: Seconds before the second attempt at an overloaded server; they double with each attempt, up to
#: the longest. Threads become free soon, and with longer pauses a call that was refused often would
#: have fewer attempts than other calls before its deadline.
_FIRST_BUSY_PAUSE, _LONGEST_BUSY_PAUSE = 0.01, 0.25

#: Without jitter, many clients would repeat their calls at the same time.
_JITTER: Final = 0.2
_BUSY_JITTER: Final = 0.5

#: The state of the global generator of the caller does not change.
_RANDOM: Final = random.Random()

#: The message of TensorFlow Serving for calls above ``--grpc_max_threads``. Other refusals with the
#: same code are for messages that are too large, and would recur.
_BUSY: Final = "Server Threadpool Exhausted"


class Retries:
    """The attempts of one call after the first.

    An unavailable server gets five attempts in all. An overloaded server, which answers with the
    message of TensorFlow Serving or with Retry-After, gets attempts until the deadline. No
    operation changes the server, so each can be repeated.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._pauses = iter(_PAUSES)
        self._busy_pause = _FIRST_BUSY_PAUSE

    def next_pause(self, error: ServingError, *, asked: float | None = None) -> float:
        """Seconds to wait before the next attempt.

        Args:
            error: the error of the last attempt; raised if another attempt is not allowed
                or no time is left for it.
            asked: the minimum pause that the server requested, in seconds.
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
    return seconds * _RANDOM.uniform(1 - share, 1 + share)
