"""Work on every core: each takes its own range of the rows, in a thread of its own.

What the ranges give is joined and added in their order, so that the bits are the same each time.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from .devices import on_cpu

#: A range begins at a multiple of so many rows: what is held a row is then cut at addresses that
#: TensorFlow's kernels take.
_ROWS: Final = 512

# Not every system tells which cores a process may use.
_CORES: Final = min(
    len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16
)


def _stay_on_cpu() -> None:
    """Have TensorFlow do on the CPU what this thread asks of it and names no device for."""
    on_cpu().__enter__()


_threads: Final = ThreadPoolExecutor(_CORES, "core", _stay_on_cpu)
# They live on: each new thread would take memory of its own from the system's allocator.
_readers: Final = ThreadPoolExecutor(_CORES, "read-ahead", _stay_on_cpu)

T = TypeVar("T")


def core_ranges(n: int, first: int = 0) -> list[tuple[int, int]]:
    """Of n rows from ``first`` on those of each core, from its first to before its last."""
    each = max(-(-n // (_CORES * _ROWS)), 1) * _ROWS
    return [(start, min(start + each, first + n)) for start in range(first, first + n, each)]


def run_in_parallel(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """What the function gives for each tuple of arguments, in their order."""
    return list(_threads.map(lambda each: function(*each), arguments))


def one_ahead(function: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> Iterator[T]:
    """What the function gives for each tuple of arguments; the next is made in a thread meanwhile.

    When one is asked for, that before it is no longer in use.
    """
    ahead = _readers.submit(function, *arguments[0])
    for following in arguments[1:]:
        made = ahead.result()
        ahead = _readers.submit(function, *following)
        yield made
    yield ahead.result()
