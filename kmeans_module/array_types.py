"""The types of the arrays that this package takes and gives."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class Table(Protocol):
    """Numbers [n, ...] of which a slice of rows is read: an array, or what lies elsewhere."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Array: ...
