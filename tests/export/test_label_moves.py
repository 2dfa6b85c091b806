"""Labels move in steps, over a models.config of which no other byte changes."""

import json
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from export import label_moves, models_config, publish, publishing, versions
from export.errors import (
    HistoryNotWritten,
    InvalidModelsConfig,
    MoveFailed,
    MoveRefused,
    UnreadableHistory,
    VersionNotFound,
)
from export.label_moves import Plan, carry_out
from export.models_config import Entry
from export.repository import config_entry
from export.storage import LocalStorage
from export.wire import serving_pb2
from tests.interrupts import interrupt_unnoticed

Decide = Callable[[Entry], Plan]


@pytest.fixture
def base(
    tmp_path: Path, make_stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Versions 1 to 4, of which 1 is stable."""
    monkeypatch.setattr(publishing, "validate", lambda *_arguments, **_keywords: None)
    base = tmp_path / "models" / "customers"
    for number in range(1, 5):
        publish(make_stand_in(f"candidate{number}"), base)
    return base


def move(base: Path, what: Any, *arguments: Any, **options: Any) -> Plan:
    decide: Decide = lambda entry: what(base, entry, *arguments)  # noqa: E731
    return carry_out(base, decide, poll_interval=0, **options)


def state(base: Path) -> tuple[tuple[int, ...], dict[str, int]]:
    entry = config_entry(base)
    assert entry is not None
    return entry.versions, dict(entry.labels)


def official(base: Path) -> Any:
    text = (base.parent / "models.config").read_text()
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


class RecordedServer:
    """Follows, but a version that does not load."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken
        self.told: list[Entry] = []

    def follow(self, config: serving_pb2.ModelServerConfig, model: str, entry: Entry) -> None:
        (sent,) = config.model_config_list.config
        assert tuple(sent.model_version_policy.specific.versions) == entry.versions
        assert sent.name == model
        self.told.append(entry)
        if self.broken in entry.versions:
            raise MoveFailed(f"version {self.broken} does not load")


def test_the_first_version_is_stable_and_a_later_one_waits(base: Path) -> None:
    assert state(base) == ((1,), {"stable": 1})
    (model,) = official(base).model_config_list.config
    assert (model.name, model.base_path) == ("customers", str(base))
    assert model.model_platform == "tensorflow"


def test_a_label_moves_in_two_steps_and_the_old_version_goes(base: Path) -> None:
    server = RecordedServer()
    plan = move(base, label_moves.promote, 2, server=server)
    assert [(each.versions, dict(each.labels)) for each in server.told] == [
        ((1, 2), {"stable": 1}),
        ((2,), {"stable": 2}),
    ]
    assert state(base) == ((2,), {"stable": 2})
    assert plan.effect == (
        "load version 2, move label stable to version 2, and unload version 1; "
        "requests without version or label go to version 2"
    )


@pytest.mark.timeout(60)
def test_a_signal_that_does_not_wake_the_main_thread_ends_the_wait(base: Path) -> None:
    before = (base.parent / "models.config").read_bytes()
    with pytest.raises(KeyboardInterrupt), interrupt_unnoticed():
        carry_out(base, lambda entry: label_moves.promote(base, entry, 3), poll_interval=3600)
    assert (base.parent / "models.config").read_bytes() == before


def test_without_a_server_the_steps_are_a_poll_interval_apart(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "export.label_moves.sleep", lambda seconds: seen.append((seconds, state(base)))
    )
    told: list[str] = []
    carry_out(
        base, lambda entry: label_moves.promote(base, entry, 3), poll_interval=7.5, tell=told.append
    )
    assert seen == [(7.5, ((1, 3), {"stable": 1}))]
    assert told == ["waiting 7.5 s for the servers to load versions 1, 3"]
    assert state(base) == ((3,), {"stable": 3})


def test_a_server_that_does_not_follow_leaves_the_old_file_and_goes_back(base: Path) -> None:
    before = (base.parent / "models.config").read_bytes()
    history = (base / "history.jsonl").read_bytes()
    server = RecordedServer(broken=2)
    with pytest.raises(MoveFailed, match="version 2 does not load"):
        move(base, label_moves.promote, 2, server=server)
    assert (base.parent / "models.config").read_bytes() == before
    assert (base / "history.jsonl").read_bytes() == history
    assert server.told[-1].versions == (1,)


def test_an_interrupt_puts_the_old_file_back(base: Path) -> None:
    before = (base.parent / "models.config").read_bytes()

    class Interrupted(RecordedServer):
        def follow(self, *_: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(base, label_moves.promote, 2, server=Interrupted())
    assert (base.parent / "models.config").read_bytes() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interrupt_of_the_wait_puts_the_old_entry_back_and_says_so(
    base: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = (base.parent / "models.config").read_bytes()
    history = (base / "history.jsonl").read_bytes()

    def interrupted(_seconds: float) -> None:
        assert state(base)[0] == (1, 2)
        raise error

    monkeypatch.setattr("export.label_moves.sleep", interrupted)
    told: list[str] = []
    with pytest.raises(type(error)):
        move(base, label_moves.promote, 2, tell=told.append)
    assert told[-1].startswith("interrupted: ")
    assert (base.parent / "models.config").read_bytes() == before
    assert (base / "history.jsonl").read_bytes() == history


def test_an_interrupt_sends_the_server_back_too(base: Path) -> None:
    class Interrupted(RecordedServer):
        def follow(self, *arguments: Any) -> None:
            super().follow(*arguments)
            if len(self.told) == 2:
                raise KeyboardInterrupt

    server = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        move(base, label_moves.promote, 2, server=server)
    assert [each.versions for each in server.told] == [(1, 2), (2,), (1,)]
    assert state(base) == ((1,), {"stable": 1})


def test_a_server_that_does_not_go_back_either_is_told_with_both_reasons(base: Path) -> None:
    class Gone(RecordedServer):
        def follow(self, *arguments: Any) -> None:
            super().follow(*arguments)
            raise MoveFailed(f"reason {len(self.told)}")

    with pytest.raises(MoveFailed) as failed:
        move(base, label_moves.promote, 2, server=Gone())
    path = base.parent / "models.config"
    assert str(failed.value) == (
        f"reason 1; {path} is as before, but the server did not return to it: reason 2"
    )


def test_while_one_model_waits_another_is_published_and_moved(
    base: Path, make_stand_in: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = base.parent / "other"

    def meanwhile(_seconds: float) -> None:
        monkeypatch.setattr("export.label_moves.sleep", lambda _seconds: None)
        for name in ("a", "b"):
            publish(make_stand_in(name), other)
        move(other, label_moves.promote, 2)

    monkeypatch.setattr("export.label_moves.sleep", meanwhile)
    move(base, label_moves.promote, 2)
    assert state(base) == ((2,), {"stable": 2})
    assert state(other) == ((2,), {"stable": 2})


def test_an_entry_that_somebody_edits_during_the_wait_stays_as_they_left_it(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = base.parent / "models.config"
    theirs = path.read_text().replace("versions: 1", "versions: 4").replace("value: 1", "value: 4")
    monkeypatch.setattr("export.label_moves.sleep", lambda _seconds: path.write_text(theirs))
    with pytest.raises(MoveRefused, match="the entry of customers was edited during the move"):
        move(base, label_moves.promote, 2)
    assert path.read_text() == theirs


def test_who_has_to_wait_for_another_command_is_told(base: Path) -> None:
    told: list[str] = []
    for lock in (models_config.move_lock, models_config.edit_lock):
        with ThreadPoolExecutor() as threads:
            with lock(base):
                waits = threads.submit(move, base, label_moves.promote, 1, tell=told.append)
                deadline = time.monotonic() + 20
                while not told and time.monotonic() < deadline:
                    time.sleep(0.01)
            waits.result()
        assert told.pop().startswith("waiting for another command that ")


def test_a_canary_is_loaded_beside_the_stable_version_and_said_to_answer(base: Path) -> None:
    plan = move(base, label_moves.canary, 3)
    assert state(base) == ((1, 3), {"stable": 1, "canary": 3})
    assert plan.effect.endswith("requests without version or label go to version 3, the canary")
    move(base, label_moves.canary, 4)
    assert state(base) == ((1, 4), {"stable": 1, "canary": 4})
    move(base, label_moves.canary, None)
    assert state(base) == ((1,), {"stable": 1})


def test_a_canary_that_is_promoted_is_none_any_more(base: Path) -> None:
    move(base, label_moves.canary, 3)
    move(base, label_moves.promote, 3)
    assert state(base) == ((3,), {"stable": 3})


def test_rollback_goes_back_step_by_step_and_then_refuses(base: Path) -> None:
    for version in (2, 3):
        move(base, label_moves.promote, version)
    move(base, label_moves.rollback)
    assert state(base) == ((2,), {"stable": 2})
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1})
    with pytest.raises(MoveRefused, match="no version before 1 to roll back to"):
        move(base, label_moves.rollback)
    move(base, label_moves.promote, 4)
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1})
    lines = [json.loads(line) for line in (base / "history.jsonl").read_text().splitlines()]
    assert [(line["from"], line["to"], line["by"]) for line in lines] == [
        (None, 1, "publish"),
        (1, 2, "promote"),
        (2, 3, "promote"),
        (3, 2, "rollback"),
        (2, 1, "rollback"),
        (1, 4, "promote"),
        (4, 1, "rollback"),
    ]


def test_rollback_to_a_version_is_idempotent(base: Path) -> None:
    for version in (2, 3):
        move(base, label_moves.promote, version)
    for _ in range(2):
        move(base, label_moves.rollback, 1)
        assert state(base) == ((1,), {"stable": 1})
    with pytest.raises(MoveRefused):
        move(base, label_moves.rollback)


def test_a_rollback_takes_other_labels_from_the_bad_version(base: Path) -> None:
    move(base, label_moves.promote, 2)
    move(base, label_moves.promote, 2, "europe")
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"europe": 1, "stable": 1})


