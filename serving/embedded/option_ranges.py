"""The greatest numbers that options take."""

from typing import Final

MAX_COUNT: Final = 2_000_000_000
"""Of connections (gRPC aborts at 2**31-1), tries, names, characters, milliseconds and seconds."""

MAX_LARGE: Final = 9_000_000_000_000_000
"""Of bytes, and of microseconds: 285 years, and no thread can wait for much more."""
