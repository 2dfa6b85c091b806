"""Where the versions of a model lie: in a folder, or at an address that ``tf.io.gfile`` reaches.

Imports no TensorFlow for a folder.
"""

import os
import posixpath
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from . import label_history, models_config
from .addresses import is_address, model_name
from .durable_files import locked, make_folders, sync, sync_tree, try_lock, why
from .errors import ExportError, HistoryNotWritten, NotAModel, PublishFailed
from .label_history import Move
from .models_config import STABLE, Entry
from .repository import (
    SAVED_MODEL,
    choose_version,
    config_entry,
    entries,
    live_version,
    number_above,
    numbered,
    version_directory,
    version_number,
)

_PUBLISH_LOCK: Final = ".publish.lock"
_INCOMING: Final = ".incoming-"
_REMOVED: Final = ".removed-"

#: What is left of ``gs://bucket`` once it has been a Path.
_PATH_OF_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]+:/[^/]")


class Storage(Protocol):
    """The place of a model, as publishing and loading see it.

    The methods raise PublishFailed for what the place does not allow, and ``errors`` for what
    breaks on the way, which ``reason`` puts into words.
    """

    errors: tuple[type[Exception], ...]

    def reason(self, error: Exception) -> str:
        """In one line, what broke."""

    def check(self, candidate: Path | None) -> None:
        """Find out before the work what keeps a version from being published; changes nothing."""

    def check_writable(self) -> None:
        """Find out what making folders and files would, where that can be had without making any.

        For a dry run.
        """

    def next_number(self) -> int:
        """The number that the next version gets when nobody else publishes meanwhile."""

    def version_directory(self, version: int | None) -> str | Path:
        """The place of a version, by default of the live one. Raises NotAModel, VersionNotFound."""

    def live_version(self) -> AbstractContextManager[Path | None]:
        """The live version, where a process of its own can load it; None when there is none."""

    def staging(self) -> AbstractContextManager[Path]:
        """Where the next version is to be written; it goes when the block ends."""

    def commit(self, version: Path) -> int:
        """Make the version in the staging folder one of the model; gives its number."""

    def enter(self, number: int) -> None:
        """Make a model's first version live."""


def open_storage(
    base: str | Path,
    *,
    served_at: str | None = None,
    tell: Callable[[str], None] = lambda _said: None,
) -> Storage:
    """The storage that ``base`` is in: an address is given as a string, for a Path loses a slash.

    Args:
      base: the folder or the address of the model.
      served_at: the folder of the model as a server sees it, for ``models.config``.
      tell: is told that somebody else is being waited for.

    Raises NotAModel for an address that was a Path.
    """
    if is_address(base):
        return GFileStorage(str(base), served_at)
    if _PATH_OF_ADDRESS.match(str(base)):
        raise NotAModel(f"{base}: lacks a slash of an address; give it as a string, gs://...")
    return LocalStorage(Path(base), served_at, tell)


