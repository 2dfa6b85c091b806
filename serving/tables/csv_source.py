"""The bytes of a CSV file, plain or gzip, without comments."""

import gzip
import io
import re
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from .reading_options import DELIMITERS

#: The most bytes of a row; after a longer quoted cell, comments are no longer removed.
_LONGEST: Final = 2**23

_READ_BYTES: Final = 2**20


def open_source(path: Path, comment: str | None, delimiter: str | None) -> BinaryIO:
    """Open the bytes of the file. Comments are removed, but not their lines, so line numbers stay.

    Raises OSError; reading may raise EOFError or zlib.error if the gzip is damaged.
    """
    is_gzip = path.suffix.lower() == ".gz"
    file = cast(BinaryIO, gzip.GzipFile(path) if is_gzip else path.open("rb"))
    if comment is None:
        return file
    return io.BufferedReader(_WithoutComments(file, comment, delimiter), _READ_BYTES)


class _WithoutComments(io.RawIOBase):
    """A file without the text from an unquoted comment mark to the end of the line."""

    def __init__(self, file: BinaryIO, comment: str, delimiter: str | None) -> None:
        self._file = file
        mark = re.escape(comment.encode())
        # All possible delimiters if the delimiter is not known yet.
        before = re.escape((delimiter or "".join(DELIMITERS)).encode())
        # A quote within a cell that does not begin with a quote has no meaning.
        self._token = re.compile(
            rb'(?P<quoted>(?<![^%b\r\n])"(?:[^"]++|"")*+(?P<closed>"?))'
            rb"|(?:(?<![^\r\n])[ \t]*)?%b[^\r\n]*" % (before, mark)
        )
        self._before = b""
        self._held = b""
        self._ready = b""
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready and not self._at_end:
            self._ready = self._read_on()
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()

    def _read_on(self) -> bytes:
        """Return the next complete lines that do not end within a quoted cell."""
        read = self._file.read(_READ_BYTES)
        self._at_end = not read
        text = self._before + self._held + read
        start = place = len(self._before)
        end = len(text)
        if not self._at_end:
            end = max(text.rfind(b"\n"), text.rfind(b"\r"), start - 1) + 1
        kept = []
        for token in self._token.finditer(text, start, end):
            if token["quoted"] is None:
                kept.append(text[place : token.start()])
                place = token.end()
            elif not token["closed"] and not self._at_end and end - token.start() < _LONGEST:
                end = token.start()
                break
        kept.append(text[place:end])
        if end > start:
            self._before = text[end - 1 : end]
        self._held = text[end:]
        return b"".join(kept)
