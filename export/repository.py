"""The folder of a model and its versions: what is there, and how a version comes to be there.

``publish`` writes beside the versions, in a folder whose name is no number and which servers
therefore pass over, and renames when all is validated and on the disk::

    models/customers/1/                     a version, never changed again
    models/customers/.publish.lock          held while a number is taken; holds the highest ever
    models/customers/.incoming-3f0a/lock    held by its publisher for as long as that lives
    models/customers/.incoming-3f0a/version what will be the next version

A publisher that dies leaves its ``.incoming`` folder; the lock in it is free then, which is how the
next publisher knows to remove it. What is pruned is renamed to ``.removed-...`` first, so that
nobody sees half of it. Imports no TensorFlow.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from . import file_hashes, golden_requests, label_history, models_config
from .comparison import Comparison, Thresholds
from .durable_files import locked, sync, try_lock, why
from .errors import (
    ExportError,
    HistoryNotWritten,
    InvalidCandidate,
    NotAModel,
    PublishFailed,
    VersionNotFound,
)
from .label_history import Move
from .model_card import ModelCard
from .models_config import STABLE, Entry
from .validation import refuse_for, validate

_SAVED_MODEL: Final = "saved_model.pb"
_PUBLISH_LOCK: Final = ".publish.lock"
_INCOMING: Final = ".incoming-"
_REMOVED: Final = ".removed-"
#: TensorFlow Serving's versions are int64.
_HIGHEST_VERSION: Final = 2**63 - 1


def versions(base: Path) -> tuple[int, ...]:
    """The versions in the folder of a model, ascending; empty when it holds none yet.

    Raises NotAModel when ``base`` is no folder.
    """
    return tuple(sorted({number for number, entry in _numbered(base) if entry.is_dir()}))


def version_directory(base: Path, version: int | None = None) -> Path:
    """The directory of a version, by default of the highest.

    A server reads ``0001`` as version 1, and so does this.

    Raises:
      NotAModel: ``base`` is no folder, or holds no version.
      VersionNotFound: it does not hold that one.
    """
    directories = {number: entry for number, entry in _numbered(base) if entry.is_dir()}
    if not directories:
        raise NotAModel(f"{base}: {_why_no_model(base)}")
    if version is None:
        return directories[max(directories)]
    if version not in directories:
        there = ", ".join(str(number) for number in sorted(directories))
        raise VersionNotFound(f"{base}: has no version {version}; there is {there}")
    return directories[version]


def live_version(base: Path) -> int | None:
    """The version that answers who asks for none: what ``models.config`` has as ``stable``.

    Of a model without an entry there, the highest; None when there is none.

    Raises NotAModel, InvalidModelsConfig.
    """
    entry = config_entry(base)
    if entry is not None and entry.stable is not None:
        return entry.stable
    there = [number for number, path in _numbered(base) if (path / _SAVED_MODEL).is_file()]
    return max(there, default=None)


def config_entry(base: Path) -> Entry | None:
    """The entry of a model in ``models.config``; None when it has none yet."""
    path = models_config.path_of(base)
    return models_config.entry(
        models_config.read_text(path), models_config.name_of(base), origin=path
    )


def publish(
    candidate: Path,
    base: Path,
    *,
    timeout: float = 600.0,
    thresholds: Thresholds | None = None,
    holdout: Path | None = None,
    force: bool = False,
    served_at: str | None = None,
    dry_run: bool = False,
    on_comparison: Callable[[Comparison], None] | None = None,
    name: str | None = None,
    tell: Callable[[str], None] = lambda _said: None,
) -> int:
    """Publish a copy of a candidate as the next version of a model, whole or not at all.

    Safe to call from many processes at once: each takes a number of its own, and none changes a
    version that is there. ``base`` and its parents are made when they do not exist. The first
    version is entered in ``models.config`` as ``stable``; a later one is served once promoted.

    Args:
      candidate: a version directory, as ``write_candidate`` makes it. It stays where it is.
      base: the folder of the model.
      timeout: seconds that the validation may take.
      thresholds: how far the candidate may be from the version that is live.
      holdout: an .npy file of rows [n, d], raw units, to compare the two on; by default the rows
        that travel with the candidate.
      force: publish it however far it is; the card of the version says so. What does not load or
        does not answer as recorded is refused all the same.
      served_at: the folder of the model as the server sees it, when the entry is first written; by
        default the absolute path of ``base``.
      dry_run: do all but publish.
      on_comparison: is told the figures, before they are held against the thresholds.
      name: what a refusal calls the candidate; its folder by default.
      tell: is told that somebody else is being waited for.

    Returns:
      The number of the new version: one above the highest there ever was, or 1.

    Raises:
      InvalidCandidate: the candidate is incomplete.
      PublishRefused: the validation did not pass, or it is too far from the live version.
      PublishFailed: the disk is full, ``base`` is read-only, is a file, ...
      InvalidModelsConfig: ``models.config`` cannot be read or edited, or has the model at another
        place than ``served_at``; nothing was published.
    """
    name = name or str(candidate)
    gate = Gate(name, timeout, thresholds or Thresholds(), holdout, force, on_comparison)
    try:
        check_candidate(candidate)
        _check_base(base, candidate)
        if served_at is not None:
            models_config.base_path(base, served_at, config_entry(base))
        if dry_run:
            _check_writable(base)
            gate.pass_through(candidate, _live_directory(base))
            return 1 + (highest_ever(base) if base.is_dir() else 0)
        _make_folders(base)
        with models_config.edited(base, tell):  # before the work: can it be edited at all?
            config_entry(base)
        with _incoming(base) as incoming:
            version = incoming / "version"
            _copy_durably(candidate, version)
            passed_over = gate.pass_through(version, _live_directory(base))
            if passed_over:
                record_force(version, passed_over)
            number = _take_number(version, base)
    except OSError as error:
        raise PublishFailed(f"{base}: cannot publish: {why(error)}") from error
    _enter(base, number, served_at, tell)
    return number


class Gate:
    """What a candidate has to pass before it is a version."""

    def __init__(
        self,
        name: str,
        timeout: float,
        thresholds: Thresholds,
        holdout: Path | None,
        force: bool,
        on_comparison: Callable[[Comparison], None] | None,
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._thresholds = thresholds
        self._holdout = holdout
        self._force = force
        self._on_comparison = on_comparison

    def pass_through(self, version: Path, live: Path | None) -> list[str]:
        """What was found and passed over, by force; ``live`` is the live version's directory.

        Raises PublishRefused.
        """
        refuse_for(file_hashes.findings(version), self._name)
        measured = validate(
            version,
            name=self._name,
            timeout=self._timeout,
            live=live,
            holdout=self._holdout,
        )
        # Beyond what `validate` asks of versions that are there: nothing is left unasked.
        clusters = ModelCard.read(version).n_clusters
        refuse_for(golden_requests.lacking(golden_requests.read(version), clusters), self._name)
        found = self._too_far(measured)
        if not self._force:
            refuse_for(found, self._name, mend="; --force publishes it all the same")
        return found

    def _too_far(self, measured: Comparison | str | None) -> list[str]:
        if isinstance(measured, str):
            return [f"cannot be compared with the live version: {measured}"]
        if measured is None:
            return []
        if self._on_comparison is not None:
            self._on_comparison(measured)
        return measured.beyond(self._thresholds)


def _live_directory(base: Path) -> Path | None:
    """The directory of the live version; None when there is none."""
    if not base.is_dir():
        return None
    live = live_version(base)
    return None if live is None else dict(_numbered(base)).get(live)


def record_force(version: Path, passed_over: Sequence[str]) -> None:
    """Write into the card of a version what the gate found and was told to pass over."""
    replace(ModelCard.read(version), forced=tuple(passed_over)).write(version)
    sync(version / "assets.extra" / "model_card.json")


def _enter(base: Path, number: int, served_at: str | None, tell: Callable[[str], None]) -> None:
    """Make a model's first version ``stable`` in ``models.config``."""
    try:
        with models_config.edited(base, tell) as path:
            text = models_config.read_text(path)
            name = models_config.name_of(base)
            if models_config.entry(text, name, origin=path) is not None:
                return
            folder = models_config.base_path(base, served_at, None)
            entry = Entry(folder, (number,), {STABLE: number})
            models_config.write(path, models_config.with_entry(text, name, entry))
            label_history.append(base, Move(STABLE, None, number, "publish"))
    except HistoryNotWritten as error:
        raise PublishFailed(
            f"{base}: version {number} is published and entered in {models_config.CONFIG_FILE}; "
            f"{error}"
        ) from error
    except (ExportError, OSError) as error:
        reason = why(error) if isinstance(error, OSError) else str(error)
        raise PublishFailed(
            f"{base}: version {number} is published, but not entered in "
            f"{models_config.CONFIG_FILE}: {reason}; mend that, then: "
            f"tfkmeans promote {base} {number}"
        ) from error


