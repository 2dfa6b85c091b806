"""Check that a version is unchanged since its export. Does not import TensorFlow.

The card has the SHA-256 of every other file, and of its own text.
"""

import hashlib
from pathlib import Path

from .errors import InvalidCandidate
from .model_card import CARD_FILE, ModelCard, is_unchanged


def hash_files(version_directory: Path) -> dict[str, str]:
    """Return the SHA-256 in hexadecimal of every file except the card, by path. Raises OSError."""
    found = {}
    for path in sorted(version_directory.rglob("*")):
        name = path.relative_to(version_directory)
        if path.is_file() and name != CARD_FILE:
            with path.open("rb") as file:
                found[name.as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def find_changes(version_directory: Path) -> list[str]:
    """Return the changes since the export, one line each; empty if there are none."""
    try:
        card = ModelCard.read(version_directory)
        if not card.files_sha256:
            return [f"{CARD_FILE} holds no hashes: it was exported before there were any"]
        if not is_unchanged((version_directory / CARD_FILE).read_bytes()):
            return [f"{CARD_FILE} has changed since the export: its own hash differs"]
        now = hash_files(version_directory)
    except InvalidCandidate as error:
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or version_directory}: cannot be read: {error.strerror}"]
    return [
        *(f"{name} is missing" for name in card.files_sha256 if name not in now),
        *(f"{name} was added after the export" for name in now if name not in card.files_sha256),
        *(
            f"{name} has changed since the export: its SHA-256 begins with {now[name][:8]}, the "
            f"recorded one with {recorded[:8]}"
            for name, recorded in card.files_sha256.items()
            if now.get(name, recorded) != recorded
        ),
    ]
