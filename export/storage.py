"""The storage of the versions of a model: a folder, or an address of ``tf.io.gfile``.

Imports no TensorFlow for a folder.
"""

import os
import posixpath
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Final, Protocol

from . import label_history, repository
from .addresses import is_address, is_name, model_name
from .durable_files import (
    explain,
    lock_file,
    make_folders,
    remove_tree,
    sync_folder,
    sync_tree,
    try_lock,
)
from .errors import ExportError, HistoryNotWritten, NotAModel, PublishFailed, VersionNotFound
from .label_history import Move
from .models_config import CONFIG_FILE, STABLE, Entry, ModelsConfig, edit_lock
from .reading_rights import find_unreadable
from .repository import HIGHEST_VERSION, SAVED_MODEL

_PUBLISH_LOCK: Final = ".publish.lock"
_INCOMING: Final = ".incoming-"
_REMOVED: Final = ".removed-"

#: What is left of ``gs://bucket`` once it has been a Path.
_PATH_OF_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]+:/[^/]")


class Storage(Protocol):
    """The place of a model: raises PublishFailed where it refuses, ``errors`` where it fails."""

    errors: tuple[type[Exception], ...] = (OSError,)
    base: str | Path

    def check(self, candidate: Path | None) -> None:
        """Check before the work that a version can be published; change nothing."""

    def check_writable(self) -> None:
        """For a dry run: check that files could be written, without an attempt."""
        return

    def next_number(self) -> int:
        """The number of the next version, if no other process publishes meanwhile."""
        highest = self._highest_number()
        if highest >= HIGHEST_VERSION:
            raise PublishFailed(f"{self.base}: version {highest} is the highest possible number")
        return highest + 1

    def _highest_number(self) -> int:
        """The highest number in use; 0 if there is none."""

    def version_directory(self, version: int | None, label: str | None = None) -> str | Path:
        """The place of a version, by default of the live one.

        Raises NotAModel, VersionNotFound, InvalidModelsConfig.
        """

    def live_version(self) -> AbstractContextManager[Path | None]:
        """The live version, if a separate process can load it; else None."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield a temporary path for the next version; it is removed when the context ends."""

    def commit(self, version: Path) -> int:
        """Publish the staged version, live if it is the first; return its number."""


def open_storage(
    base: str | Path,
    *,
    served_at: str | None = None,
    served_as: str | None = None,
    tell: Callable[[str], None] = lambda _said: None,
) -> Storage:
    """Open the storage of ``base``. An address must be a string, because a Path loses a slash.

    Args:
      base: the folder or the address of the model.
      served_at: the folder of the model as a server sees it, for ``models.config``.
      served_as: the name that the model is served under, where that is not its folder's.
      tell: is told that somebody else is being waited for.

    Raises NotAModel for an address that was a Path.
    """
    if not str(base):
        raise NotAModel("the folder of the model is an empty text; give a folder")
    if is_address(base):
        return GFileStorage(str(base), served_at, served_as)
    if _PATH_OF_ADDRESS.match(str(base)):
        raise NotAModel(
            f"{base}: is an address as a Path, which loses a slash; give it as a string, gs://..."
        )
    return LocalStorage(Path(base), served_at, tell, served_as)


def explain_failure(error: Exception) -> str:
    """Describe an error of a storage in one line."""
    return explain(error) if isinstance(error, OSError) else " ".join(str(error).split())


