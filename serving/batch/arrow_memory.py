"""The allocator of Arrow's memory while a job runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

#: The variable by which a user selects an allocator.
_SELECTED: Final = "ARROW_DEFAULT_MEMORY_POOL"


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Allocate Arrow's memory with jemalloc, if Arrow has it and the user selected no allocator.

    Arrow's default, mimalloc, returns freed memory to the system after a few milliseconds, in huge
    pages. Batches wait longer than this before they are scored and written, so the system would
    fill the same pages with zeros again and again, for a fifth of the processor time of a job.
    """
    before = pa.default_memory_pool()
    if _SELECTED not in os.environ and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)
