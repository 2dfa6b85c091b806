"""``history.jsonl`` in the folder of a model: every move of a label, one JSON object a line.

``{"when": "2026-01-31T12:00:00+00:00", "label": "stable", "from": 1, "to": 2, "by": "promote"}``;
``from`` or ``to`` is null for a created or removed label. Does not import TensorFlow.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Final

from .durable_files import append_line, explain
from .errors import HistoryNotWritten, UnreadableHistory
from .json_text import parse_json

HISTORY_FILE: Final = "history.jsonl"

_VALUES: Final = itemgetter("label", "from", "to", "by", "when")

ROLLBACK: Final = "rollback"


@dataclass(frozen=True)
class Move:
    """One move of a label; ``source`` and ``target`` are versions."""

    label: str
    source: int | None
    target: int | None
    by: str
    when: str = ""


@dataclass(frozen=True)
class History:
    """The readable moves, oldest first, and the numbers of unreadable lines."""

    path: Path
    moves: tuple[Move, ...] = ()
    damaged: tuple[int, ...] = ()

    @property
    def damage(self) -> str | None:
        """A message about unreadable lines; None if there are none."""
        if not self.damaged:
            return None
        more = f" and {len(self.damaged) - 1} more cannot" if len(self.damaged) > 1 else " cannot"
        return f"{self.path}: line {self.damaged[0]}{more} be read"


def read(base: Path) -> History:
    """Read the history; empty without a file. Raises UnreadableHistory."""
    path = base / HISTORY_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return History(path)
    except OSError as error:
        raise UnreadableHistory(
            f"{path}: cannot be read: {error.strerror}; make it readable, or give the target "
            "version: tfkmeans rollback BASE --to N"
        ) from error
    moves, damaged = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            moves.append(_parse_move(line))
        except (ValueError, KeyError, TypeError):
            damaged.append(number)
    return History(path, tuple(moves), tuple(damaged))


def _parse_move(line: str) -> Move:
    """Parse a line. Raises ValueError, KeyError, TypeError."""
    move = Move(*_VALUES(parse_json(line)))
    for version in (move.source, move.target):
        if version is not None and type(version) is not int:
            raise TypeError
    return move


def append(base: Path, move: Move) -> None:
    """Append a completed move. Raises HistoryNotWritten."""
    line = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "label": move.label,
        "from": move.source,
        "to": move.target,
        "by": move.by,
    }
    try:
        append_line(base / HISTORY_FILE, json.dumps(line))
    except OSError as error:
        change = "removed" if move.target is None else f"moved to version {move.target}"
        path = base / HISTORY_FILE
        # For an existing file, the file must become writable, not the folder.
        is_kept_out = isinstance(error, PermissionError) and path.exists()
        reason = (
            f"{error.strerror}; make it readable and writable" if is_kept_out else explain(error)
        )
        raise HistoryNotWritten(
            f"{path}: cannot be written: {reason}; but label {move.label} was {change}"
        ) from error


def previous_versions(moves: Sequence[Move], label: str, now: int) -> list[int]:
    """Return the previous versions of a label that is on version ``now``, latest first.

    A rollback removes its steps: after 1, 2, 3 and a rollback to 2, the previous version is 1. A
    move that is missing after a crash is inferred from the source of the next move.
    """
    places: list[int] = []
    for move in moves:
        if move.label != label or move.target is None:
            continue
        if move.source is not None:
            _add_place(places, move.source)
        if move.by == ROLLBACK:
            _add_place(places, move.target)
        elif places[-1:] != [move.target]:
            places.append(move.target)
    # The config decides, because a crash may have lost the last move of the history.
    _add_place(places, now)
    return places[-2::-1]


def _add_place(places: list[int], version: int) -> None:
    """Go back to an earlier place of the label on this version, or append the version."""
    if version in places:
        del places[len(places) - places[::-1].index(version) :]
    else:
        places.append(version)
