"""Versions are published whole or not at all, each under a number of its own."""

import errno
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export import (
    InvalidCandidate,
    ModelCard,
    NotAModel,
    PublishFailed,
    PublishRefused,
    VersionNotFound,
    golden_requests,
    label_moves,
    publish,
    publishing,
    version_directory,
    versions,
)
from export.errors import InvalidModelsConfig
from export.label_moves import Plan, carry_out
from export.models_config import Entry
from export.replay import collect_findings
from export.storage import LocalStorage

from .conftest import seal

MakeStandIn = Callable[[str], Path]


@pytest.fixture
def unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish without the gate: for tests of the file system alone."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)


def _digest(directory: Path) -> dict[str, str]:
    """Of every file of a tree, by its path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _entries(base: Path) -> list[str]:
    """What is in the folder of a model beside what all its versions share."""
    shared = {".publish.lock", "history.jsonl"}
    return sorted(entry.name for entry in base.iterdir() if entry.name not in shared)


# What is there.


def test_versions_are_the_folders_whose_names_a_server_takes_for_numbers(tmp_path: Path) -> None:
    for name in ("1", "0003", "20", "7.partial", ".incoming-1", "x", "-4", "1_0", "٣", str(2**63)):
        (tmp_path / name).mkdir()
    (tmp_path / "30").touch()
    assert versions(tmp_path) == (1, 3, 20)
    assert version_directory(tmp_path) == tmp_path / "20"
    assert version_directory(tmp_path, 3) == tmp_path / "0003"


def test_of_two_spellings_of_a_number_the_plain_one_is_meant(tmp_path: Path) -> None:
    for name in ("0001", "1"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == (1,)
    assert version_directory(tmp_path) == tmp_path / "1"


def test_a_folder_without_versions_has_none_and_is_no_model(tmp_path: Path) -> None:
    assert versions(tmp_path) == ()
    with pytest.raises(NotAModel, match=f"{tmp_path}: contains no version folder"):
        version_directory(tmp_path)


def test_a_version_taken_for_the_model_names_the_folder_above(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    with pytest.raises(NotAModel, match=f"give the folder above it, {tmp_path}$"):
        version_directory(tmp_path / "1")


def test_a_folder_that_is_not_there_and_a_file_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(NotAModel, match="no such folder"):
        versions(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(NotAModel, match="is a file"):
        version_directory(tmp_path / "file")


def test_a_version_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    for name in ("2", "10"):
        (tmp_path / name).mkdir()
    with pytest.raises(VersionNotFound, match="has no version 3; there is 2, 10"):
        version_directory(tmp_path, 3)


# What publish does.


def test_a_candidate_goes_through_the_gate_and_is_published_as_it_was(
    candidate: Path, card: ModelCard, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "blobs"
    assert publish(candidate, base) == 1
    assert _entries(base) == ["1"]
    assert _digest(base / "1") == _digest(candidate)
    assert collect_findings(base / "1") == []
    assert ModelCard.read(base / "1") == card


def test_a_candidate_that_the_gate_refuses_leaves_nothing(spoilable: Path, tmp_path: Path) -> None:
    (spoilable / "variables" / "variables.index").unlink()
    base = tmp_path / "base"
    with pytest.raises(PublishRefused, match=f"^{spoilable}: refused: ") as refused:
        publish(spoilable, base)
    assert ".incoming" not in str(refused.value)
    assert _entries(base) == []


@pytest.mark.usefixtures("unvalidated")
def test_a_candidate_without_hashes_is_refused(make_stand_in: MakeStandIn, tmp_path: Path) -> None:
    unsealed = make_stand_in("unsealed")
    replace(ModelCard.read(unsealed), files_sha256={}).write(unsealed)
    with pytest.raises(PublishRefused, match=r"unsealed: refused: .*holds no hashes"):
        publish(unsealed, tmp_path / "base")
    assert _entries(tmp_path / "base") == []


@pytest.mark.usefixtures("unvalidated")
def test_a_candidate_that_is_asked_next_to_nothing_is_refused(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    lazy = make_stand_in("lazy")
    golden_requests.write(lazy, golden_requests.read(lazy)[:1])
    seal(lazy)
    with pytest.raises(PublishRefused, match=r"refused: .* lack .*assign of one row, .*fit_step$"):
        publish(lazy, tmp_path / "base")
    assert _entries(tmp_path / "base") == []


@pytest.mark.usefixtures("unvalidated")
def test_the_next_number_is_above_every_number_and_what_is_there_stays(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    first, second = make_stand_in("first"), make_stand_in("second")
    assert publish(first, base) == 1
    before = _digest(base / "1")
    (base / "0004").mkdir()
    assert publish(second, base) == 5
    (base / "8").write_text("a stray file under a version's name")
    assert publish(base / "1", base) == 9
    assert versions(base) == (1, 4, 5, 9)
    assert _digest(base / "1") == before == _digest(base / "9")
    assert _digest(base / "5") == _digest(second)
    assert (base / "8").read_text() == "a stray file under a version's name"
    assert not any((base / "0004").iterdir())


@pytest.mark.usefixtures("unvalidated")
def test_the_highest_number_of_all_has_no_next(make_stand_in: MakeStandIn, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / str(2**63 - 1)).mkdir(parents=True)
    with pytest.raises(PublishFailed, match="is the highest possible number"):
        publish(make_stand_in("new"), base)
    assert _entries(base) == [str(2**63 - 1)]


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("saved_model.pb", "has no saved_model.pb"),
        ("assets.extra/model_card.json", "no model card"),
        ("", "no such folder"),
    ],
)
def test_an_incomplete_candidate_is_refused_and_no_folder_is_made(
    make_stand_in: MakeStandIn, tmp_path: Path, remove: str, message: str
) -> None:
    candidate = make_stand_in("new")
    if remove:
        (candidate / remove).unlink()
    else:
        shutil.rmtree(candidate)
    with pytest.raises(InvalidCandidate, match=message):
        publish(candidate, tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.usefixtures("unvalidated")
def test_a_target_that_cannot_be_is_refused_in_one_line(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    candidate = make_stand_in("new")
    before = _digest(candidate)
    (tmp_path / "file").touch()
    for base, message in (
        (tmp_path / "file", "file: is a file; give a folder"),
        (tmp_path / "file" / "base", "a file has that name"),
        (make_stand_in("other"), "is a version; give the folder of a model"),
        (candidate / "base", "is inside the candidate"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(PublishFailed, match=message) as failed:
            publish(candidate, base)
        assert "\n" not in str(failed.value)
    assert _digest(candidate) == before


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize(
    "failure",
    [
        (errno.ENOSPC, "No space left on device .*; free some space"),
        (errno.EROFS, "Read-only file system .*; give a writable folder"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["shutil.copyfile", "os.fsync", "pathlib.Path.rename"])
def test_a_disk_that_fails_midway_is_one_error_and_leaves_nothing(
    make_stand_in: MakeStandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    failure: tuple[int, str],
) -> None:
    code, message = failure
    base = tmp_path / "base"
    publish(make_stand_in("first"), base)

    def fail(*_arguments: Any, **_keywords: Any) -> NoReturn:
        raise OSError(code, os.strerror(code), "some/file")

    with monkeypatch.context() as patched:
        patched.setattr(call, fail)
        with pytest.raises(PublishFailed, match=message) as failed:
            publish(make_stand_in("second"), base)
    assert str(failed.value).startswith(f"{base}: cannot publish: ")
    assert "\n" not in str(failed.value)
    assert _entries(base) == ["1"]
    assert publish(make_stand_in("third"), base) == 2


# Publishers in processes of their own.

#: Publishes argv[1] to argv[2] when a line comes in. Dies at the argv[3]-th thing it does to the
#: file system, as of kill -9, or tells at the end how many those were.
PUBLISHER: Final = """
import os, signal, sys
from pathlib import Path
from export import publishing

