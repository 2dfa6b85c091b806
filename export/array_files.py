"""Arrays in NumPy's files, which anybody may have written, read without believing their headers.

A header of a hundred bytes can claim terabytes, and NumPy would ask for that memory before it looks
whether they are there. Imports no TensorFlow.
"""

import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

#: What an archive may hold in all when it is read; far above what any of ours does.
_MOST_BYTES: Final = 2**30

_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


_BROKEN_HEADER: Final = (
    EOFError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
    Warning,
)


class InvalidArray(ValueError):
    """A file holds no array, or not the one that its header claims."""


class ArrayCutShort(InvalidArray):
    """A file is shorter than the array that its header claims."""


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an ``.npy`` file. Raises InvalidArray, OSError."""
    with path.open("rb") as file:
        return _read(file, os.fstat(file.fileno()).st_size)


def check_npy(path: Path) -> None:
    """Hold the header of an ``.npy`` file against its size. Raises InvalidArray, OSError."""
    with path.open("rb") as file:
        _check_header(file, os.fstat(file.fileno()).st_size)


def read_npz(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of an ``.npz`` file with their names, in their order.

    Raises InvalidArray, OSError.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            claimed = sum(entry.file_size for entry in entries)
            if claimed > _MOST_BYTES:
                raise InvalidArray(f"it claims to hold {claimed:,} bytes")
            for entry in entries:
                with archive.open(entry) as file:
                    yield entry.filename.removesuffix(".npy"), _read(file, entry.file_size)
    # What an archive is broken in decides what is raised; NotImplementedError and RuntimeError are
    # for packings and passwords that no archive of NumPy has.
    except (
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeDecodeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidArray(str(error) or type(error).__name__) from None


def _read(file: IO[bytes], size: int) -> NDArray[Any]:
    _check_header(file, size)
    file.seek(0)
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidArray(str(error)) from None
    return array


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise InvalidArray where the header claims more than is there, or no numbers."""
    try:
        version = np.lib.format.read_magic(file)
        # NumPy warns of a header that it can read only as one of Python 2: it has none of ours.
        with warnings.catch_warnings(action="error"):
            shape, _, dtype = _HEADERS[version](file)
    except KeyError:
        raise InvalidArray("its header is of another version of NumPy's format") from None
    # The header is a Python literal; a broken one fails as Python's own parser does.
    except _BROKEN_HEADER as error:
        raise InvalidArray(f"it has no header of NumPy: {error}") from None
    if dtype.hasobject:
        raise InvalidArray("it holds objects of Python, which are not read")
    claimed = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or claimed > size - file.tell():
        raise ArrayCutShort(
            f"its header claims {claimed:,} bytes, and there are {size - file.tell():,}"
        )
