"""Check the quotes of a CSV file while the file is read.

A reader of CSV treats an unclosed quote as the start of a value of many lines, and silently loses
these rows. By RFC 4180 a quoted value fills its cell, and a quote within it is doubled. So each odd
quote of a file follows a delimiter, a line end or a quote, each even quote precedes one of these,
and the number of quotes is even. Otherwise a quote may be unclosed, or is in the middle of a cell
that does not begin with a quote, such as ``6" pipe``, where it has no meaning.

No block ends between the two bytes of a CRLF: pyarrow treats the second byte as the rest of a line
end, also within quotes, and drops it (apache/arrow, issue 51368).
"""

import codecs
import threading
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

_QUOTE: Final = ord('"')


def edges_of_values(delimiter: str) -> NDArray[np.bool_]:
    """Return for each byte whether it may be next to a quote that begins or ends a value."""
    return np.isin(np.arange(256), [ord(delimiter), *b'\r\n"'])


class Readable(Protocol):
    """A file of bytes."""

    def read(self, size: int = -1, /) -> bytes: ...
    def close(self) -> None: ...


class QuoteWatcher:
    """A file for pyarrow that checks quotes while it is read.

    Args:
        file: the text, read from its start.
        on_doubt: called once if the quotes do not fit; the reader raises its exceptions.
        delimiter: the delimiter of cells, one ASCII character.
    """

    closed = False

    def __init__(self, file: Readable, on_doubt: Callable[[], None], delimiter: str = ",") -> None:
        self._file = file
        self._on_doubt = on_doubt
        self._is_edge = edges_of_values(delimiter)
        self._held = b""
        self._is_watching = True
        self._last = b""
        self._is_open = False
        # pyarrow reads ahead in its own thread, also while the file is closed.
        self._lock = threading.Lock()

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            block = b"" if self.closed else self._read_whole_line_ends(size)
            if self._is_watching and not self.closed and not self._check_block(block):
                self._is_watching = False
                self._on_doubt()
            return block

    def close(self) -> None:
        with self._lock:
            self.closed = True
            self._file.close()

    def _read_whole_line_ends(self, size: int) -> bytes:
        """Return the next bytes; a CR at their end is kept for a following LF."""
        block, self._held = self._held, b""
        while True:
            more = self._file.read(size - len(block) if size >= 0 else size)
            block += more
            if not more or size == 1 or not block.endswith(b"\r"):
                return block
            if len(block) > 1:
                self._held = block[-1:]
                return block[:-1]

    def _check_block(self, block: bytes) -> bool:
        """Check the quotes of the next block; an empty block is the end of the file."""
        if not block:
            block = b"\n"
            if self._is_open:
                return False
        if not self._last:
            self._last, block = b"\n", block.removeprefix(codecs.BOM_UTF8)
        read = self._last + block
        text = np.frombuffer(read, np.uint8)
        self._last = read[-1:]
        places = np.flatnonzero(text == _QUOTE)
        if not len(places):
            return True
        # The first byte is the last byte of the previous block; a quote there is already counted.
        is_known = places[0] == 0
        opens = np.arange(len(places)) % 2 == int(self._is_open != is_known)
        self._is_open = bool(opens[-1])
        first, last = places[opens], places[~opens]
        return bool(
            self._is_edge[text[first[first > 0] - 1]].all()
            and self._is_edge[text[last[last < len(text) - 1] + 1]].all()
        )
