"""Memory that nothing holds any more, and the system's allocator keeps."""

import ctypes
import sys


def give_back_free_memory() -> None:
    """Give it back to the system, as glibc can; elsewhere nothing happens.

    The compiler of kernels leaves some 80 MB of it, in pieces.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
