"""NumPy's ``.npy``: one array [n, d] of integers or floats, mapped and not read as a whole.

Such a file has no names; its columns are called ``feature_0`` to ``feature_<d-1>``. NaN is a
missing value.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .errors import UnreadableFile
from .table import Block, ColumnKind, require_columns

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20


class NpyTable:
    """A ``.npy`` file."""

    named = False

    def __init__(self, path: Path) -> None:
        """Read the array's header. Raises UnreadableFile."""
        self._path = path
        self.name = str(path)
        array = self._open()
        if array.dtype.kind not in "iuf":
            raise UnreadableFile(
                f"{self.name}: holds {array.dtype}, and integers or floats are needed"
            )
        if array.ndim != 2 or not array.shape[1]:
            raise UnreadableFile(
                f"{self.name}: holds an array of shape {array.shape}, and [rows, features] is "
                "needed; reshape it"
            )
        self.columns = tuple(f"feature_{index}" for index in range(array.shape[1]))

    def kinds(self) -> Mapping[str, ColumnKind]:
        return dict.fromkeys(self.columns, ColumnKind(True, "numbers"))

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        require_columns(self, columns)
        array = self._open()
        picked = [self.columns.index(column) for column in columns]
        # float32 holds every float16 and every integer of two bytes exactly.
        narrow = array.dtype.itemsize <= (4 if array.dtype.kind == "f" else 2)
        rows = max(1, _BLOCK_NUMBERS // array.shape[1])
        for start in range(0, len(array), rows):
            block = array[start : start + rows, picked]
            yield np.ascontiguousarray(block, np.float32 if narrow else np.float64)

    def place(self, row: int) -> str:
        return f"row {row} (counted from 1)"

    def _open(self) -> NDArray[Any]:
        try:
            array: NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise UnreadableFile(f"{self.name}: cannot be read: {error.strerror}") from None
        except (ValueError, EOFError):
            # NumPy's own words suggest to load what may run code.
            raise UnreadableFile(
                f"{self.name}: is no .npy file of numbers; write one with numpy.save"
            ) from None
        return array
