"""A signal that does not wake the main thread."""

import signal
import threading
import time
from pathlib import Path
from typing import Final

_DEADLINE: Final = 60.0


def interrupt_unnoticed() -> None:
    """Send SIGINT to another thread of this process, once the main thread sleeps.

    Python acts on a signal in its main thread, but the system wakes only the thread that gets it.
    A signal that arrives just before the main thread begins to sleep does not wake it either.
    """
    threading.Thread(target=_interrupt_this_thread, daemon=True).start()


def _interrupt_this_thread() -> None:
    stat = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    deadline = time.monotonic() + _DEADLINE
    asleep = 0
    while asleep < 20:  # looks in a row: it also sleeps while it waits for the interpreter
        assert time.monotonic() < deadline
        time.sleep(0.01)
        asleep = asleep + 1 if stat.read_text().rpartition(")")[2].split()[0] == "S" else 0
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
