"""What holds for all tests."""

import signal


def pytest_configure() -> None:
    """Let the programs that tests start hear Ctrl-C.

    A shell without a terminal starts what it runs in the background with Ctrl-C ignored, and
    everything started from there inherits that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
