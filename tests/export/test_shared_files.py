"""What others share stays what it was: ``models.config``, locks and versions, for other users."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

from export import label_moves, models_config, publish, publishing, versions
from export.errors import InvalidModelsConfig, MoveFailed, PublishFailed
from export.label_moves import carry_out, prune
from export.models_config import Entry, ModelsConfig
from export.repository import config_entry
from tests.other_users import let_others_pass

MakeStandIn = Callable[[str], Path]

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture(autouse=True)
def _unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)


@pytest.fixture
def base(tmp_path: Path, make_stand_in: MakeStandIn) -> Path:
    """Versions 1 and 2, of which 1 is stable."""
    base = tmp_path / "models" / "customers"
    for number in (1, 2):
        publish(make_stand_in(f"candidate{number}"), base)
    return base


def _promote(base: Path, version: int, **options: Any) -> None:
    carry_out(
        base,
        lambda entry: label_moves.promote(base, entry, version),
        poll_interval=0,
        **options,
    )


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# The file itself.


def test_a_link_to_the_config_stays_and_the_file_that_it_leads_to_is_edited(
    base: Path, tmp_path: Path
) -> None:
    config, kept = base.parent / "models.config", tmp_path / "kept" / "customers.config"
    kept.parent.mkdir()
    config.rename(kept)
    config.symlink_to(kept)
    _promote(base, 2)
    assert config.is_symlink()
    assert kept.is_file()
    assert not kept.is_symlink()
    entry = config_entry(base)
    assert entry is not None
    assert entry.labels == {"stable": 2}
    assert "versions: 2" in kept.read_text()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_the_config_stays_whatever_the_umask(base: Path, mode: int) -> None:
    config = base.parent / "models.config"
    config.chmod(mode)
    told: list[str] = []
    with _umask(0o027):
        _promote(base, 2, tell=told.append)
    assert stat.S_IMODE(config.stat().st_mode) == mode
    # Who keeps it from others does so on purpose.
    assert not [said for said in told if "warning" in said]


@only_root
def test_owner_and_group_of_the_config_stay(base: Path) -> None:
    config = base.parent / "models.config"
    os.chown(config, 4711, 4712)
    _promote(base, 2)
    assert (config.stat().st_uid, config.stat().st_gid) == (4711, 4712)


def test_the_umask_that_hides_a_first_version_and_its_config_is_told_with_the_mend(
    tmp_path: Path, make_stand_in: MakeStandIn
) -> None:
    base, candidate = tmp_path / "models" / "customers", make_stand_in("candidate")
    told: list[str] = []
    with _umask(0o077):
        publish(candidate, base, tell=told.append)
    config = base.parent / "models.config"
    assert told == [
        f"warning: a server that runs as another user cannot read {config}; correct it "
        f"with: chmod a+rX {base.parent} {config}",
        f"warning: a server that runs as another user cannot read {base}, nor load version 1; "
        f"correct it with: chmod -R a+rX {base}",
    ]
    subprocess.run(["chmod", "a+rX", base.parent, config], check=True)
    subprocess.run(["chmod", "-R", "a+rX", base], check=True)
    told.clear()
    with _umask(0o022):
        publish(make_stand_in("another"), base, tell=told.append)
        _promote(base, 2, tell=told.append)
    assert not [said for said in told if "warning" in said]


def test_a_folder_that_hands_its_group_on_is_read_by_the_group(
    tmp_path: Path, make_stand_in: MakeStandIn
) -> None:
    models = tmp_path / "models"
    told: list[str] = []
    models.mkdir()
    models.chmod(0o2775)
    candidate = make_stand_in("candidate")
    with _umask(0o027):
        publish(candidate, models / "customers", tell=told.append)
    assert told == []


@only_root
def test_a_config_that_is_mounted_alone_is_told_to_mount_the_folder(base: Path) -> None:
    config = base.parent / "models.config"
    mounted = subprocess.run(["mount", "--bind", config, config], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    before = config.read_bytes()
    try:
        with pytest.raises(InvalidModelsConfig) as refused:
            _promote(base, 2)
    finally:
        subprocess.run(["umount", config], check=True)
    said = str(refused.value)
    assert said.startswith(f"{config}: ")
    assert said.endswith("the file is mounted alone; mount its folder")
    assert config.read_bytes() == before
    assert sorted(path.name for path in base.parent.iterdir() if path.suffix != ".lock") == [
        "customers",
        "models.config",
    ]


# Folders under the names that users give them.


def test_base_path_is_written_with_the_links_by_which_the_folder_was_named(
    tmp_path: Path, make_stand_in: MakeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / ".worktrees" / "3f0a"
    real.mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to(real)
    publish(make_stand_in("first"), current / "models" / "customers")
    monkeypatch.chdir(current)
    monkeypatch.setenv("PWD", str(current))  # as a shell that went there by the link
    publish(make_stand_in("second"), Path("models", "..", "models", "sellers"))
    for name in ("customers", "sellers"):
        entry = config_entry(real / "models" / name)
        assert entry is not None
        assert entry.base_path == str(current / "models" / name)
    monkeypatch.setenv("PWD", str(tmp_path))  # left over from somewhere else
    publish(make_stand_in("third"), Path("models", "buyers"))
    entry = config_entry(real / "models" / "buyers")
    assert entry is not None
    assert entry.base_path == str(real / "models" / "buyers")


def test_dots_behind_a_link_lead_to_the_folder_that_they_lead_to(
    tmp_path: Path, make_stand_in: MakeStandIn
) -> None:
    (tmp_path / "elsewhere" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "inside")
    base = tmp_path / "link" / ".." / "models" / "customers"
    publish(make_stand_in("first"), base)
    entry = config_entry(base)
    assert entry is not None
    assert entry.base_path == str(tmp_path / "elsewhere" / "models" / "customers")


def test_the_config_beside_a_linked_model_is_the_one_that_is_there(
    tmp_path: Path, base: Path
) -> None:
    link = tmp_path / "served" / "customers"
    link.parent.mkdir()
    link.symlink_to(base)
    assert models_config.path_of(link) == base.parent / "models.config"
    (link.parent / "models.config").write_text("model_config_list {}\n")
    assert models_config.path_of(link) == link.parent / "models.config"


def test_a_link_that_leads_to_itself_is_one_line(
    tmp_path: Path, make_stand_in: MakeStandIn
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    candidate = make_stand_in("candidate")
    for base in (tmp_path / "loop", tmp_path / "loop" / "customers"):
        with pytest.raises(PublishFailed, match=f"{base}: cannot publish: "):
            publish(candidate, base)


def test_of_a_linked_version_prune_removes_the_link_alone(base: Path, tmp_path: Path) -> None:
    target = tmp_path / "kept" / "candidate1"
    target.parent.mkdir()
    (base / "1").rename(target)
    (base / "1").symlink_to(target)
    _promote(base, 2)
    (base / "history.jsonl").unlink()  # nothing to roll back to
    assert prune(base, 1) == (1,)
    assert versions(base) == (2,)
    assert (target / "saved_model.pb").is_file()
    assert not list(base.glob(".removed-*"))


def test_what_was_left_of_a_linked_version_goes_with_the_next_publish(
    base: Path, tmp_path: Path, make_stand_in: MakeStandIn
) -> None:
    target = tmp_path / "kept"
    target.mkdir()
    (base / ".removed-3f0a").symlink_to(target)
    publish(make_stand_in("candidate3"), base)
    assert not list(base.glob(".removed-*"))
    assert target.is_dir()


# Two users of one group.

#: Publishes argv[1] to argv[2] and promotes what came of it, as the user argv[4] of group argv[5].
#: Python itself may lie where that user cannot read: all modules are loaded before.
WORK: Final = """
import os, sys, tempfile
os.umask(0o022)
from pathlib import Path
from export import label_moves, publish, publishing
publishing.validate = lambda *arguments, **keywords: None

