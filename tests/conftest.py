"""What holds for all tests."""

import gc
import signal
from collections.abc import Iterator

import pytest


def pytest_configure() -> None:
    """Let the programs that tests start hear Ctrl-C.

    A shell without a terminal starts what it runs in the background with Ctrl-C ignored, and
    everything started from there inherits that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Unfreeze the objects that commands, run in the process of the tests, freeze."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