@dataclass(frozen=True)
class LocalStorage(Storage):
    """A folder: a version appears complete or not at all, and several processes may publish.

    A version is written next to the versions, in a folder that servers ignore because its name is
    not a number. The folder is renamed after the validation, when its files are on the disk::

        models/customers/1/                     a version, never changed again
        models/customers/.publish.lock          held while a number is taken; holds the highest ever
        models/customers/.incoming-3f0a/lock    held by its publisher for as long as that lives
        models/customers/.incoming-3f0a/version what will be the next version

    A publisher that dies leaves its ``.incoming`` folder; the lock in it is free then, which is how
    the next publisher knows to remove it. What is pruned is renamed to ``.removed-...`` first, so
    that nobody sees half of it. Numbers are never reused. The first version
    is entered in ``models.config`` as ``stable``. The file system must have flock and an atomic
    rename; NFS and the like may lack one of them.
    """

    base: Path
    served_at: str | None = None
    tell: Callable[[str], None] = lambda _said: None
    served_as: str | None = None

    def check(self, candidate: Path | None) -> None:
        base = self.base
        if base.exists() and not base.is_dir():
            raise PublishFailed(f"{base}: is a file; give a folder")
        if (base / SAVED_MODEL).exists():
            raise PublishFailed(f"{base}: is a version; give the folder of a model")
        _check_name(base, self.served_as)
        if candidate is not None and Path(os.path.realpath(base)).is_relative_to(
            os.path.realpath(candidate)
        ):
            raise PublishFailed(f"{base}: is inside the candidate {candidate}; give another folder")
        if (self.served_at, self.served_as) != (None, None):
            ModelsConfig.read(base, self.served_as).entry_at(self.served_at)

    def check_writable(self) -> None:
        base = self.base
        there = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PublishFailed(
                f"{base}: cannot publish: {there} is not writable; give a writable folder"
            )

    def version_directory(self, version: int | None, label: str | None = None) -> Path:
        return repository.version_directory(self.base, version, label=label)

    @contextmanager
    def live_version(self) -> Iterator[Path | None]:
        is_there = self.base.is_dir()
        live = repository.live_version(self.base, name=self.served_as) if is_there else None
        yield None if live is None else dict(repository.entries(self.base)).get(live)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        base = self.base
        make_folders(base)
        # Before the work: can it be edited at all?
        with edit_lock(base, self.tell, name=self.served_as) as config:
            _ = config.entry
        incoming = base / f"{_INCOMING}{secrets.token_hex(4)}"
        with ExitStack() as stack:
            # Under the base's lock, or a cleaner could find the folder before its lock is held.
            with lock_file(base / _PUBLISH_LOCK):
                self._remove_leftovers()
                incoming.mkdir()
                stack.callback(shutil.rmtree, incoming, ignore_errors=True)
                stack.enter_context(lock_file(incoming / "lock"))
            yield incoming / "version"

    def commit(self, version: Path) -> int:
        sync_tree(version)
        with lock_file(self.base / _PUBLISH_LOCK) as lock:
            number = self.next_number()
            version.rename(self.base / str(number))
            sync_folder(self.base)
            # A full disk does not take the number, nor does it have to: while the version is there
            # its folder tells it, and `remove` writes it before the folder goes.
            with suppress(OSError):
                _remember(lock, number)
        self._enter(number)
        self._warn_of_unreadable(self.base / str(number))
        return number

    def _warn_of_unreadable(self, version: Path) -> None:
        with suppress(OSError):  # it is published; somebody may have removed it meanwhile
            if unreadable := find_unreadable([self.base, version, *sorted(version.rglob("*"))]):
                self.tell(
                    f"warning: a server that runs as another user cannot read {unreadable}, nor "
                    f"load version {version.name}; correct it with: chmod -R a+rX {self.base}"
                )

    def _enter(self, number: int) -> None:
        """Enter a model's first version in the config."""
        base = self.base
        try:
            with edit_lock(base, self.tell, name=self.served_as) as config:
                if config.entry is None:
                    folder = config.entry_at(self.served_at).base_path
                    config.with_entry(Entry(folder, (number,), {STABLE: number})).write(self.tell)
                    label_history.append(base, Move(STABLE, None, number, "publish"))
        except HistoryNotWritten as error:
            raise PublishFailed(
                f"{base}: version {number} is published and entered in {CONFIG_FILE}; {error}"
            ) from error
        except (ExportError, OSError) as error:
            raise PublishFailed(
                f"{base}: version {number} is published, but not entered in {CONFIG_FILE}: "
                f"{explain_failure(error)}; correct that, then: tfkmeans promote {base} {number}"
            ) from error

    def remove(self, version: int) -> None:
        """Remove a version, whole or not at all.

        Whoever calls has seen to it that no label is on it. Raises PublishFailed, VersionNotFound.
        """
        base = self.base
        directory = repository.version_directory(base, version)
        try:
            with lock_file(base / _PUBLISH_LOCK) as lock:
                if not os.access(base / _PUBLISH_LOCK, os.W_OK):  # of another user, and not shared
                    raise PermissionError(EACCES, os.strerror(EACCES), str(base / _PUBLISH_LOCK))
                _remember(lock, self._highest_number())
                removed = base / f"{_REMOVED}{secrets.token_hex(4)}"
                directory.rename(removed)
                sync_folder(base)
            remove_tree(removed)
        except OSError as error:
            raise PublishFailed(
                f"{base}: cannot remove version {version}: {explain(error)}"
            ) from error

    def _highest_number(self) -> int:
        """The highest number ever used, also by a removed version."""
        if not self.base.is_dir():
            return 0
        try:
            remembered = int((self.base / _PUBLISH_LOCK).read_text(encoding="ascii") or 0)
        except (FileNotFoundError, ValueError):
            remembered = 0
        return max([remembered, *(number for number, _ in repository.entries(self.base))])

    def _remove_leftovers(self) -> None:
        """Remove the folders of dead publishers, and the rest of an interrupted removal.

        A dead publisher is one whose lock nobody holds.
        """
        for removed in self.base.glob(f"{_REMOVED}*"):
            with suppress(OSError):
                remove_tree(removed)
        for incoming in self.base.glob(f"{_INCOMING}*"):
            lock = try_lock(incoming / "lock")
            if lock is not None:
                shutil.rmtree(incoming, ignore_errors=True)
                os.close(lock)