def work(base):
    version = publish(sys.argv[1], base, served_at=sys.argv[3])
    label_moves.carry_out(
        base, lambda entry: label_moves.promote(base, entry, version), poll_interval=0
    )
    return version

with tempfile.TemporaryDirectory() as scratch:
    work(Path(scratch, "models", "customers"))
os.setgroups([int(sys.argv[5])])
os.setgid(int(sys.argv[4]))
os.setuid(int(sys.argv[4]))
print(work(Path(sys.argv[2])))
"""


@only_root
def test_two_users_of_one_group_publish_and_promote_in_turn(
    make_stand_in: MakeStandIn, tmp_path: Path
) -> None:
    shared, group = tmp_path / "shared", 4712
    let_others_pass(tmp_path)
    (shared / "customers").mkdir(parents=True)
    for folder in (shared, shared / "customers"):
        os.chown(folder, -1, group)
        folder.chmod(0o775)
    candidate = make_stand_in("candidate")
    for turn, user in enumerate((4713, 4714, 4713), start=1):
        arguments = [candidate, shared / "customers", "/models/customers", user, group]
        process = subprocess.run(
            [sys.executable, "-c", WORK, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout.split() == [str(turn)]
    entry = config_entry(shared / "customers")
    assert entry is not None
    assert entry.labels == {"stable": 3}
    lines = (shared / "customers" / "history.jsonl").read_text().splitlines()
    assert len(lines) == 3


# File systems that do less.


def test_a_folder_whose_fsync_fails_is_not_told_as_a_failure(
    base: Path, monkeypatch: pytest.MonkeyPatch, make_stand_in: MakeStandIn
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    assert publish(make_stand_in("candidate3"), base) == 3
    _promote(base, 2)
    (base / "history.jsonl").unlink()
    assert prune(base, 2) == (1,)
    entry = config_entry(base)
    assert entry is not None
    assert entry.labels == {"stable": 2}


# Other models.


class _Stuck:
    """A server that does not follow."""

    def follow(self, *_: Any) -> NoReturn:
        raise MoveFailed("the server at here:1 did not follow")


def _add_model(base: Path, name: str, place: str) -> None:
    config = ModelsConfig.read(base.parent / name)
    config.with_entry(Entry(place, (1,), {"stable": 1})).write()


@pytest.mark.parametrize("own", [None, "/models/customers"])
def test_another_model_whose_folder_is_not_there_is_named(base: Path, own: str | None) -> None:
    config = base.parent / "models.config"
    if own is not None:
        config.write_text(config.read_text().replace(str(base), own))
    _add_model(base, "afar", "gs://bucket/afar")
    _add_model(base, "lost", str(Path(own or base).with_name("lost")))
    named = (
        f"{config} also lists the model lost, whose folder {base.parent / 'lost'} does not exist: "
        "until the folder is restored or the entry removed, a server changes no model at all"
    )
    with pytest.raises(MoveFailed) as failed:
        _promote(base, 2, server=_Stuck())
    assert str(failed.value).endswith(f"; {named}")
    told: list[str] = []
    _promote(base, 2, tell=told.append)
    assert f"warning: {named}" in told
    (base.parent / "lost").mkdir()
    told.clear()
    _promote(base, 1, tell=told.append)
    assert not [said for said in told if "warning" in said]


def test_a_model_is_not_lost_that_is_named_through_a_link(base: Path, tmp_path: Path) -> None:
    _add_model(base, "sisters", str(base.with_name("sisters")))
    base.with_name("sisters").mkdir()
    link = tmp_path / "other" / "linked"
    link.parent.mkdir()
    link.symlink_to(Path("..", "models", "customers"))
    told: list[str] = []
    _promote(link, 2, tell=told.append)
    assert told == ["waiting 0 s for the servers to load versions 1, 2"]
    config = base.parent / "models.config"
    config.write_text(config.read_text().replace(str(base), "/models/customers"))
    _promote(base, 1, tell=told.append)
    assert not [said for said in told if "warning" in said]