def test_another_label_is_loaded_below_stable_and_refused_above(base: Path) -> None:
    move(base, label_moves.promote, 3)
    move(base, label_moves.promote, 1, "old")
    assert state(base) == ((1, 3), {"old": 1, "stable": 3})
    with pytest.raises(MoveRefused, match="version 4 is above the stable version 3"):
        move(base, label_moves.promote, 4, "next")


def test_another_label_leaves_an_entry_by_hand_its_stable_version(base: Path) -> None:
    plan = label_moves.promote(base, Entry(str(base), (3,)), 1, "old")
    assert (plan.after.versions, plan.after.labels) == ((1, 3), {"stable": 3, "old": 1})


def test_a_model_without_a_stable_version_has_no_canary_to_take_away(base: Path) -> None:
    with pytest.raises(MoveRefused, match="no version is stable yet; promote one first"):
        label_moves.canary(base, Entry(str(base)), None)


@pytest.mark.parametrize(
    "decide", [partial(label_moves.promote, version=2), partial(label_moves.canary, version=2)]
)
def test_a_second_time_changes_nothing(base: Path, decide: Any) -> None:
    move(base, decide)
    config = (base.parent / "models.config").read_bytes()
    history = (base / "history.jsonl").read_bytes()
    assert move(base, decide).moves == ()
    assert (base.parent / "models.config").read_bytes() == config
    assert (base / "history.jsonl").read_bytes() == history


