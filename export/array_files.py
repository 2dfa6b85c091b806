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
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What an archive may hold in all when it is read; far above what any of ours does.
_MOST_BYTES: Final = 2**30

_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


#: How NumPy's files and archives begin; and in how many bytes a header has its length, by version.
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
    """A file holds no array, or not the one that its header claims."""


class ArrayCutShort(InvalidArray):
    """A file ends before its array does."""


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
    """The archive of an ``.npz`` file. Raises InvalidArray, also for reading from it; OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
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
        if isinstance(error, zipfile.BadZipFile):
            _check_end(path)
        raise InvalidArray(str(error) or type(error).__name__) from None


def _check_end(path: Path) -> None:
    """Raise ArrayCutShort for an archive without its end, which tells what is in it."""
    with path.open("rb") as file:
        start = file.read(len(_NPZ_MAGIC))
    if not start:
        raise ArrayCutShort("it is empty")
    if _NPZ_MAGIC.startswith(start) and not zipfile.is_zipfile(path):
        raise ArrayCutShort("it is cut short: an archive without its end")


class ArrayHeader(NamedTuple):
    """What the header of an array says of it."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]


def npz_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """The names of the arrays in an ``.npz`` file, in their order."""
    names = (entry.filename for entry in archive.infolist())
    return tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


@contextmanager
def open_npz_array(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[ArrayHeader, IO[bytes]]]:
    """The header of an array, and the file at its first number.

    Of an array of Python's objects, only the header is of use. Raises InvalidArray.
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
    """Raise InvalidArray where the header claims more than is there, or no numbers."""
    if _read_header(file, size).dtype.hasobject:
        raise InvalidArray("it holds objects of Python, which are not read")


def _read_header(file: IO[bytes], size: int) -> ArrayHeader:
    """The header. Raises InvalidArray where it claims more than is there."""
    if not size:
        raise ArrayCutShort("it is empty")
    if _ends_in_header(file.read(12), size):
        raise ArrayCutShort(f"it is cut short: it ends in its header, after {size:,} bytes")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        # NumPy warns of a header that it can read only as one of Python 2: it has none of ours.
        with warnings.catch_warnings(action="error"):
            header = ArrayHeader(*_HEADERS[version](file))
    except KeyError:
        raise InvalidArray("its header is of another version of NumPy's format") from None
    # The header is a Python literal; a broken one fails as Python's own parser does.
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
    """Whether a file of this size, which begins so, ends before its header does."""
    if not start.startswith(_NPY_MAGIC):
        return _NPY_MAGIC.startswith(start)
    first = len(_NPY_MAGIC) + 2  # behind the version
    if size < first:
        return True
    length = _LENGTH_BYTES.get(start[first - 2], 0)
    header = int.from_bytes(start[first : first + length], "little")
    return size < first + length + header