def _check_name(base: str | Path, served_as: str | None = None) -> None:
    """Raise PublishFailed for an invalid served name."""
    name = served_as or model_name(base)
    if not is_name(name):
        raise PublishFailed(
            f"{str(base)!r}: {name!r} is not a valid model name; use printable characters without :"
        )


def _remember(lock: int, number: int) -> None:
    """Write the highest number to the lock file; the file only grows, so it stays complete."""
    os.pwrite(lock, f"{number}\n".encode(), 0)
    os.fsync(lock)


class GFileStorage(Storage):
    """An address that ``tf.io.gfile`` reaches: ``gs://``, ``s3://``, ``ram://``, ``file://``.

    Less is promised than of a folder, for such a store has no rename, no lock and no fsync:

    - one publisher at a time: two at once may take the same number;
    - ``saved_model.pb`` is written last, so that a server that looks meanwhile finds no model;
    - a version is as durable as the store makes its files;
    - the number of the highest version is reused once its folder is removed;
    - there is no ``models.config`` and no label: the live version is the highest.

    While version 3 is being written, the file ``.incoming-3`` lies beside it: by that the next
    publisher knows what one that died has left, and removes it.
    """

    def __init__(
        self, base: str, served_at: str | None = None, served_as: str | None = None
    ) -> None:
        from kmeans_module.quiet_tensorflow import tf

        self.errors = (tf.errors.OpError, OSError)
        self._gfile = tf.io.gfile
        self.base = base.rstrip("/")  # to a store, m//1 is another place than m/1
        self._for_config = {"served_at": served_at, "served_as": served_as}

    def check(self, candidate: Path | None) -> None:
        _check_name(self.base)
        for option, given in self._for_config.items():
            if given is not None:
                raise PublishFailed(
                    f"{option} {given}: {self.base} gets no {CONFIG_FILE}; leave it out"
                )

    def _highest_number(self) -> int:
        """The highest number of a folder or file, also of an incomplete version."""
        return max((number for number, _ in repository.parse_names(self._names())), default=0)

    def version_directory(self, version: int | None, label: str | None = None) -> str:
        if label is not None:
            raise VersionNotFound(
                f"{self.base}: has no label {label}, because an object store has no {CONFIG_FILE}; "
                "give the number of a version"
            )
        return repository.choose_version(self.base, self._versions(), version)

    @contextmanager
    def live_version(self) -> Iterator[Path | None]:
        # Compared where it can be loaded by a process of its own: ram:// is this one's.
        with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
            there = self._versions()
            live = Path(scratch, str(max(there))) if there else None
            if live is not None:
                self._copy(there[max(there)], str(live))
            yield live

    @contextmanager
    def staging(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="tfkmeans-") as scratch:
            yield Path(scratch, "version")

    def commit(self, version: Path) -> int:
        number = self.next_number()
        self._remove_leftovers()
        marker = f"{self.base}/{_INCOMING}{number}"
        self._gfile.makedirs(self.base)
        with self._gfile.GFile(marker, "w") as file:
            file.write("tfkmeans is writing this version, or died of it\n")
        self._copy(str(version), f"{self.base}/{number}")
        # The version is whole: a mark that does not go now is removed by the next publisher.
        with suppress(*self.errors):
            self._gfile.remove(marker)
        return number

    def _names(self) -> list[str]:
        if not self._gfile.isdir(self.base):
            return []
        return [name.rstrip("/") for name in self._gfile.listdir(self.base)]

    def _versions(self) -> dict[int, str]:
        places = {
            number: f"{self.base}/{name}" for number, name in repository.parse_names(self._names())
        }
        return {
            number: place
            for number, place in places.items()
            if self._gfile.exists(f"{place}/{SAVED_MODEL}")
        }

    def _remove_leftovers(self) -> None:
        """Remove the files of dead publishers, and no other files."""
        for name in self._names():
            number = name.removeprefix(_INCOMING)
            if name == number or repository.version_number(number) is None:
                continue
            left = f"{self.base}/{number}"
            if self._gfile.isdir(left) and not self._gfile.exists(f"{left}/{SAVED_MODEL}"):
                self._gfile.rmtree(left)
            self._gfile.remove(f"{self.base}/{name}")

    def _copy(self, source: str, target: str) -> None:
        """Copy a tree; ``saved_model.pb`` comes last."""
        files = [
            posixpath.join(folder, name)
            for folder, _, names in self._gfile.walk(source)
            for name in names
        ]
        for file in sorted(files, key=lambda file: posixpath.basename(file) == SAVED_MODEL):
            copy = target + file.removeprefix(source)
            self._gfile.makedirs(posixpath.dirname(copy))
            self._gfile.copy(file, copy)
