"""Work on every core: each takes its own range of the rows, in a thread of its own.

What the ranges give is joined and added in their order, so that the bits are the same each time.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

#: A range begins at a multiple of so many rows: what is held a row is then cut at addresses that
#: TensorFlow's kernels take.
_ROWS: Final = 512

_CORES: Final = min(len(os.sched_getaffinity(0)), 16)
_threads: Final = ThreadPoolExecutor(_CORES, thread_name_prefix="core")

T = TypeVar("T")


def ranges(n: int) -> list[tuple[int, int]]:
    """The rows of each core, from the first to before the last."""
    each = -(-n // (_CORES * _ROWS)) * _ROWS
    return [(start, min(start + each, n)) for start in range(0, n, each)]


def in_parallel(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """What the function gives for each tuple of arguments, in their order."""
    return list(_threads.map(lambda given: function(*given), arguments))
