"""NumPy's ``.npz``: arrays of one or two dimensions, read in blocks of rows.

A single array [n, d] is read like a ``.npy``: columns without names. Several arrays, or one with
one dimension, are columns by name: [n] for numbers, [n, w] for vectors. The number of rows is that
of the first array with two dimensions, or else of the first array.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.array_files import ArrayHeader, InvalidArray, npz_names, open_npz, open_npz_array

from .columns import NUMBERS, ColumnKind, vectors
from .errors import ColumnMismatch, UnreadableFile
from .npy_table import NUMBER_KINDS, is_exact_in_float32, place_names
from .table import Chunk, Table

if TYPE_CHECKING:
    import pyarrow as pa

#: Numbers in a block.
_BLOCK_NUMBERS: Final = 2**20

#: The kinds of dtypes, besides numbers, that can be kept: texts and times.
_KEPT_KINDS: Final = "UM"


class NpzTable(Table):
    """A ``.npz`` file."""

    rows: int

    def __init__(self, path: Path) -> None:
        """Read the headers of the arrays. Raises UnreadableFile."""
        self._path = path
        self.name = str(path)
        self._headers = self._read_headers()
        tables = [name for name, header in self._headers.items() if len(header.shape) == 2]
        lists = [name for name, header in self._headers.items() if len(header.shape) == 1]
        if not tables and not lists:
            raise UnreadableFile(
                f"{self.name}: holds no array of one or two dimensions; write one with numpy.savez"
            )
        self._main = (tables or lists)[0]
        self.rows = self._headers[self._main].shape[0]
        self.has_names = not (tables and len(self._headers) == 1)
        if self.has_names:
            self.columns = tuple(self._headers)
            return
        header = self._headers[self._main]
        if header.dtype.kind not in NUMBER_KINDS or not header.shape[1]:
            raise UnreadableFile(
                f"{self.name}: holds one array of shape {header.shape} of {header.dtype}, and "
                "[rows, features] of numbers is needed"
            )
        self.columns = place_names(header.shape[1])

    def _kinds(self) -> Mapping[str, ColumnKind]:
        if not self.has_names:
            return dict.fromkeys(self.columns, NUMBERS)
        return {name: self._kind(header) for name, header in self._headers.items()}

    def _kind(self, header: ArrayHeader) -> ColumnKind:
        shape, dtype = header.shape, header.dtype
        if len(shape) not in (1, 2) or shape[0] != self.rows or 0 in shape[1:]:
            holds = f"an array of shape {shape}, where {self._main} has {self.rows} rows"
            return ColumnKind(False, holds)
        if dtype.kind not in NUMBER_KINDS:
            return ColumnKind(False, "text" if dtype.kind in "US" else str(dtype))
        return vectors(shape[1]) if len(shape) == 2 else NUMBERS

    def check(self, columns: Sequence[str], keep: Sequence[str] = ()) -> None:
        super().check(columns, keep)
        if not self.has_names:
            return
        for name in keep:
            header = self._headers[name]
            kind = self._kind(header)
            is_kept = len(header.shape) == 1 and header.dtype.kind in _KEPT_KINDS
            if not kind.is_numeric and not (is_kept and header.shape[0] == self.rows):
                raise ColumnMismatch(
                    f"{self.name}: column {name!r} holds {kind.holds}, which cannot be kept; leave "
                    "it out"
                )

    def column_types(self, keep: Sequence[str]) -> "Mapping[str, pa.DataType]":
        import pyarrow as pa

        if not self.has_names:
            return dict.fromkeys(keep, pa.from_numpy_dtype(self._dtype(self._main)))
        types = {}
        for name in keep:
            shape, dtype = self._headers[name].shape, self._dtype(name)
            kind = pa.string() if dtype.kind == "U" else pa.from_numpy_dtype(dtype)
            types[name] = pa.list_(kind, shape[1]) if len(shape) == 2 else kind
        return types

    def chunks(
        self, columns: Sequence[str], keep: Sequence[str] = (), start: int = 0
    ) -> Iterator[Chunk]:
        self.check(columns, keep)
        names = list(dict.fromkeys([*columns, *keep])) if self.has_names else [self._main]
        picked = [self._dtype(name) for name in (columns if self.has_names else names)]
        dtype = np.float32 if all(map(is_exact_in_float32, picked)) else np.float64
        width = sum(int(np.prod(self._headers[name].shape[1:])) for name in names)
        rows = max(1, _BLOCK_NUMBERS // width)
        for first, arrays in self._read_blocks(names, rows):
            blocks = {name: block[max(0, start - first) :] for name, block in arrays.items()}
            if not len(blocks[names[0]]):
                continue
            if not self.has_names:
                blocks = dict(zip(self.columns, blocks[self._main].T, strict=True))
            with np.errstate(invalid="ignore"):  # a damaged file may contain a signalling NaN
                # The first is empty: np.column_stack requires at least one array.
                points = np.column_stack(
                    [
                        np.empty((len(next(iter(blocks.values()))), 0), dtype),
                        *(blocks[name].astype(dtype, copy=False) for name in columns),
                    ]
                )
            yield Chunk(np.ascontiguousarray(points), self._record_batch(blocks, keep))

    def _read_blocks(
        self, names: Sequence[str], rows: int
    ) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """Yield blocks of rows of these arrays, with the number of rows before."""
        with self._open() as archive, ExitStack() as stack:
            opened = {name: stack.enter_context(open_npz_array(archive, name)) for name in names}
            readers = {name: _read_rows(*array, rows) for name, array in opened.items()}
            for first in range(0, self.rows, rows):
                yield first, {name: next(reader) for name, reader in readers.items()}

    def _record_batch(
        self, blocks: Mapping[str, NDArray[Any]], keep: Sequence[str]
    ) -> "pa.RecordBatch | None":
        if not keep:
            return None
        import pyarrow as pa

        columns: list[pa.Array[Any]] = []
        for name in keep:
            block = blocks[name].astype(blocks[name].dtype.newbyteorder("="), copy=False)
            flat: Any = pa.array(np.ascontiguousarray(block).ravel())
            is_vector = block.ndim == 2
            columns.append(
                pa.FixedSizeListArray.from_arrays(flat, block.shape[1]) if is_vector else flat
            )
        return pa.record_batch(columns, schema=pa.schema(self.column_types(keep)))

    def _dtype(self, name: str) -> "np.dtype[Any]":
        """Return the dtype in the byte order of this machine, for Arrow and TensorFlow."""
        return self._headers[name].dtype.newbyteorder("=")

    def _read_headers(self) -> dict[str, ArrayHeader]:
        headers = {}
        with self._open() as archive:
            for name in npz_names(archive):
                with open_npz_array(archive, name) as (header, _):
                    headers[name] = header
        return headers

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        """Open the file. Raises UnreadableFile, also for faults of arrays that are read in the
        context.
        """
        try:
            with open_npz(self._path) as archive:
                yield archive
        except (InvalidArray, OSError) as error:
            raise UnreadableFile(
                f"{self.name}: cannot be read as .npz: {error}; write it again with numpy.savez"
            ) from None


def _read_rows(header: ArrayHeader, file: IO[bytes], rows: int) -> Iterator[NDArray[Any]]:
    """Yield the array in blocks of rows. Raises EOFError if it ends too early."""
    shape, is_fortran, dtype = header
    if is_fortran:
        # It is in column-major order: the first row is complete after the whole array is read.
        array = _read_array(file, shape[::-1], dtype).T
        yield from (array[start : start + rows] for start in range(0, shape[0], rows))
        return
    for start in range(0, shape[0], rows):
        yield _read_array(file, (min(rows, shape[0] - start), *shape[1:]), dtype)


def _read_array(file: IO[bytes], shape: tuple[int, ...], dtype: "np.dtype[Any]") -> NDArray[Any]:
    size = int(np.prod(shape)) * dtype.itemsize
    content = file.read(size)
    if len(content) < size:
        raise EOFError(f"an array ends after {len(content)} of {size} bytes")
    return np.frombuffer(content, dtype).reshape(shape)
