"""Locks of files."""

from pathlib import Path

import pytest

from export.durable_files import lock_file
from tests.interrupts import interrupt_unnoticed


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_wake_the_main_thread_ends_the_wait_for_a_lock(
    tmp_path: Path,
) -> None:
    waits: list[bool] = []
    path = tmp_path / "lock"
    with (
        lock_file(path),
        pytest.raises(KeyboardInterrupt),
        interrupt_unnoticed(),
        lock_file(path, lambda: waits.append(True)),
    ):
        pass
    assert waits == [True]
    with lock_file(path, lambda: waits.append(True)):
        assert waits == [True]