def test_a_dry_run_decides_and_changes_nothing(base: Path) -> None:
    files = {path: path.read_bytes() for path in base.parent.rglob("*") if path.is_file()}
    assert move(base, label_moves.promote, 2, dry_run=True).after.labels == {"stable": 2}
    assert label_moves.prune(base, 1, dry_run=True) == (2, 3)
    now = {path: path.read_bytes() for path in base.parent.rglob("*") if path.is_file()}
    assert now == files


def test_a_version_that_is_not_there_cannot_be_promoted(base: Path) -> None:
    with pytest.raises(VersionNotFound, match="no version 9"):
        move(base, label_moves.promote, 9)


def test_prune_keeps_the_highest_and_whatever_has_a_label_or_is_loaded(base: Path) -> None:
    move(base, label_moves.promote, 2)
    move(base, label_moves.promote, 1, "old")
    assert label_moves.prune(base, 1) == (3,)
    assert versions(base) == (1, 2, 4)
    assert label_moves.prune(base, 1) == ()
    assert label_moves.prune(base, 0) == (4,)


def test_prune_keeps_the_version_that_rollback_would_go_to(base: Path) -> None:
    for version in (2, 4):
        move(base, label_moves.promote, version)
    assert label_moves.prune(base, 1) == (1, 3)
    move(base, label_moves.rollback)
    assert state(base) == ((2,), {"stable": 2})
    assert label_moves.prune(base, 1) == ()