def remove(base: Path, version: int) -> None:
    """Remove a version, whole or not at all; its number is never given again.

    Whoever calls has seen to it that no label is on it. Raises PublishFailed, VersionNotFound.
    """
    directory = version_directory(base, version)
    try:
        with locked(base / _PUBLISH_LOCK) as lock:
            _remember(lock, highest_ever(base))
            removed = base / f"{_REMOVED}{secrets.token_hex(4)}"
            directory.rename(removed)
            sync(base)
        shutil.rmtree(removed)
    except OSError as error:
        raise PublishFailed(f"{base}: cannot remove version {version}: {why(error)}") from error


def highest_ever(base: Path) -> int:
    """The highest number that a version of the model has or had; 0 when there was none."""
    try:
        remembered = int((base / _PUBLISH_LOCK).read_text(encoding="ascii") or 0)
    except (FileNotFoundError, ValueError):
        remembered = 0
    return max([remembered, *(number for number, _ in _numbered(base))])


def _remember(lock: int, number: int) -> None:
    """Write the highest number into the lock's file: it only grows, so it is never torn."""
    os.pwrite(lock, f"{number}\n".encode(), 0)
    os.fsync(lock)


def _numbered(base: Path) -> list[tuple[int, Path]]:
    """The entries of ``base`` whose names TensorFlow Serving takes for versions.

    Of two that spell the same number, ``1`` comes after ``0001``.
    """
    try:
        entries = sorted(base.iterdir())
    except FileNotFoundError:
        raise NotAModel(f"{base}: there is no such folder; name the folder of a model") from None
    except NotADirectoryError:
        raise NotAModel(f"{base}: is a file; name the folder of a model") from None
    except OSError as error:
        raise NotAModel(f"{base}: cannot be read: {why(error)}") from None
    return [
        (int(entry.name), entry)
        for entry in entries
        if entry.name.isascii()
        and entry.name.isdigit()
        and len(entry.name) < 100  # far above any number, far below what int() refuses
        and int(entry.name) <= _HIGHEST_VERSION
    ]


