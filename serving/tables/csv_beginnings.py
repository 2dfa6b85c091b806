"""Find positions where reading a CSV file can begin, and the rows before them, with many workers.

Each worker examines its own pieces of the file. Only the previous pieces show whether a piece
begins within quotes, so both cases are counted, and the counts of all pieces together decide. Rows
are those of the table: blank lines do not count, and a quoted value may contain line ends.

Quotes follow RFC 4180. For other quotes (see ``csv_quotes``), or an unclosed one, only parsing
finds the rows, and no position is returned.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .csv_quotes import edges_of_values

if TYPE_CHECKING:
    from kmeans_module.workers import Reducer

#: Bytes of a piece. A position is the first row that begins in a piece.
PIECE_BYTES: Final = 2**18

_QUOTE, _LF, _CR = b'"\n\r'

#: The counts of a piece, for both cases: the piece begins outside of or within quotes.
#:
#: quotes: the number of quotes.
#: rows: the number of rows that end in it.
#: first: the position after the first line end; -1 without one.
#: first_rows: the number of rows that end there, 0 or 1.
#: fits: whether each quote is next to a character that begins or ends a value.
_PIECE: Final = np.dtype(
    [
        ("quotes", np.int64),
        ("rows", np.int64, 2),
        ("first", np.int64, 2),
        ("first_rows", np.int64, 2),
        ("fits", np.bool_, 2),
    ]
)


class Beginning(NamedTuple):
    """A position where reading can begin.

    Attributes:
        row: the number of the row, from 0.
        place: the bytes before the row.
    """

    row: int
    place: int


def find_beginnings(
    path: Path, start: int, delimiter: str, reducer: "Reducer"
) -> tuple[list[Beginning], int] | None:
    """Find row beginnings, about one per piece, and the number of rows.

    Args:
        path: the path of an uncompressed file.
        start: the bytes before the first row.
        delimiter: the delimiter of cells.
        reducer: the reducer of the workers; each worker calls this function.

    Returns:
        The beginnings and the number of rows; None if the quotes are ambiguous.

    Raises:
        OSError: the file cannot be read.
        WorkerLost, WorkerFailed: see ``connect_workers``.
    """
    size = path.stat().st_size
    starts = np.arange(start, max(size, start + 1), PIECE_BYTES)
    share = np.array_split(starts, reducer.workers)[reducer.worker]
    own = np.zeros(len(share), _PIECE)
    with path.open("rb") as file:
        for number, place in enumerate(share.tolist()):
            reducer.check()
            # With the byte before it and the byte after it.
            file.seek(max(0, place - 1))
            read = file.read(PIECE_BYTES + 1 + (place > 0))
            before = b"\n" if place == start else read[:1]
            piece = read[place > 0 :]
            if place + PIECE_BYTES >= size:
                piece = piece[: size - place] + b"\n\n"  # the last row may lack a line end
            own[number] = _look_at(before + piece, place, edges_of_values(delimiter))
    return _join(reducer.gather(own), start, size)


def _look_at(read: bytes, place: int, is_edge: NDArray[np.bool_]) -> NDArray[np.void]:
    """Count a piece, given with one byte before it and one after it."""
    text = np.frombuffer(read, np.uint8)
    inner = text[1:-1]
    quotes = np.flatnonzero(inner == _QUOTE) + 1
    is_end = (text == _LF) | (text == _CR)
    ends = np.flatnonzero(is_end[1:-1]) + 1
    # The line end is within quotes if the piece begins outside of them.
    is_inside = np.searchsorted(quotes, ends) % 2 == 1
    known = np.zeros((), _PIECE)
    known["quotes"], known["first"] = len(quotes), -1
    for case, of_lines in enumerate((ends[~is_inside], ends[is_inside])):
        if len(of_lines):
            # A line end directly after another is that of a blank line.
            is_row = ~is_end[of_lines - 1]
            known["rows"][case] = np.count_nonzero(is_row)
            known["first"][case] = place + of_lines[0]
            known["first_rows"][case] = is_row[0]
        opens, closes = quotes[case::2], quotes[1 - case :: 2]
        known["fits"][case] = is_edge[text[opens - 1]].all() and is_edge[text[closes + 1]].all()
    return known


def _join(pieces: NDArray[np.void], start: int, size: int) -> tuple[list[Beginning], int] | None:
    """Combine the counts of all pieces."""
    quotes = np.cumsum(pieces["quotes"])
    if quotes[-1] % 2:
        return None
    case = np.concatenate([[0], quotes[:-1]]) % 2
    number = np.arange(len(pieces))
    rows, first, first_rows, fits = (
        pieces[name][number, case] for name in ("rows", "first", "first_rows", "fits")
    )
    if not fits.all():
        return None
    until = np.cumsum(rows)
    found = {0: start}
    behind_first = zip((until - rows + first_rows)[1:], first[1:], strict=True)
    for row, place in behind_first:
        # Blank lines follow the last row.
        if 0 <= place < size and row < until[-1]:
            found.setdefault(int(row), int(place))
    return [Beginning(*each) for each in found.items()], int(until[-1])
