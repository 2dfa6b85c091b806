"""NumPy's ``.npy``: one array [n, d] of numbers or booleans, memory-mapped.

Such a file has no names; its columns are ``feature_0`` to ``feature_<d-1>``. NaN is a missing
value.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.array_files import ArrayCutShort, check_npy

from .columns import NUMBERS, ColumnKind
from .errors import UnreadableFile
from .table import Chunk, Table

if TYPE_CHECKING:
    import pyarrow as pa

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20


#: The kinds of dtypes of numbers and of booleans, which are 0 and 1.
NUMBER_KINDS: Final = "biuf"


def place_names(width: int) -> tuple[str, ...]:
    """Return names for columns without names."""
    return tuple(f"feature_{index}" for index in range(width))


def is_exact_in_float32(dtype: "np.dtype[Any]") -> bool:
    """Whether float32 represents every value of a dtype, such as float16 and 16-bit integers."""
    return dtype.itemsize <= (4 if dtype.kind == "f" else 2)


class NpyTable(Table):
    """A ``.npy`` file."""

    has_names = False
    rows: int

    def __init__(self, path: Path) -> None:
        """Read the array's header. Raises UnreadableFile."""
        self._path = path
        self.name = str(path)
        array = self._open()
        if array.dtype.kind not in NUMBER_KINDS:
            raise UnreadableFile(
                f"{self.name}: holds {array.dtype}, and numbers are needed; {_mend(array.dtype)}"
            )
        if array.ndim != 2 or not array.shape[1]:
            raise UnreadableFile(
                f"{self.name}: holds an array of shape {array.shape}, and [rows, features] is "
                "needed; reshape it"
            )
        self.rows = len(array)
        # In the byte order of this machine, which Arrow and TensorFlow require.
        self._dtype = array.dtype.newbyteorder("=")
        self.columns = place_names(array.shape[1])

    def _kinds(self) -> Mapping[str, ColumnKind]:
        return dict.fromkeys(self.columns, NUMBERS)

    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        import pyarrow as pa

        return dict.fromkeys(keep, pa.from_numpy_dtype(self._dtype))

    @property
    def beginnings(self) -> Sequence[int]:
        return range(max(1, self.rows))

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        array = self._open()
        picked = [self.columns.index(name) for name in columns]
        dtype = np.float32 if is_exact_in_float32(self._dtype) else np.float64
        rows = max(1, _BLOCK_NUMBERS // array.shape[1])
        for first in range(start, len(array), rows):
            # One copy of whole rows, so that the map is read sequentially for any selection.
            block = np.array(array[first : first + rows], self._dtype)
            yield Chunk(
                np.ascontiguousarray(block[:, picked], dtype),
                self._record_batch(block, keep),
            )

    def _record_batch(self, block: NDArray[Any], keep: Sequence[str]) -> "pa.RecordBatch | None":
        if not keep:
            return None
        import pyarrow as pa

        columns = [pa.array(block[:, self.columns.index(name)]) for name in keep]
        return pa.record_batch(columns, schema=pa.schema(self.column_types(keep)))

    def _open(self) -> NDArray[Any]:
        try:
            check_npy(self._path)
            array: NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise UnreadableFile(f"{self.name}: cannot be read: {error.strerror}") from None
        except ArrayCutShort as error:
            raise UnreadableFile(f"{self.name}: {error}; write it again with numpy.save") from None
        except (ValueError, EOFError):
            # NumPy's message suggests loading data that may run code.
            raise UnreadableFile(
                f"{self.name}: is not a .npy file of numbers; write one with numpy.save"
            ) from None
        return array


def _mend(dtype: "np.dtype[Any]") -> str:
    """Return the correction for an array without numbers."""
    if dtype.names:
        return "write its fields as the arrays of a .npz, with numpy.savez"
    if dtype.kind == "c":
        return "write the real and imaginary parts as separate columns"
    if dtype.kind in "SU":
        return "write it with array.astype(float) if the texts are numbers"
    return "write it as numbers with array.astype"
