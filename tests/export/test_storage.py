"""A store that has no rename gets whole versions, ``saved_model.pb`` last."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from export import PublishFailed, publish, publishing

BASE = "ram://store/models/blobs"


@pytest.fixture(autouse=True)
def _empty_and_unvalidated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The gate is that of every publish; here it is about the store."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    yield
    if tf.io.gfile.exists(BASE):
        tf.io.gfile.rmtree(BASE)


def _numbers() -> list[str]:
    return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(BASE))


def test_versions_are_published_to_a_store_and_load_from_there(candidate: Path) -> None:
    assert publish(candidate, BASE) == 1
    assert publish(candidate, f"{BASE}/") == 2
    assert _numbers() == ["1", "2"]
    loaded = tf.saved_model.load(f"{BASE}/2").signatures["decode"]
    assert loaded(cluster_index=tf.constant([0]))["centroid"].shape == (1, 3)
    for path in candidate.rglob("*"):
        if path.is_file():
            with tf.io.gfile.GFile(f"{BASE}/2/{path.relative_to(candidate)}", "rb") as file:
                assert file.read() == path.read_bytes()


def test_a_dry_run_writes_nothing(candidate: Path) -> None:
    assert publish(candidate, BASE, dry_run=True) == 1
    assert not tf.io.gfile.exists(BASE)


def test_a_publisher_that_died_left_no_model_and_the_next_cleans_up(
    candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tf.io.gfile.copy

    def dies_at_the_model(source: str, target: str, overwrite: bool = False) -> None:
        if target.endswith("saved_model.pb"):
            raise tf.errors.UnavailableError(None, None, "the store is away")
        copy(source, target, overwrite)

    with monkeypatch.context() as patched:
        patched.setattr(tf.io.gfile, "copy", dies_at_the_model)
        with pytest.raises(PublishFailed, match=f"{BASE}: cannot publish: the store is away"):
            publish(candidate, BASE)
    # All but the file without which a server does not take it for a model.
    assert tf.io.gfile.exists(f"{BASE}/1/variables/variables.index")
    assert not tf.io.gfile.exists(f"{BASE}/1/saved_model.pb")
    assert publish(candidate, BASE) == 2
    assert _numbers() == ["2"]


def test_what_somebody_else_put_under_a_number_stays_and_its_number_is_taken(
    candidate: Path,
) -> None:
    tf.io.gfile.makedirs(f"{BASE}/20240101")
    for name in ("20240101/rows.csv", "77"):
        with tf.io.gfile.GFile(f"{BASE}/{name}", "w") as file:
            file.write("precious")
    assert publish(candidate, BASE) == 20240102
    assert _numbers() == ["20240101", "20240102", "77"]
    for name in ("20240101/rows.csv", "77"):
        with tf.io.gfile.GFile(f"{BASE}/{name}", "r") as file:
            assert file.read() == "precious"


def test_a_publisher_that_died_when_all_was_written_left_a_version_that_stays(
    candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(path: str) -> None:
        raise tf.errors.UnavailableError(None, None, "the store is away")

    with monkeypatch.context() as patched:
        patched.setattr(tf.io.gfile, "remove", dies)
        assert publish(candidate, BASE) == 1
    assert publish(candidate, BASE) == 2
    assert _numbers() == ["1", "2"]