def test_rollback_passes_over_a_version_that_was_pruned(base: Path) -> None:
    for version in (2, 3):
        move(base, label_moves.promote, version)
    LocalStorage(base).remove(2)
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1})


def test_a_history_that_a_crash_cut_short_still_leads_back(base: Path) -> None:
    move(base, label_moves.promote, 2)
    move(base, label_moves.promote, 3)
    path = base / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-30])  # the move to 3
    told: list[str] = []
    move(base, label_moves.rollback, None, told.append)
    assert told == [
        f"warning: {path}: line 3 cannot be read; according to the other lines, version 2 was "
        "stable before"
    ]
    assert state(base) == ((2,), {"stable": 2})
    assert json.loads(path.read_text().splitlines()[-1])["to"] == 2


def test_a_move_that_the_history_does_not_take_is_made_and_told(base: Path) -> None:
    (base / "history.jsonl").unlink()
    (base / "history.jsonl").mkdir()
    with pytest.raises(HistoryNotWritten, match=r"Is a directory.*label stable was moved to"):
        move(base, label_moves.promote, 2)
    assert state(base) == ((2,), {"stable": 2})


@pytest.mark.parametrize("line", ["nonsense", '{"label": "stable"}', "[]", "[" * 10**6])
def test_a_line_of_the_history_that_cannot_be_read_is_named_with_the_mend(
    base: Path, line: str
) -> None:
    move(base, label_moves.promote, 2)
    path = base / "history.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(UnreadableHistory, match=r"tfkmeans rollback .* --to N$") as rollback:
        move(base, label_moves.rollback)
    with pytest.raises(UnreadableHistory, match="nothing is removed; correct the line") as prune:
        label_moves.prune(base, 1)
    for refused in (rollback, prune):
        assert str(refused.value).startswith(f"{path}: line 2 cannot be read, ")
    assert versions(base) == (1, 2, 3, 4)
    move(base, label_moves.rollback, 1)
    assert state(base) == ((1,), {"stable": 1})


@pytest.mark.parametrize("what", [label_moves.rollback, lambda base, _: label_moves.prune(base, 1)])
def test_a_history_that_cannot_be_read_is_named_with_the_mend(base: Path, what: Any) -> None:
    move(base, label_moves.promote, 2)
    (base / "history.jsonl").unlink()
    (base / "history.jsonl").mkdir()
    with pytest.raises(UnreadableHistory, match=r"history.jsonl: cannot be read: .*make it read"):
        what(base, config_entry(base))
    assert versions(base) == (1, 2, 3, 4)


