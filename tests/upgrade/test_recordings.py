"""The recordings of 0.1.0 are the files that were committed."""

from .conftest import present_hashes, recorded_hashes


def test_every_file_has_its_recorded_hash_and_none_was_added() -> None:
    recorded = recorded_hashes()
    assert len(recorded) > 40
    assert present_hashes() == recorded