class LocalStorage:
    """A folder: a version appears whole or not at all, and many may publish at once.

    A version is made beside the versions, in a folder whose name is no number and which servers
    therefore pass over, and renamed when all is validated and the disk has confirmed it::

        models/customers/1/                     a version, never changed again
        models/customers/.publish.lock          held while a number is taken; holds the highest ever
        models/customers/.incoming-3f0a/lock    held by its publisher for as long as that lives
        models/customers/.incoming-3f0a/version what will be the next version

    A publisher that dies leaves its ``.incoming`` folder; the lock in it is free then, which is how
    the next publisher knows to remove it. What is pruned is renamed to ``.removed-...`` first, so
    that nobody sees half of it. The number of a version is never given again. The first version is
    entered in ``models.config`` as ``stable``. The file system has to know flock and an atomic
    rename, so that NFS and the like promise what they have of these.
    """

    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(
        self,
        base: Path,
        served_at: str | None = None,
        tell: Callable[[str], None] = lambda _said: None,
    ) -> None:
        self._base = base
        self._served_at = served_at
        self._tell = tell

    def reason(self, error: Exception) -> str:
        return why(error) if isinstance(error, OSError) else str(error)

    def check(self, candidate: Path | None) -> None:
        base = self._base
        if base.exists() and not base.is_dir():
            raise PublishFailed(f"{base}: is a file; name a folder")
        if (base / SAVED_MODEL).exists():
            raise PublishFailed(f"{base}: is a version; name the folder of a model")
        if candidate is not None:
            inside = base.absolute().resolve().is_relative_to(candidate.absolute().resolve())
            if inside:
                raise PublishFailed(
                    f"{base}: lies inside of the candidate {candidate}; name another"
                )
        if self._served_at is not None:
            models_config.base_path(base, self._served_at, config_entry(base))

    def check_writable(self) -> None:
        base = self._base
        there = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PublishFailed(
                f"{base}: cannot publish: {there} cannot be written to; name a folder that can be"
            )

    def next_number(self) -> int:
        return number_above(self._highest_ever() if self._base.is_dir() else 0, self._base)

    def version_directory(self, version: int | None) -> Path:
        return version_directory(
            self._base, live_version(self._base) if version is None else version
        )

    @contextmanager
    def live_version(self) -> Iterator[Path | None]:
        live = live_version(self._base) if self._base.is_dir() else None
        yield None if live is None else dict(entries(self._base)).get(live)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        base = self._base
        make_folders(base)
        with models_config.edit_lock(base, self._tell):  # before the work: can it be edited at all?
            config_entry(base)
        incoming = base / f"{_INCOMING}{secrets.token_hex(4)}"
        # Under the lock of the base, or a cleaner could find the folder before its lock is held.
        with locked(base / _PUBLISH_LOCK):
            self._remove_leftovers()
            incoming.mkdir()
            try:
                lock = try_lock(incoming / "lock")
            except OSError:
                incoming.rmdir()
                raise
        try:
            yield incoming / "version"
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
            if lock is not None:
                os.close(lock)

    def commit(self, version: Path) -> int:
        sync_tree(version)
        with locked(self._base / _PUBLISH_LOCK) as lock:
            number = self.next_number()
            version.rename(self._base / str(number))
            sync(self._base)
            # A full disk does not take the number, nor does it have to: while the version is there
            # its folder tells it, and `remove` writes it before the folder goes.
            with suppress(OSError):
                _remember(lock, number)
        return number

    def enter(self, number: int) -> None:
        base = self._base
        try:
            with models_config.edit_lock(base, self._tell) as path:
                text = models_config.read_text(path)
                name = model_name(base)
                if models_config.entry(text, name, origin=path) is not None:
                    return
                folder = models_config.base_path(base, self._served_at, None)
                entry = Entry(folder, (number,), {STABLE: number})
                models_config.write(path, models_config.with_entry(text, name, entry))
                label_history.append(base, Move(STABLE, None, number, "publish"))
        except HistoryNotWritten as error:
            raise PublishFailed(
                f"{base}: version {number} is published and entered in "
                f"{models_config.CONFIG_FILE}; {error}"
            ) from error
        except (ExportError, OSError) as error:
            raise PublishFailed(
                f"{base}: version {number} is published, but not entered in "
                f"{models_config.CONFIG_FILE}: {self.reason(error)}; mend that, then: "
                f"tfkmeans promote {base} {number}"
            ) from error

    def remove(self, version: int) -> None:
        """Remove a version, whole or not at all.

        Whoever calls has seen to it that no label is on it. Raises PublishFailed, VersionNotFound.
        """
        base = self._base
        directory = version_directory(base, version)
        try:
            with locked(base / _PUBLISH_LOCK) as lock:
                _remember(lock, self._highest_ever())
                removed = base / f"{_REMOVED}{secrets.token_hex(4)}"
                directory.rename(removed)
                sync(base)
            shutil.rmtree(removed)
        except OSError as error:
            raise PublishFailed(f"{base}: cannot remove version {version}: {why(error)}") from error

    def _highest_ever(self) -> int:
        """The highest number that a version of the model has or had; 0 when there was none."""
        try:
            remembered = int((self._base / _PUBLISH_LOCK).read_text(encoding="ascii") or 0)
        except (FileNotFoundError, ValueError):
            remembered = 0
        return max([remembered, *(number for number, _ in entries(self._base))])

    def _remove_leftovers(self) -> None:
        """Remove the folders of publishers that are dead, and what was left of a removal.

        A dead publisher is one whose lock nobody holds.
        """
        for removed in self._base.glob(f"{_REMOVED}*"):
            shutil.rmtree(removed, ignore_errors=True)
        for incoming in self._base.glob(f"{_INCOMING}*"):
            lock = try_lock(incoming / "lock")
            if lock is not None:
                shutil.rmtree(incoming, ignore_errors=True)
                os.close(lock)


