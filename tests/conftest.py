"""What holds for all tests."""

import gc
import signal
from collections.abc import Iterator
from typing import Final

import pytest

#: So many new objects, and so many collections of the younger, before a collection. A process of
#: tests holds the graphs of thousands of them: one look at all takes most of a second, and at the
#: thresholds of Python an eighth of the time of the tests went there.
_THRESHOLDS: Final = (5_000, 10, 20)


def pytest_configure() -> None:
    """Let the programs that tests start hear Ctrl-C, and collect garbage less often.

    A shell without a terminal starts what it runs in the background with Ctrl-C ignored, and
    everything started from there inherits that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(*_THRESHOLDS)


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Unfreeze the objects that commands, run in the process of the tests, freeze."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