def test_a_history_that_may_not_be_written_is_told_to_be_made_so(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, _line: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("export.label_history.append_line", refuse)
    with pytest.raises(HistoryNotWritten, match="Permission denied; make it readable and writable"):
        move(base, label_moves.promote, 2)


def _history(base: Path, *moves: tuple[int | None, int, str]) -> None:
    lines = [
        {"when": "2026-01-31T12:00:00+00:00", "label": "stable", "from": a, "to": b, "by": by}
        for a, b, by in moves
    ]
    (base / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_rollback_after_a_first_publish_that_wrote_no_history(base: Path) -> None:
    (base / "history.jsonl").unlink()  # it died between the config and this
    move(base, label_moves.promote, 2)
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1})


def test_rollback_from_an_entry_by_hand_without_labels(base: Path) -> None:
    path = base.parent / "models.config"
    path.write_text(path.read_text().replace('key: "stable"', 'key: "live"'))
    (base / "history.jsonl").unlink()
    move(base, label_moves.promote, 2)
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"live": 1, "stable": 1})


def test_a_move_that_the_history_lacks_is_known_from_where_the_next_one_came(base: Path) -> None:
    move(base, label_moves.promote, 3)
    _history(base, (None, 1, "publish"), (2, 3, "promote"))
    for place in (2, 1):
        move(base, label_moves.rollback)
        assert state(base) == ((place,), {"stable": place})


def test_a_rollback_that_the_history_lacks_is_not_undone_by_the_next(base: Path) -> None:
    move(base, label_moves.promote, 4)
    _history(base, (None, 1, "publish"), (1, 2, "promote"), (2, 3, "promote"), (2, 4, "promote"))
    for place in (2, 1):
        move(base, label_moves.rollback)
        assert state(base) == ((place,), {"stable": place})


@pytest.mark.parametrize("what", [label_moves.promote, label_moves.rollback])
def test_a_live_version_whose_folder_is_gone_is_neither_loaded_nor_waited_for(
    base: Path, what: Any
) -> None:
    move(base, label_moves.promote, 2)
    (base / "2").rename(base.parent / "moved away")
    server = RecordedServer(broken=2)
    move(base, what, 1, server=server)
    assert [(each.versions, dict(each.labels)) for each in server.told] == [
        ((1,), {}),
        ((1,), {"stable": 1}),
    ]
    assert state(base) == ((1,), {"stable": 1})


def test_the_way_back_is_to_what_still_has_a_folder(base: Path) -> None:
    before = (base.parent / "models.config").read_text()
    both = before.replace("versions: 1", "versions: [1, 2]")
    (base.parent / "models.config").write_text(both)
    (base / "2").rename(base.parent / "moved away")
    server = RecordedServer(broken=3)
    with pytest.raises(MoveFailed, match=r"version 3 does not load; .* is as before$"):
        move(base, label_moves.promote, 3, server=server)
    assert [each.versions for each in server.told] == [(1, 3), (1,)]
    assert (base.parent / "models.config").read_text() == both
    (base / "1").rename(base.parent / "moved away too")
    with pytest.raises(MoveFailed, match=r"return to it: versions 1, 2 are no longer there$"):
        move(base, label_moves.promote, 3, server=server)


def test_another_label_goes_with_the_folder_of_its_version(base: Path) -> None:
    move(base, label_moves.promote, 3)
    move(base, label_moves.promote, 1, "old")
    (base / "1").rename(base.parent / "moved away")
    plan = move(base, label_moves.promote, 4, server=RecordedServer(broken=1))
    assert "remove label old" in plan.effect
    assert state(base) == ((4,), {"stable": 4})


OTHERS = """\
# Ours { and theirs }
model_config_list: {
  config: {  # not to be touched
    name: 'other "{" model'
    base_path: "/models/other"
    model_platform: "tensorflow"
    logging_config { log_collector_config { type: "a" } }
  }
}
"""


