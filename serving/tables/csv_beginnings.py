"""Where a reading of a CSV file may begin, and how many rows are before; found by many workers.

A file is looked at piece by piece, and each worker looks at pieces of its own. Whether a piece
begins within quotes only those before it tell: so both cases are counted, and the numbers of all
pieces together say which it was. Rows are those of the table: blank lines are none, and a quoted
value may have lines.

Quotes are read by RFC 4180. Where they are otherwise (``csv_quotes`` says when), or one is not
closed, only parsing tells where rows begin, and no place is found.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .csv_quotes import edges_of_values

if TYPE_CHECKING:
    from kmeans_module.workers import Reducer

#: Bytes of a piece. A place is the first row that begins in it.
PIECE_BYTES: Final = 2**18

_QUOTE, _LF, _CR = b'"\n\r'

#: What is known of a piece, in both cases: that it begins outside of quotes, and within.
#:
#: quotes: how many there are.
#: rows: how many end in it.
#: first: the place behind the first end of a line; -1 where there is none.
#: first_rows: how many rows end there, 0 or 1.
#: fits: whether each quote has beside it what begins or ends a value.
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
    """Where a reading may begin.

    Attributes:
        row: the number of the row, from 0.
        place: the bytes before it.
    """

    row: int
    place: int


def find_beginnings(
    path: Path, start: int, delimiter: str, reducer: "Reducer"
) -> tuple[list[Beginning], int] | None:
    """Where rows begin, about one in each piece, and how many rows there are.

    Args:
        path: of a file as it is on the disk, not compressed.
        start: the bytes before the first row.
        delimiter: what separates cells.
        reducer: how the workers come together; each calls this.

    Returns:
        None where the quotes do not tell.

    Raises:
        OSError: the file cannot be read.
        WorkerLost, WorkerFailed: as ``connect_workers`` says.
    """
    size = path.stat().st_size
    starts = np.arange(start, max(size, start + 1), PIECE_BYTES)
    share = np.array_split(starts, reducer.workers)[reducer.worker]
    own = np.zeros(len(share), _PIECE)
    with path.open("rb") as file:
        for number, place in enumerate(share.tolist()):
            reducer.check()
            # With the byte before it, and that behind it.
            file.seek(max(0, place - 1))
            read = file.read(PIECE_BYTES + 1 + (place > 0))
            before = b"\n" if place == start else read[:1]
            piece = read[place > 0 :]
            if place + PIECE_BYTES >= size:
                piece = piece[: size - place] + b"\n\n"  # the last row may have no end of its line
            own[number] = _look_at(before + piece, place, edges_of_values(delimiter))
    return _join(reducer.gather(own), start, size)


def _look_at(read: bytes, place: int, is_edge: NDArray[np.bool_]) -> NDArray[np.void]:
    """What is known of a piece, which has one byte before it and one behind it."""
    text = np.frombuffer(read, np.uint8)
    inner = text[1:-1]
    quotes = np.flatnonzero(inner == _QUOTE) + 1
    is_end = (text == _LF) | (text == _CR)
    ends = np.flatnonzero(is_end[1:-1]) + 1
    # The line ends within quotes, if the piece begins outside of them.
    is_inside = np.searchsorted(quotes, ends) % 2 == 1
    known = np.zeros((), _PIECE)
    known["quotes"], known["first"] = len(quotes), -1
    for case, of_lines in enumerate((ends[~is_inside], ends[is_inside])):
        if len(of_lines):
            # An end right behind another is that of a blank line.
            is_row = ~is_end[of_lines - 1]
            known["rows"][case] = np.count_nonzero(is_row)
            known["first"][case] = place + of_lines[0]
            known["first_rows"][case] = is_row[0]
        opens, closes = quotes[case::2], quotes[1 - case :: 2]
        known["fits"][case] = is_edge[text[opens - 1]].all() and is_edge[text[closes + 1]].all()
    return known


def _join(pieces: NDArray[np.void], start: int, size: int) -> tuple[list[Beginning], int] | None:
    """What all pieces say together."""
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
        # What is behind the last row are blank lines.
        if 0 <= place < size and row < until[-1]:
            found.setdefault(int(row), int(place))
    return [Beginning(*each) for each in found.items()], int(until[-1])
