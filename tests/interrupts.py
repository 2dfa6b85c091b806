"""A signal that does not wake the main thread."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_DEADLINE: Final = 60.0


@contextmanager
def interrupt_unnoticed() -> Iterator[None]:
    """Send SIGINT to another thread of this process, once the main thread sleeps in the context.

    Python acts on a signal in its main thread, but the system wakes only the thread that gets it.
    A signal that arrives just before the main thread begins to sleep does not wake it either.
    """
    has_left = threading.Event()
    thread = threading.Thread(target=_interrupt_this_thread, args=(has_left,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_left.set()
        thread.join()


def _interrupt_this_thread(has_left: threading.Event) -> None:
    stat = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    deadline = time.monotonic() + _DEADLINE
    asleep = 0
    while asleep < 20:  # looks in a row: it also sleeps while it waits for the interpreter
        assert time.monotonic() < deadline
        if has_left.wait(0.01):
            return
        asleep = asleep + 1 if stat.read_text().rpartition(")")[2].split()[0] == "S" else 0
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