def test_another_models_entry_and_every_comment_stay_byte_for_byte(
    tmp_path: Path, base: Path, make_stand_in: Callable[[str], Path]
) -> None:
    path = base.parent / "models.config"
    path.write_text(OTHERS)
    publish(make_stand_in("fifth"), base, served_at="/models/customers")
    assert path.read_text().startswith(OTHERS.rstrip("}\n"))
    assert [model.name for model in official(base).model_config_list.config] == [
        'other "{" model',
        "customers",
    ]
    assert official(base).model_config_list.config[1].base_path == "/models/customers"
    move(base, label_moves.promote, 2)
    text = path.read_text()
    start = text.index("  config {\n")
    assert text[:start] + "}\n" == OTHERS
    assert state(base) == ((2,), {"stable": 2})
    assert official(base).model_config_list.config[1].base_path == "/models/customers"


BY_HAND = """\
model_config_list {
  config {
    # owner: the people of sales
    name: "customers"  # as in the docs
    base_path: "BASE"
    model_type: TENSORFLOW
    model_version_policy { specific { versions: 1 } }  # one at a time
    version_labels { key: "stable" value: 1 },  # since March
    version_labels: [ { key: "old", value: 1 } ]  # for the reports
    logging_config { log_collector_config { type: "a" } }  # a field that is not edited
    # the end
  }
}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_comments_and_line_ends_in_the_entry_itself_stay(base: Path, end: str) -> None:
    path = base.parent / "models.config"
    text = BY_HAND.replace("BASE", str(base)).replace("\n", end)
    path.write_bytes(text.encode())
    move(base, label_moves.promote, 1)
    assert path.read_bytes() == text.encode()
    move(base, label_moves.promote, 3)
    move(base, label_moves.canary, 2)
    assert state(base) == ((1, 2, 3), {"stable": 3, "old": 1, "canary": 2})
    move(base, label_moves.canary, None)
    now = path.read_bytes().decode()
    for comment in re.findall(r"#[^\r\n]*", text):
        assert comment in now
    assert now.count("\n") == now.count(end)
    assert 'version_labels: [ { key: "old", value: 1 } ]  # for the reports' in now
    (model,) = official(base).model_config_list.config
    assert (model.base_path, model.model_platform) == (str(base), "")
    assert state(base) == ((1, 3), {"stable": 3, "old": 1})
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1, "old": 1})


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# hello", "# a { comment }\n", "model_config_list {}", "model_config_list <\n>"],
)
def test_a_config_without_models_takes_the_first(base: Path, text: str) -> None:
    path = base.parent / "models.config"
    path.write_text(text)
    move(base, label_moves.promote, 2)
    assert path.read_text().startswith(text.rstrip("}>\n"))
    assert [model.name for model in official(base).model_config_list.config] == ["customers"]
    assert state(base) == ((2,), {"stable": 2})


def _entry(**fields: str) -> str:
    """A config of the model ``a``, with other fields than it needs, or other values."""
    values = {"name": "'a'", "base_path": "'/a'"} | fields
    inside = " ".join(f"{name}: {value}" for name, value in values.items())
    return f"model_config_list {{ config {{ {inside} }} }}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('custom_model_config { type_url: "x" }', "contains custom_model_config; only a config"),
        (
            "model_config_list { config { name: 'a' } config { name: 'b' } config { name: 'a' } }",
            "lists the model a more than once",
        ),
        (_entry(basepath="'/a'"), r'no field named "basepath".*correct the file there'),
        (_entry(logging_config="{},", base_pth="'/a'"), 'no field named "base_pth"'),
        (_entry(name="''"), "entry with base_path '/a' has no name; write name: there"),
        (_entry(base_path="''"), "entry of a has no base_path; write base_path: there"),
        (_entry(version_labels="{ key: 'l' }"), "entry of a has label 'l' on version 0, which"),
        (_entry(version_labels="{ key: 'l' value: -1 }"), "'l' on version -1, which is not valid"),
        ("\ufeffmodel_config_list { }", "begins with a byte order mark; save it as UTF-8 without"),
    ],
)
def test_a_config_that_no_edit_makes_right_is_refused(base: Path, text: str, message: str) -> None:
    path = base.parent / "models.config"
    path.write_text(text)
    with pytest.raises(InvalidModelsConfig, match=message):
        move(base, label_moves.promote, 2)
    assert path.read_text() == text


def test_a_config_that_is_a_pipe_is_not_waited_for(base: Path) -> None:
    path = base.parent / "models.config"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InvalidModelsConfig, match=r"models\.config: is not a file; replace it"):
        move(base, label_moves.promote, 2)


def test_the_folder_that_a_server_sees_is_said_once_and_held_to(
    base: Path, make_stand_in: Callable[[str], Path]
) -> None:
    path = base.parent / "models.config"
    before = path.read_text()
    for served_at, message in (
        ("models/customers", "models/customers: not an absolute path or an address"),
        ("/elsewhere", f"has base_path {base}, not /elsewhere.*edit base_path there"),
    ):
        with pytest.raises(InvalidModelsConfig, match=message):
            move(base, label_moves.promote, 2, served_at=served_at)
        with pytest.raises(InvalidModelsConfig, match=message):
            publish(make_stand_in(f"at {served_at}"), base, served_at=served_at)
    assert path.read_text() == before
    assert versions(base) == (1, 2, 3, 4)
    move(base, label_moves.promote, 2, served_at=str(base))
    path.unlink()
    with pytest.raises(InvalidModelsConfig, match="an absolute path or an address"):
        move(base, label_moves.promote, 2, served_at="models/customers", dry_run=True)
    move(base, label_moves.promote, 2, served_at="gs://bucket/customers")
    assert official(base).model_config_list.config[0].base_path == "gs://bucket/customers"


def test_what_would_be_lost_on_the_way_to_a_server_is_refused(base: Path) -> None:
    path = base.parent / "models.config"
    path.write_text(OTHERS)
    before = path.read_text()
    with pytest.raises(InvalidModelsConfig, match=r"logging_config.*leave out --server"):
        move(base, label_moves.promote, 2, server=RecordedServer())
    assert path.read_text() == before


@pytest.mark.parametrize("policy", ["", "model_version_policy { latest { num_versions: 2 } }"])
def test_an_entry_that_loads_no_specific_versions_is_refused(base: Path, policy: str) -> None:
    path = base.parent / "models.config"
    path.write_text(
        f"model_config_list {{ config {{ name: 'customers' base_path: '/a' {policy} }} }}"
    )
    before = path.read_text()
    with pytest.raises(InvalidModelsConfig, match="does not load `specific` versions"):
        move(base, label_moves.promote, 2)
    assert path.read_text() == before


@pytest.mark.parametrize("label", ["", ".", "..", "a/b", "a:b", "two\nlines", "half\ud800", "\x7f"])
def test_a_label_that_no_client_can_ask_for_is_refused(base: Path, label: str) -> None:
    with pytest.raises(MoveRefused, match="not a valid name; use printable characters"):
        move(base, label_moves.promote, 1, label)


def test_lines_of_the_history_that_are_nested_too_deeply_are_passed_over(base: Path) -> None:
    move(base, label_moves.promote, 2)
    with (base / "history.jsonl").open("a") as file:
        file.write("[" * 10**6 + "\n")
    move(base, label_moves.rollback)
    assert state(base) == ((1,), {"stable": 1})


def test_a_config_that_is_nested_too_deeply_is_one_line(base: Path) -> None:
    config = base.parent / "models.config"
    config.write_text("model_config_list { config " + "{ a " * 10**5)
    with pytest.raises(InvalidModelsConfig) as refused:
        move(base, label_moves.promote, 2)
    assert str(refused.value) == f"{config}: is nested too deeply; correct the file"