def _remember(lock: int, number: int) -> None:
    """Write the highest number into the lock's file: it only grows, so it is never torn."""
    os.pwrite(lock, f"{number}\n".encode(), 0)
    os.fsync(lock)


class GFileStorage:
    """An address that ``tf.io.gfile`` reaches: ``gs://``, ``s3://``, ``ram://``, ``file://``.

    Less is promised than of a folder, for such a store has no rename, no lock and no fsync:

    - one publisher at a time: two at once may take the same number;
    - ``saved_model.pb`` is written last, so that a server that looks meanwhile finds no model;
    - a version is as durable as the store makes its files;
    - the number of the highest version is given again once its folder is removed;
    - there is no ``models.config`` and no label: the live version is the highest.

    While version 3 is being written, the file ``.incoming-3`` lies beside it: by that the next
    publisher knows what one that died has left, and removes it.
    """

    def __init__(self, base: str, served_at: str | None = None) -> None:
        import tensorflow as tf

        self.errors: tuple[type[Exception], ...] = (tf.errors.OpError, OSError)
        self._gfile = tf.io.gfile
        self._base = base.rstrip("/")  # to a store, m//1 is another place than m/1
        self._served_at = served_at

    def reason(self, error: Exception) -> str:
        return " ".join(str(error).split())

    def check(self, candidate: Path | None) -> None:
        if self._served_at is not None:
            raise PublishFailed(
                f"served_at {self._served_at}: no {models_config.CONFIG_FILE} is written beside "
                f"{self._base}; leave it out"
            )

    def check_writable(self) -> None:
        """A store says so only when it is written to."""

    def next_number(self) -> int:
        """Above all numbers that are taken, by whole versions and by whatever else."""
        return number_above(
            max((number for number, _ in numbered(self._names())), default=0), self._base
        )

    def version_directory(self, version: int | None) -> str:
        return choose_version(self._base, self._versions(), version)

    @contextmanager
    def live_version(self) -> Iterator[Path | None]:
        there = self._versions()
        if not there:
            yield None
            return
        # Compared where it can be loaded by a process of its own: ram:// is this one's.
        with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
            live = Path(scratch, str(max(there)))
            self._copy(there[max(there)], str(live))
            yield live

    @contextmanager
    def staging(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
            yield Path(scratch, "version")

    def commit(self, version: Path) -> int:
        number = self.next_number()
        self._remove_leftovers()
        marker = f"{self._base}/{_INCOMING}{number}"
        self._gfile.makedirs(self._base)
        with self._gfile.GFile(marker, "w") as file:
            file.write("tfkmeans is writing this version, or died of it\n")
        self._copy(str(version), f"{self._base}/{number}")
        # The version is whole: a mark that does not go now is removed by the next publisher.
        with suppress(*self.errors):
            self._gfile.remove(marker)
        return number

    def enter(self, number: int) -> None:
        """The highest version is live."""

    def _names(self) -> list[str]:
        if not self._gfile.isdir(self._base):
            return []
        return [name.rstrip("/") for name in self._gfile.listdir(self._base)]

    def _versions(self) -> dict[int, str]:
        places = {number: f"{self._base}/{name}" for number, name in numbered(self._names())}
        return {
            number: place
            for number, place in places.items()
            if self._gfile.exists(f"{place}/{SAVED_MODEL}")
        }

    def _remove_leftovers(self) -> None:
        """Remove what publishers that died have left, and nothing that others put there."""
        for name in self._names():
            number = name.removeprefix(_INCOMING)
            if name == number or version_number(number) is None:
                continue
            left = f"{self._base}/{number}"
            if self._gfile.isdir(left) and not self._gfile.exists(f"{left}/{SAVED_MODEL}"):
                self._gfile.rmtree(left)
            self._gfile.remove(f"{self._base}/{name}")

    def _copy(self, source: str, target: str) -> None:
        """Copy a tree; ``saved_model.pb`` comes last."""
        last: list[tuple[str, str]] = []
        for folder, _, files in self._gfile.walk(source):
            inside = folder[len(source) :].strip("/")
            if not files:  # a store has no empty folders, and ram:// takes them for files
                continue
            self._gfile.makedirs(posixpath.join(target, inside).rstrip("/"))
            for name in files:
                pair = (posixpath.join(folder, name), posixpath.join(target, inside, name))
                if name == SAVED_MODEL:
                    last.append(pair)
                else:
                    self._gfile.copy(*pair)
        for pair in last:
            self._gfile.copy(*pair)
