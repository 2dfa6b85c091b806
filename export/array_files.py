"""Read arrays in NumPy's files from any source, without trusting their headers.

A header of a hundred bytes can claim terabytes, and NumPy would allocate this memory before it
checks the size of the file. Does not import TensorFlow.
"""

import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The most bytes in an archive; far above those of our own archives.
_MOST_BYTES: Final = 2**30

_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


#: The first bytes of NumPy's files and archives; and the size of the length of a header, by
#: version.
_NPY_MAGIC: Final = np.lib.format.MAGIC_PREFIX
_NPZ_MAGIC: Final = b"PK\x03\x04"
_LENGTH_BYTES: Final = {1: 2, 2: 4}

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
    """A file does not contain the array that its header claims."""


class ArrayCutShort(InvalidArray):
    """A file ends before its array."""


def read_npy(path: Path) -> NDArray[Any]:
    """Read the array of an ``.npy`` file. Raises InvalidArray, OSError."""
    with path.open("rb") as file:
        return _read(file, os.fstat(file.fileno()).st_size)


def check_npy(path: Path) -> None:
    """Check the header of an ``.npy`` file against its size. Raises InvalidArray, OSError."""
    with path.open("rb") as file:
        _check_header(file, os.fstat(file.fileno()).st_size)


def read_npz(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the arrays of an ``.npz`` file with their names, in their order.

    Raises InvalidArray, OSError.
    """
    with open_npz(path) as archive:
        entries = archive.infolist()
        claimed = sum(entry.file_size for entry in entries)
        if claimed > _MOST_BYTES:
            raise InvalidArray(f"it claims to hold {claimed:,} bytes")
        for entry in entries:
            with archive.open(entry) as file:
                yield entry.filename.removesuffix(".npy"), _read(file, entry.file_size)


@contextmanager
def open_npz(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive of an ``.npz`` file. Raises OSError; InvalidArray, also in the context."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # The fault of an archive decides the exception; NotImplementedError and RuntimeError are for
    # compressions and passwords that archives of NumPy never have.
    except (
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeDecodeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if isinstance(error, zipfile.BadZipFile):
            _check_end(path)
        raise InvalidArray(str(error) or type(error).__name__) from None


def _check_end(path: Path) -> None:
    """Raise ArrayCutShort for an archive without its end, which has the directory."""
    with path.open("rb") as file:
        start = file.read(len(_NPZ_MAGIC))
    if not start:
        raise ArrayCutShort("it is empty")
    if _NPZ_MAGIC.startswith(start) and not zipfile.is_zipfile(path):
        raise ArrayCutShort("it is cut short: an archive without its end")


class ArrayHeader(NamedTuple):
    """The header of an array."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]


def npz_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return the names of the arrays in an ``.npz`` file, in their order."""
    names = (entry.filename for entry in archive.infolist())
    return tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


@contextmanager
def open_npz_array(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[ArrayHeader, IO[bytes]]]:
    """Open an array: return its header, and the file at its first number.

    For an array of Python objects, only the header is usable. Raises InvalidArray.
    """
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as file:
        yield _read_header(file, entry.file_size), file


def _read(file: IO[bytes], size: int) -> NDArray[Any]:
    _check_header(file, size)
    file.seek(0)
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InvalidArray(str(error)) from None
    return array


def _check_header(file: IO[bytes], size: int) -> None:
    """Raise InvalidArray if the header claims more than the file has, or not numbers."""
    if _read_header(file, size).dtype.hasobject:
        raise InvalidArray("it holds objects of Python, which are not read")


def _read_header(file: IO[bytes], size: int) -> ArrayHeader:
    """Read the header. Raises InvalidArray if it claims more than the file has."""
    if not size:
        raise ArrayCutShort("it is empty")
    if _ends_in_header(file.read(12), size):
        raise ArrayCutShort(f"it is cut short: it ends in its header, after {size:,} bytes")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        # NumPy warns about headers of Python 2, which our files do not have.
        with warnings.catch_warnings(action="error"):
            header = ArrayHeader(*_HEADERS[version](file))
    except KeyError:
        raise InvalidArray("its header is of another version of NumPy's format") from None
    # The header is a Python literal; a broken one raises the errors of Python's parser.
    except _BROKEN_HEADER as error:
        raise InvalidArray(f"it has no header of NumPy: {error}") from None
    if header.dtype.hasobject:
        return header
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if any(length < 0 for length in header.shape):
        raise InvalidArray(f"its header claims {claimed:,} bytes")
    if claimed > size - file.tell():
        raise ArrayCutShort(
            f"it is cut short: its header claims {claimed:,} bytes, and there are "
            f"{size - file.tell():,}"
        )
    return header


def _ends_in_header(start: bytes, size: int) -> bool:
    """Whether a file with this size and beginning ends before its header."""
    if not start.startswith(_NPY_MAGIC):
        return _NPY_MAGIC.startswith(start)
    first = len(_NPY_MAGIC) + 2  # behind the version
    if size < first:
        return True
    length = _LENGTH_BYTES.get(start[first - 2], 0)
    header = int.from_bytes(start[first : first + length], "little")
    return size < first + length + header
