"""A file of consecutive arrays and a header.

Each array is raw numbers, so its rows can be read in place. A JSON header follows with the offset
and the CRC-32 of each array, and last the length of the header. So a file without its end is
invalid.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from kmeans_module.row_source import RawFile

from .errors import DamagedCache

#: The mark at the end of a file. Another layout has another mark.
_MARK: Final = b"tfkrows2"

#: The length of the header, its CRC-32, and the mark.
_TAIL: Final = struct.Struct("<QI8s")

#: Bytes per read of a check.
_CHECKED_BYTES: Final = 2**22


class SectionWriter:
    """Writes arrays to an empty file, and then the header."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sections: dict[str, dict[str, Any]] = {}

    def write(
        self,
        name: str,
        blocks: Iterable[NDArray[Any]],
        width: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> RawFile:
        """Write an array [n, *width] from blocks of rows; return it for reading.

        Raises OSError.
        """
        start, rows, crc = self._file.tell(), 0, 0
        for block in blocks:
            data = np.ascontiguousarray(block, dtype).reshape(-1).view(np.uint8).data
            self._file.write(data)
            crc = zlib.crc32(data, crc)
            rows += len(block)
        self._file.flush()
        described = {"dtype": dtype.str, "shape": [rows, *width], "start": start, "crc": crc}
        self._sections[name] = described
        return _open_section(self._file, "the file", described, is_whole=False)

    def finish(self, header: Mapping[str, Any]) -> None:
        """Write the header, which completes the file. Raises OSError."""
        text = json.dumps({"sections": self._sections, "header": header}).encode()
        self._file.write(text + _TAIL.pack(len(text), zlib.crc32(text), _MARK))
        self._file.flush()


def read_sections(
    file: IO[bytes], name: str, *, check: bool
) -> tuple[dict[str, Any], dict[str, RawFile]]:
    """Return the header of a file, and its arrays by name; each may outlive ``file``.

    Args:
        file: the open file.
        name: the name of the file in errors.
        check: whether to read the whole file, and to compare the checksums.

    Raises:
        DamagedCache: the file is damaged, or has another layout.
        OSError: the file cannot be read.
    """
    described = _read_header(file, name)
    sections = {key: _open_section(file, name, each) for key, each in described["sections"].items()}
    for key, section in sections.items() if check else ():
        if _crc_of(section) != described["sections"][key]["crc"]:
            raise DamagedCache(f"{name}: is damaged: {key} have changed")
    header: dict[str, Any] = described["header"]
    return header, sections


def _read_header(file: IO[bytes], name: str) -> dict[str, Any]:
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL.size:
        raise DamagedCache(f"{name}: is damaged: it has {size} bytes")
    file.seek(size - _TAIL.size)
    length, crc, mark = _TAIL.unpack(file.read(_TAIL.size))
    if mark != _MARK or length > size - _TAIL.size:
        raise DamagedCache(f"{name}: is damaged, cut off, or of another release")
    file.seek(size - _TAIL.size - length)
    text = file.read(length)
    if zlib.crc32(text) != crc:
        raise DamagedCache(f"{name}: is damaged: its header has changed")
    described: dict[str, Any] = json.loads(text)
    ends = [
        each["start"] + int(np.prod(each["shape"])) * np.dtype(each["dtype"]).itemsize
        for each in described["sections"].values()
    ]
    if max(ends) != size - _TAIL.size - length:
        raise DamagedCache(f"{name}: is damaged: its length has changed")
    return described


def _open_section(
    file: IO[bytes], name: str, described: Mapping[str, Any], *, is_whole: bool = True
) -> RawFile:
    shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
    descriptor = os.dup(file.fileno())
    return RawFile(descriptor, name, shape, dtype, described["start"], is_whole=is_whole)


def _crc_of(section: RawFile) -> int:
    row_bytes = max(1, int(np.prod(section.shape[1:])) * section.dtype.itemsize)
    rows, crc = max(1, _CHECKED_BYTES // row_bytes), 0
    for start in range(0, len(section), rows):
        crc = zlib.crc32(section[start : start + rows].reshape(-1).view(np.uint8).data, crc)
    return crc
