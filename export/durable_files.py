"""Durable file operations, and locks between processes."""

import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

#: Seconds between two attempts to take a lock.
_LOCK_INTERVAL: Final = 0.05


def sync_file(path: Path) -> None:
    """Synchronise a file to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Synchronise the entries of a folder to disk, if its file system supports this.

    Some, such as FUSE and CIFS, do not. The new entry exists anyway, so this is not an error.
    """
    with suppress(OSError):
        sync_file(folder)


def sync_tree(folder: Path) -> None:
    """Synchronise a folder and all its content to disk. Raises OSError."""
    for entry in folder.iterdir():
        (sync_tree if entry.is_dir() else sync_file)(entry)
    sync_folder(folder)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree of files; links are followed. Raises OSError at the first failure."""
    target.mkdir()
    for entry in sorted(source.iterdir()):
        (copy_tree if entry.is_dir() else shutil.copyfile)(entry, target / entry.name)


def make_folders(folder: Path) -> None:
    """Create a folder and missing parents durably. Raises OSError."""
    if not folder.is_dir():
        make_folders(folder.absolute().parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.absolute().parent)


def remove_tree(path: Path) -> None:
    """Remove a folder with its content; for a link, only the link. Raises OSError."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file atomically: readers find the old text or the new text.

    A link stays, and its target is replaced. Mode and owner stay if this user has the permission.
    Raises OSError.
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            if path.exists():
                _copy_access(path, partial)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _copy_access(source: Path, target: Path) -> None:
    """Copy the owner, the group, the mode and the attributes of a file to another one."""
    there = source.stat()
    for owner in (there.st_uid, -1):  # a user may change the group of a file, but rarely the owner
        try:
            os.chown(target, owner, there.st_gid)
        except OSError:
            continue
        break
    with suppress(OSError):
        shutil.copystat(source, target)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, also after a line that a crash left without an end.

    Raises OSError; the file is then unchanged.
    """
    descriptor = _open_shared(path)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        start = "\n" if is_torn else ""
        rest = f"{start}{line}\n".encode()
        while rest:  # a full disk accepts a part, and reports the error at the next write
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        if size == 0:
            path.unlink()
        raise
    finally:
        os.close(descriptor)
    if size == 0:
        sync_folder(path.absolute().parent)


def _open_shared(path: Path) -> int:
    """Open or create a file that is writable for all who can write to its folder.

    The umask of the first user would exclude other users of the same group. Raises OSError.
    """
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    folder = path.absolute().parent.stat()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:  # another process has just created it
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    with suppress(OSError):
        os.fchown(descriptor, -1, folder.st_gid)
    with suppress(OSError):
        mode = os.fstat(descriptor).st_mode | (folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        os.fchmod(descriptor, stat.S_IMODE(mode))
    return descriptor


@contextmanager
def lock_file(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the lock of a file, created if absent; yield its descriptor.

    ``on_wait`` is called if another process holds it. Raises OSError.
    """
    descriptor = _open_lock(path)
    try:
        if not _take_lock(descriptor):
            on_wait()
            while not _take_lock(descriptor):
                # A signal does not always end a call that waits for the lock (`signal_waits`).
                time.sleep(_LOCK_INTERVAL)
        yield descriptor
    finally:
        os.close(descriptor)


def _take_lock(descriptor: int) -> bool:
    """Take the lock of a file; False if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_lock(path: Path) -> int:
    try:
        return _open_shared(path)
    except PermissionError:
        # Created by another user before locks were shared: a lock only needs read permission.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def try_lock(path: Path) -> int | None:
    """Return a descriptor that holds the lock, or None if another process holds it."""
    try:
        descriptor = _open_lock(path)
    except FileNotFoundError:  # its publisher has just removed the folder
        return None
    if not _take_lock(descriptor):
        os.close(descriptor)
        return None
    return descriptor


def explain(error: OSError) -> str:
    """Describe an OSError: its meaning, the place and the correction."""
    mends = {
        "free some space": (errno.ENOSPC, errno.EDQUOT),
        "give a writable folder": (errno.EROFS, errno.EACCES, errno.EPERM),
        "a file has that name; give another folder": (errno.EEXIST, errno.ENOTDIR),
        "the file is mounted alone; mount its folder": (errno.EBUSY,),
        "another program has taken the number; repeat the command": (errno.ENOTEMPTY,),
    }
    file = error.filename2 or error.filename  # for a copy, the written file
    where = f" ({file})" if file else ""
    mend = [f"; {mend}" for mend, codes in mends.items() if error.errno in codes]
    return f"{error.strerror or error}{where}{''.join(mend)}"
