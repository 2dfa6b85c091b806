"""Free memory that the allocator keeps."""

import sys
from pathlib import Path

import pytest

from kmeans_module.free_memory import give_back_free_memory


def _anonymous_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can give memory back")
def test_free_memory_between_what_is_held_goes_back_to_the_system() -> None:
    # Too small to be mapped each by itself, and the one in a hundred keeps the others' place.
    pieces = [bytes(60_000) for _ in range(2_000)]
    held = pieces[::100]
    del pieces
    before = _anonymous_bytes()
    give_back_free_memory()
    assert _anonymous_bytes() < before - 50_000_000
    assert len(held) == 20
