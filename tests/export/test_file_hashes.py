"""A byte that changes anywhere in a version is found."""

import random
from pathlib import Path

import pytest

from export import ModelCard, file_hashes
from export.model_card import CARD_FILE


def test_a_candidate_is_what_was_exported(candidate: Path) -> None:
    assert file_hashes.find_changes(candidate) == []
    hashed = set(ModelCard.read(candidate).files_sha256)
    files = {p.relative_to(candidate).as_posix() for p in candidate.rglob("*") if p.is_file()}
    assert hashed == files - {CARD_FILE.as_posix()}


def test_a_flipped_byte_anywhere_is_found(spoilable: Path) -> None:
    rng = random.Random(3)
    for path in sorted(path for path in spoilable.rglob("*") if path.is_file()):
        sound = path.read_bytes()
        for position in {0, len(sound) - 1, *rng.sample(range(len(sound)), min(20, len(sound)))}:
            spoilt = bytearray(sound)
            spoilt[position] ^= 1 << rng.randrange(8)
            path.write_bytes(spoilt)
            assert file_hashes.find_changes(spoilable), (path, position)
        path.write_bytes(sound)
    assert file_hashes.find_changes(spoilable) == []


def test_a_file_that_is_missing_or_was_added_is_found(spoilable: Path) -> None:
    (spoilable / "batching_params.pbtxt").rename(spoilable / "new.txt")
    assert file_hashes.find_changes(spoilable) == [
        "batching_params.pbtxt is missing",
        "new.txt was added after the export",
    ]


@pytest.mark.usefixtures("plain_card")
def test_a_version_without_hashes_says_so(tmp_path: Path, plain_card: ModelCard) -> None:
    plain_card.write(tmp_path)
    assert "holds no hashes" in file_hashes.find_changes(tmp_path)[0]
