"""Label moves: promote, canary and rollback, as steps of ``models.config``.

A label can only move to a loaded version, so a move has two steps: load both versions, then move
the label and unload versions without a label. Above ``stable`` only a canary stays loaded, because
requests without version or label go to the highest loaded version. Does not import TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

from export.wire import serving_pb2
from kmeans_module.signal_waits import sleep

from . import label_history, models_config
from .addresses import is_name
from .errors import MoveFailed, MoveRefused, UnreadableHistory, VersionNotFound
from .label_history import ROLLBACK, Move
from .models_config import CANARY, STABLE, Entry, ModelsConfig
from .repository import existing_versions, version_directory, versions
from .storage import LocalStorage

#: Seconds between the two steps if no server confirms the first.
POLL_INTERVAL: Final = 30.0


class Server(Protocol):
    """A running server that accepts a config by HandleReloadConfigRequest."""

    def follow(self, config: serving_pb2.ModelServerConfig, model: str, entry: Entry) -> None:
        """Send the config, and return when the server has the versions and labels of ``entry``.

        Raises MoveFailed if the server refuses the config, or does not apply it in time.
        """


@dataclass(frozen=True)
class Plan:
    """An entry before and after a move, with the steps between them and their effect.

    ``there`` are the versions with a folder: a server cannot load others.
    """

    before: Entry
    after: Entry
    by: str
    there: frozenset[int]

    @property
    def moves(self) -> tuple[Move, ...]:
        """The moved, created and removed labels."""
        old, new = self.before.labels, self.after.labels
        return tuple(
            Move(label, self._source(label), new.get(label), self.by)
            for label in sorted({*old, *new})
            if old.get(label) != new.get(label)
        )

    def _source(self, label: str) -> int | None:
        """Return the version of a label; for ``stable`` in a hand-written entry without it, the
        highest.
        """
        was = self.before.stable if label == STABLE else self.before.labels.get(label)
        return None if was == self.after.labels.get(label) else was

    @property
    def steps(self) -> tuple[Entry, ...]:
        """The entries to write, in order; empty if nothing changes."""
        both = tuple(sorted({*self.before.versions, *self.after.versions}))
        first = self.loadable(replace(self.before, versions=both))
        entries = [self.before, first, self.after]
        return tuple(new for old, new in pairwise(entries) if new != old)

    def loadable(self, entry: Entry) -> Entry:
        """Return the entry without versions whose folder is missing, and without labels on them."""
        return replace(
            entry,
            versions=tuple(version for version in entry.versions if version in self.there),
            labels={label: on for label, on in entry.labels.items() if on in self.there},
        )

    @property
    def effect(self) -> str:
        """The effect on a server that applies the plan."""
        loads = sorted({*self.after.versions} - {*self.before.versions})
        unloads = sorted({*self.before.versions} - {*self.after.versions})
        changes = [
            *([f"load {_version_list(loads)}"] if loads else []),
            *(
                f"move label {move.label} to version {move.target}"
                if move.target is not None
                else f"remove label {move.label}"
                for move in self.moves
            ),
            *([f"unload {_version_list(unloads)}"] if unloads else []),
        ] or ["change nothing"]
        # No comma before "and" between two changes.
        comma = "," if len(changes) > 2 else ""
        text = f"{comma} and ".join([", ".join(changes[:-1]), changes[-1]][len(changes) == 1 :])
        highest = max(self.after.versions)
        canary = ", the canary" if highest == self.after.labels.get(CANARY) else ""
        return f"{text}; requests without version or label go to version {highest}{canary}"


def _version_list(numbers: Sequence[int]) -> str:
    return f"version{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def promote(base: Path, entry: Entry, version: int, label: str = STABLE) -> Plan:
    """Put a label on a version. Raises VersionNotFound, NotAModel, MoveRefused."""
    version_directory(base, version)
    if not is_name(label):
        raise MoveRefused(
            f"label {label!r}: not a valid name; use printable characters without / and :"
        )
    if label == CANARY:
        return canary(base, entry, version)
    stable = version if label == STABLE or entry.stable is None else entry.stable
    if version > stable:
        raise MoveRefused(
            f"{base}: version {version} is above the stable version {stable}, and would answer all "
            f"requests without version or label; promote it first, or: tfkmeans canary {base} "
            f"{version}"
        )
    labels = {**entry.labels, STABLE: stable, label: version}
    return _plan_labels(base, entry, labels, stable, "promote")


def canary(base: Path, entry: Entry, version: int | None) -> Plan:
    """Put the label ``canary`` on a version; None removes it.

    Raises VersionNotFound, NotAModel, MoveRefused.
    """
    labels = {label: on for label, on in entry.labels.items() if label != CANARY}
    if entry.stable is None:
        raise MoveRefused(f"{base}: no version is stable yet; promote one first")
    if version is not None:
        version_directory(base, version)
        if version == entry.stable:
            raise MoveRefused(
                f"{base}: version {version} is stable; give another version for the canary"
            )
        labels = {STABLE: entry.stable, **labels, CANARY: version}
    return _plan_labels(base, entry, labels, entry.stable, "canary")


def rollback(
    base: Path,
    entry: Entry,
    to: int | None = None,
    tell: Callable[[str], None] = lambda _said: None,
) -> Plan:
    """Move ``stable`` back to its previous version, or to ``to``.

    ``tell`` is called about unreadable lines of the history, if the others determine a version.

    Raises MoveRefused if there is no previous version; UnreadableHistory if it is unknown;
    VersionNotFound, NotAModel.
    """
    if entry.stable is None:
        raise MoveRefused(f"{base}: no version is stable, so there is nothing to roll back")
    if to is None:
        to = rollback_target(base, entry)
        damage = label_history.read(base).damage
        if damage and to is not None:
            tell(f"warning: {damage}; according to the other lines, version {to} was stable before")
        if damage and to is None:
            raise UnreadableHistory(
                f"{damage}, so the version before {entry.stable} is unknown; give it: tfkmeans "
                f"rollback {base} --to N"
            )
        if to is None:
            raise MoveRefused(
                f"{base}: there is no version before {entry.stable} to roll back to; give one with "
                "--to V"
            )
    version_directory(base, to)
    return _plan_labels(base, entry, {**entry.labels, STABLE: to}, to, ROLLBACK)


def rollback_target(base: Path, entry: Entry | None) -> int | None:
    """Return the target of a rollback: the previous stable version that still exists.

    None without one. Raises NotAModel, UnreadableHistory.
    """
    if entry is None or entry.stable is None:
        return None
    there = versions(base)
    places = label_history.previous_versions(label_history.read(base).moves, STABLE, entry.stable)
    return next((place for place in places if place in there and place != entry.stable), None)


def _plan_labels(base: Path, entry: Entry, labels: Mapping[str, int], stable: int, by: str) -> Plan:
    """Plan labels: versions with a label are loaded, and only the canary may be above stable.

    A label other than stable is removed if the folder of its version is missing, because a server
    refuses labels on versions that it cannot load.
    """
    there = frozenset(versions(base))
    settled = {
        label: on if label == CANARY else min(on, stable)
        for label, on in labels.items()
        if (label, on) != (CANARY, stable)
    }
    settled = {label: on for label, on in settled.items() if label == STABLE or on in there}
    loaded = tuple(sorted({*settled.values(), stable}))
    after = Entry(entry.base_path, loaded, settled)
    return Plan(entry, after, by, there)


def carry_out(
    base: Path,
    decide: Callable[[Entry], Plan],
    *,
    name: str | None = None,
    server: Server | None = None,
    served_at: str | None = None,
    poll_interval: float = POLL_INTERVAL,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _said: None,
) -> Plan:
    """Plan a move for the current entry, and write its steps, with the moves of the model locked.

    An interrupted move is undone. Without a server, other processes may edit the entries of other
    models meanwhile; a server gets the whole file, so they wait until it has applied the step.

    Args:
      base: the folder of the model.
      decide: ``promote``, ``canary`` or ``rollback`` of an entry.
      name: the served name of the model, if its entry does not determine it.
      server: applies each step before the next; without it, steps are ``poll_interval`` apart.
      served_at: the folder of the model as the server sees it, for a new entry.
      poll_interval: seconds.
      dry_run: only plan.
      tell: called with messages about waiting.

    Raises:
      MoveFailed: the server did not apply a step; the config was restored.
      MoveRefused, VersionNotFound, NotAModel: the move is impossible, or another process has edited
        the entry meanwhile.
      InvalidModelsConfig: the config cannot be read or edited.
      HistoryNotWritten: the move is complete except for the line in ``history.jsonl``.
    """
    if dry_run:
        return decide(_entry_to_move(ModelsConfig.read(base, name), served_at))
    versions(base)  # before a lock is created next to a missing folder
    with models_config.move_lock(base, tell):
        with models_config.edit_lock(base, tell, name=name) as config:
            plan = decide(_entry_to_move(config, served_at))
            if server is not None:
                _write_followed(config, plan, server, tell)
            elif lost := config.find_lost_model():
                tell(f"warning: {lost}")
        if server is None:
            _write_apart(base, config.model, plan, poll_interval, tell)
        for move in plan.moves:
            label_history.append(base, move)
    return plan


def _entry_to_move(config: ModelsConfig, served_at: str | None) -> Entry:
    # With two entries for a folder, a move must not change the entry that is not served.
    config.check_one_entry()
    return config.entry_at(served_at)


def _write_apart(
    base: Path, name: str, plan: Plan, seconds: float, tell: Callable[[str], None]
) -> None:
    # For a model that no server has yet, nothing must be loaded first.
    steps = plan.steps if plan.before.versions else plan.steps[-1:]
    now = plan.before
    try:
        for entry in steps:
            if now != plan.before:
                tell(f"waiting {seconds:g} s for the servers to load {_version_list(now.versions)}")
                sleep(seconds)
            _write_step(base, name, now, entry, tell)
            now = entry
    except BaseException:
        if now != plan.before:
            _write_step(base, name, now, plan.before, tell)
            tell(f"interrupted: {models_config.path_of(base)} has its previous entry again")
        raise


def _write_step(
    base: Path, name: str, now: Entry, entry: Entry, tell: Callable[[str], None]
) -> None:
    """Replace the entry ``now`` by a new one, without changing other entries.

    Raises MoveRefused if the current entry differs from ``now``.
    """
    with models_config.edit_lock(base, name=name) as config:
        there = config.entry or Entry(now.base_path)
        if {*there.versions} != {*now.versions} or there.labels != now.labels:
            raise MoveRefused(
                f"{config.path}: the entry of {config.model} was edited during the move, and is "
                f"kept as edited; check it: tfkmeans versions {base}"
            )
        config.with_entry(entry).write(tell)


def _write_followed(
    config: ModelsConfig, plan: Plan, server: Server, tell: Callable[[str], None]
) -> None:
    """Write the steps, each applied by the server; without steps, send the current file."""
    try:
        for entry in plan.steps or (plan.after,):
            step = config.with_entry(entry)
            message = step.message()
            step.write(tell)
            tell(f"waiting for the server to load {_version_list(entry.versions)}")
            server.follow(message, config.model, entry)
    except BaseException as error:
        config.write()
        is_refused, is_interrupted = isinstance(error, MoveFailed), not isinstance(error, Exception)
        undone, lost = f"{config.path} is as before", config.find_lost_model()
        if plan.before.versions and (is_refused or is_interrupted):
            if is_interrupted:
                tell(f"interrupted: {undone}, and the server is reset to it")
            try:
                _send_back(config, plan, server)
            except MoveFailed as second:
                first = error if is_refused else "interrupted"
                undone += f", but the server did not return to it: {second}"
                raise MoveFailed(_join(first, undone, lost)) from second
        if is_refused:
            raise MoveFailed(_join(error, undone, lost)) from error
        raise


def _send_back(config: ModelsConfig, plan: Plan, server: Server) -> None:
    """Restore the previous config of the server, as far as its folders still exist."""
    entry = plan.loadable(plan.before)
    if not entry.versions:
        gone = _version_list(plan.before.versions)
        verb = "are" if len(plan.before.versions) > 1 else "is"
        raise MoveFailed(f"{gone} {verb} no longer there")
    server.follow(config.with_entry(entry).message(), config.model, entry)


def _join(*parts: object) -> str:
    return "; ".join(str(part) for part in parts if part is not None)


def find_prunable(base: Path, config: ModelsConfig, keep: int) -> tuple[int, ...]:
    """Return the removable versions except the highest ``keep``, ascending.

    Versions with a label, loaded versions (by any entry of the folder) and the target of a rollback
    are not removable. Raises NotAModel, InvalidModelsConfig, UnreadableHistory.
    """
    there = versions(base)
    if damage := label_history.read(base).damage:
        raise UnreadableHistory(
            f"{damage}, and may name the target of a rollback, so nothing is removed; correct the "
            "line, or remove it from the file"
        )
    entry = config.entry
    kept: set[int | None] = {*there[max(0, len(there) - keep) :], *config.versions_in_use}
    kept.add(there[-1] if entry is None and there else rollback_target(base, entry))
    return tuple(version for version in there if version not in kept)


def prune(base: Path, keep: int, *, dry_run: bool = False) -> tuple[int, ...]:
    """Remove the versions of ``find_prunable``, and return them.

    Raises NotAModel, InvalidModelsConfig, UnreadableHistory, PublishFailed.
    """
    existing_versions(base)
    if dry_run:
        return find_prunable(base, ModelsConfig.read(base), keep)
    with models_config.move_lock(base), models_config.edit_lock(base) as config:
        removed = find_prunable(base, config, keep)
        for version in removed:
            with suppress(VersionNotFound):  # another process has removed it
                LocalStorage(base).remove(version)
    return removed
