"""Run work on every core: each core processes a range of the rows in its own thread.

The results are joined and added in the order of the ranges, so their bits are reproducible.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from .devices import on_cpu

#: A range begins at a multiple of this many rows, so that arrays with one number per row are cut at
#: addresses that TensorFlow's kernels accept.
_ROWS: Final = 512

# Not every system reports the cores that a process may use.
_CORES: Final = min(
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16
)


def _stay_on_cpu() -> None:
    """Make the CPU the default device of TensorFlow in this thread."""
    on_cpu().__enter__()


_threads: Final = ThreadPoolExecutor(_CORES, "core", _stay_on_cpu)
# The threads are kept: each new thread would take its own memory from the allocator.
_readers: Final = ThreadPoolExecutor(_CORES, "read-ahead", _stay_on_cpu)

T = TypeVar("T")


def core_ranges(n: int, first: int = 0) -> list[tuple[int, int]]:
    """Split n rows from ``first`` on into one range (start, stop) per core."""
    each = max(-(-n // (_CORES * _ROWS)), 1) * _ROWS
    return [(start, min(start + each, first + n)) for start in range(first, first + n, each)]


def run_in_parallel(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """Call a function for each tuple of arguments in parallel; return the results in order."""
    return list(_threads.map(lambda each: function(*each), arguments))


def one_ahead(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """Yield the result of a function for each tuple of arguments; a thread computes the next one.

    When a result is requested, the previous one is no longer in use.
    """
    ahead = _readers.submit(function, *arguments[0])
    for following in arguments[1:]:
        made = ahead.result()
        ahead = _readers.submit(function, *following)
        yield made
    yield ahead.result()