def _why_no_model(base: Path) -> str:
    if (base / _SAVED_MODEL).exists():
        return f"is one version; name the folder above it, {base.absolute().parent}"
    return "holds no version folder (1, 2, ...); name the folder of a model"


def check_candidate(candidate: Path) -> None:
    """Raise InvalidCandidate for what is no version directory."""
    if not candidate.is_dir():
        raise InvalidCandidate(f"{candidate}: there is no such folder; name a version directory")
    if not (candidate / _SAVED_MODEL).is_file():
        raise InvalidCandidate(f"{candidate}: has no {_SAVED_MODEL}; name a version directory")
    ModelCard.read(candidate)


def _check_base(base: Path, candidate: Path) -> None:
    if base.exists() and not base.is_dir():
        raise PublishFailed(f"{base}: is a file; name a folder")
    if (base / _SAVED_MODEL).exists():
        raise PublishFailed(f"{base}: is a version; name the folder of a model")
    if base.absolute().resolve().is_relative_to(candidate.absolute().resolve()):
        raise PublishFailed(f"{base}: lies inside of the candidate {candidate}; name another")


def _check_writable(base: Path) -> None:
    """What making folders and files would find out, without making any."""
    there = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise PublishFailed(
            f"{base}: cannot publish: {there} cannot be written to; name a folder that can be"
        )


def _make_folders(base: Path) -> None:
    """Make ``base`` and what is missing above it, each of them durably."""
    if not base.is_dir():
        _make_folders(base.absolute().parent)
        base.mkdir(exist_ok=True)
        sync(base.absolute().parent)


@contextmanager
def _incoming(base: Path) -> Iterator[Path]:
    """A folder in ``base`` that goes when the block ends, or with the next publisher."""
    incoming = base / f"{_INCOMING}{secrets.token_hex(4)}"
    # Under the lock of the base, or a cleaner could find the folder before its lock is held.
    with locked(base / _PUBLISH_LOCK):
        _remove_leftovers(base)
        incoming.mkdir()
        try:
            lock = try_lock(incoming / "lock")
        except OSError:
            incoming.rmdir()
            raise
    try:
        yield incoming
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_leftovers(base: Path) -> None:
    """Remove the folders of publishers that are dead, and what was left of a removal.

    A dead publisher is one whose lock nobody holds.
    """
    for removed in base.glob(f"{_REMOVED}*"):
        shutil.rmtree(removed, ignore_errors=True)
    for incoming in base.glob(f"{_INCOMING}*"):
        lock = try_lock(incoming / "lock")
        if lock is not None:
            shutil.rmtree(incoming, ignore_errors=True)
            os.close(lock)


def _take_number(version: Path, base: Path) -> int:
    """Rename a whole version to the number above all numbers, and make that durable."""
    with locked(base / _PUBLISH_LOCK) as lock:
        number = 1 + highest_ever(base)
        if number > _HIGHEST_VERSION:
            raise PublishFailed(f"{base}: version {number - 1} is the highest that there can be")
        version.rename(base / str(number))
        sync(base)
        # A full disk does not take the number, nor does it have to: while the version is there its
        # folder tells it, and `remove` writes it before the folder goes.
        with suppress(OSError):
            _remember(lock, number)
    return number


def _copy_durably(source: Path, target: Path) -> None:
    """Copy a tree of files and have the disk confirm each. Links are followed."""
    target.mkdir()
    for entry in sorted(source.iterdir()):
        copy = target / entry.name
        if entry.is_dir():
            _copy_durably(entry, copy)
        else:
            shutil.copyfile(entry, copy)
            sync(copy)
    sync(target)
