"""The largest values of options."""

from typing import Final

MAX_COUNT: Final = 2_000_000_000
"""Most connections (gRPC aborts at 2**31-1), tries, names, characters, milliseconds, seconds."""

MAX_LARGE: Final = 9_000_000_000_000_000
"""The most bytes, and microseconds: 285 years; threads cannot wait much longer."""