publishing.validate = lambda *arguments, **keywords: None
EVENTS = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir",
          "fcntl.flock", "shutil.copyfile"}
points, last, armed = 0, int(sys.argv[3]), False

def reach_point():
    global points
    points += 1
    if points == last:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if armed and event in EVENTS:
        reach_point()

def watched(function):
    def call(*arguments):
        if armed:
            reach_point()
        return function(*arguments)
    return call

sys.addaudithook(watch)
# Python has no audit events for these.
os.fsync, os.write, os.pwrite = map(watched, (os.fsync, os.write, os.pwrite))
print("ready", flush=True)
sys.stdin.readline()
armed = True
version = publishing.publish(Path(sys.argv[1]), Path(sys.argv[2]))
armed = False
print(version, points)
"""


def _publisher(candidate: Path, base: Path, dies_at: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(candidate), str(base), str(dies_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_eight_publishers_at_once_get_eight_numbers(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "base"
    candidates = [make_stand_in(f"candidate{i}") for i in range(8)]
    publishers = [_publisher(candidate, base) for candidate in candidates]
    for publisher in publishers:
        assert publisher.stdout is not None
        assert publisher.stdout.readline() == "ready\n"
    for publisher in publishers:
        assert publisher.stdin is not None
        publisher.stdin.write("go\n")
        publisher.stdin.flush()
    numbers = {}
    for candidate, publisher in zip(candidates, publishers, strict=True):
        output, errors = publisher.communicate(timeout=60)
        assert publisher.returncode == 0, errors
        numbers[int(output.split()[0])] = candidate
    assert set(numbers) == set(range(1, 9))
    for number, candidate in numbers.items():
        assert _digest(base / str(number)) == _digest(candidate)
    assert _entries(base) == [str(number) for number in range(1, 9)]


#: How often a publisher is killed: everywhere with TFKMEANS_SOAK=1, else at a tenth drawn by seed.
KILLS: Final = 100


def _kill_points(points: int) -> list[int]:
    """100 of the points, spread over all from the first to the last."""
    every = [1 + round(i * (points - 1) / (KILLS - 1)) for i in range(KILLS)]
    if os.environ.get("TFKMEANS_SOAK") == "1":
        return every
    drawn = random.Random(5).sample(every[1:-3], KILLS // 10 - 3)
    return sorted({*drawn, *every[-3:]})


def _config_of(base: Path) -> dict[str, Any]:
    """The entry of a model by the official proto: its versions and labels."""
    text = (base.parent / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (base.name, str(base))
    return {
        "versions": list(model.model_version_policy.specific.versions),
        "labels": dict(model.version_labels),
    }


def _move(base: Path, decide: Callable[[Path, Entry], Plan]) -> None:
    carry_out(base, partial(decide, base), poll_interval=0)


@pytest.mark.slow
def test_a_publisher_killed_anywhere_leaves_no_half_version_and_a_way_on_and_back(
    candidate: Path, make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    first, second = candidate, make_stand_in("second")

    def base_of(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name / "base"

    output, _ = _publisher(first, base_of("counted")).communicate("go\n", timeout=60)
    points = int(output.split()[-1])
    assert points >= KILLS
    outcomes = set()
    for dies_at in _kill_points(points):
        base = base_of(f"at{dies_at}")
        publisher = _publisher(first, base, dies_at)
        publisher.communicate("go\n", timeout=60)
        assert publisher.returncode == -signal.SIGKILL, dies_at
        there = versions(base) if base.exists() else ()
        assert there in {(), (1,)}
        if there:
            assert _digest(base / "1") == _digest(first)
        if (base.parent / "models.config").exists():
            assert _config_of(base) == {"versions": [1], "labels": {"stable": 1}}
        outcomes.add(there)
        output, errors = _publisher(second, base).communicate("go\n", timeout=60)
        assert output.split()[1:2] == [str(len(there) + 1)], errors
        assert _digest(version_directory(base, len(there) + 1)) == _digest(second)
        assert _entries(base) == [str(number) for number in versions(base)]
        (live,) = _config_of(base)["versions"]
        assert _config_of(base)["labels"] == {"stable": live}
        assert live in versions(base)
        for other in set(versions(base)) - {live}:
            _move(base, partial(label_moves.promote, version=other))
            assert _config_of(base) == {"versions": [other], "labels": {"stable": other}}
            _move(base, label_moves.rollback)
            assert _config_of(base) == {"versions": [live], "labels": {"stable": live}}, dies_at
    assert outcomes == {(), (1,)}


@pytest.mark.slow
def test_eight_publishers_at_once_publish_versions_that_all_load(
    candidate: Path, tmp_path: Path
) -> None:
    base = tmp_path / "models" / "base"
    publishers = [_publisher(candidate, base) for _ in range(8)]
    outputs = [publisher.communicate("go\n", timeout=120) for publisher in publishers]
    assert [publisher.returncode for publisher in publishers] == [0] * 8, outputs
    assert versions(base) == tuple(range(1, 9))
    for version in versions(base):
        assert collect_findings(version_directory(base, version)) == []
    live = _config_of(base)
    assert len(live["versions"]) == 1
    assert live["labels"] == {"stable": live["versions"][0]}


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    """A small file system of its own."""
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("unvalidated")
def test_a_disk_that_is_really_full_is_one_error_and_leaves_nothing_half_written(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    large = make_stand_in("large")
    (large / "variables" / "variables.data").write_bytes(bytes(2**20))
    seal(large)
    with _mounted(tmp_path / "small", "size=512k"):
        base = tmp_path / "small" / "base"
        publish(make_stand_in("first"), base)
        with pytest.raises(PublishFailed, match=r"No space left on device.*; free some space"):
            publish(large, base)
        assert _entries(base) == ["1"]
        assert publish(make_stand_in("second"), base) == 2


def _failure(candidate: Path, base: Path) -> str:
    """What a publish failed for; empty when it did not."""
    try:
        publish(candidate, base)
    except (PublishFailed, InvalidModelsConfig) as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("unvalidated")
def test_a_disk_that_is_full_at_any_page_is_told_as_it_is(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    first = make_stand_in("first")
    said = set()
    for size in range(16, 60, 4):
        with _mounted(tmp_path / f"{size}k", f"size={size}k"):
            base = tmp_path / f"{size}k" / "base"
            failed = _failure(first, base)
            there = versions(base) if base.is_dir() else ()
            if not failed:
                assert there == (1,)
                said.add("published")
                continue
            assert "No space left on device" in failed
            assert there == ((1,) if "version 1 is published" in failed else ())
            assert not (base / "history.jsonl").exists()
            if there:
                assert _digest(base / "1") == _digest(first)
                entered = (base.parent / "models.config").exists()
                assert entered == ("not entered" not in failed), failed
                said.add("entered" if entered else "not entered")
    assert said == {"published", "entered", "not entered"}


@pytest.mark.usefixtures("unvalidated")
def test_a_disk_that_takes_no_more_files_keeps_nothing_of_a_publish(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    first = make_stand_in("first")
    for inodes in range(2, 9):
        with _mounted(tmp_path / str(inodes), f"size=1m,nr_inodes={inodes}"):
            base = tmp_path / str(inodes) / "base"
            assert "No space left on device" in _failure(first, base)
            assert not base.exists() or _entries(base) == []


@pytest.mark.usefixtures("unvalidated")
def test_a_read_only_file_system_is_one_error(make_stand_in: MakeStandIn, tmp_path: Path) -> None:
    first = make_stand_in("first")
    with _mounted(tmp_path / "fixed", "size=512k,ro"):
        with pytest.raises(PublishFailed, match=r"Read-only file system.*; give a writable folder"):
            publish(first, tmp_path / "fixed" / "base")
        with pytest.raises(PublishFailed, match=r"fixed is not writable; give a writable folder"):
            publish(first, tmp_path / "fixed" / "base", dry_run=True)


@pytest.mark.usefixtures("unvalidated")
def test_a_number_that_somebody_else_takes_meanwhile_is_a_clear_error(
    make_stand_in: MakeStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    rename = Path.rename

    def taken_before(path: Path, target: Path) -> Path:
        target.mkdir()
        (target / "saved_model.pb").touch()
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", taken_before)
        with pytest.raises(PublishFailed, match="has taken the number; repeat the command"):
            publish(make_stand_in("first"), base)
    assert _entries(base) == ["1"]
    assert publish(make_stand_in("second"), base) == 2


@pytest.mark.usefixtures("unvalidated")
def test_the_number_of_a_version_that_was_removed_is_never_given_again(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    for name in ("a", "b", "c"):
        publish(make_stand_in(name), base)
    LocalStorage(base).remove(3)
    assert _entries(base) == ["1", "2"]
    assert publish(make_stand_in("d"), base) == 4
    shutil.rmtree(base / "4")  # by hand
    assert publish(make_stand_in("e"), base) == 5


@pytest.mark.usefixtures("unvalidated")
def test_a_config_that_cannot_be_edited_is_found_before_anything_is_published(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    (tmp_path / "models.config").write_text("model_config_list { config { name: 1 } }")
    with pytest.raises(InvalidModelsConfig, match=r"models.config:1:36"):
        publish(make_stand_in("first"), tmp_path / "base")
    assert _entries(tmp_path / "base") == []


def test_the_folder_of_a_publisher_that_lives_is_not_cleaned_up(
    make_stand_in: MakeStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    seen = []

    def publish_another(incoming: Path, **_keywords: Any) -> None:
        monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
        assert publish(make_stand_in("quick"), base) == 1
        seen.append(_digest(incoming))

    slow = make_stand_in("slow")
    monkeypatch.setattr(publishing, "validate", publish_another)
    assert publish(slow, base) == 2
    assert seen == [_digest(slow)]
    assert _digest(base / "2") == _digest(slow)
    assert _entries(base) == ["1", "2"]


@pytest.mark.usefixtures("unvalidated")
@pytest.mark.parametrize("name", ["line\nbreak", "a:b", "\x7f"])
def test_a_folder_by_whose_name_no_client_can_ask_takes_no_version(
    make_stand_in: MakeStandIn, tmp_path: Path, name: str
) -> None:
    base = tmp_path / "models" / name
    with pytest.raises(PublishFailed) as refused:
        publish(make_stand_in("first"), base)
    assert str(refused.value) == (
        f"{str(base)!r}: {name!r} is not a valid model name; use printable characters without :"
    )
    assert not base.parent.exists()
