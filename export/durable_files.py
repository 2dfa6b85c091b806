"""Files that are on the disk when a function returns, and locks between processes."""

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync_file(path: Path) -> None:
    """Have the disk confirm a file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the disk confirm the entries of a folder, where its file system can.

    Some, as FUSE and CIFS, refuse it. The entry that has just been made is there all the same, and
    an error would say that it is not.
    """
    with suppress(OSError):
        sync_file(folder)


def sync_tree(folder: Path) -> None:
    """Have the disk confirm all that is in a folder, and the folder. Raises OSError."""
    for entry in folder.iterdir():
        (sync_tree if entry.is_dir() else sync_file)(entry)
    sync_folder(folder)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a tree of files; links are followed. Raises OSError at the first that fails."""
    target.mkdir()
    for entry in sorted(source.iterdir()):
        (copy_tree if entry.is_dir() else shutil.copyfile)(entry, target / entry.name)


def make_folders(folder: Path) -> None:
    """Make a folder and what is missing above it, each of them durably. Raises OSError."""
    if not folder.is_dir():
        make_folders(folder.absolute().parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.absolute().parent)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it; of a link, the link alone. Raises OSError."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file: whoever reads it finds the old text or the new one.

    A link stays, and the file that it leads to is replaced. Mode and owner stay, as far as the file
    system lets this user give them. Raises OSError.
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
    """Give a file the owner, the group, the mode and the attributes of another one."""
    there = source.stat()
    for owner in (there.st_uid, -1):  # a user may give a file to a group, and rarely to an owner
        try:
            os.chown(target, owner, there.st_gid)
        except OSError:
            continue
        break
    with suppress(OSError):
        shutil.copystat(source, target)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, after one that a crash left without an end.

    Raises OSError; the file is then what it was.
    """
    descriptor = _open_shared(path)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        start = "\n" if is_torn else ""
        rest = f"{start}{line}\n".encode()
        while rest:  # a disk that gets full takes a part, and says so the next time
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
    """A descriptor of a file, which is made, to be written by all who may write to its folder.

    The umask of the first user would keep a second one of the same group out. Raises OSError.
    """
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    folder = path.absolute().parent.stat()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:  # somebody else has just made it
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    with suppress(OSError):
        os.fchown(descriptor, -1, folder.st_gid)
    with suppress(OSError):
        mode = os.fstat(descriptor).st_mode | (folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        os.fchmod(descriptor, stat.S_IMODE(mode))
    return descriptor


@contextmanager
def lock_file(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the lock of a file, which is made; gives its descriptor.

    ``on_wait`` is called when somebody else holds it. Raises OSError.
    """
    descriptor = _open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return _open_shared(path)
    except PermissionError:
        # Made by another user before locks were shared: a lock needs no more than to be read.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when somebody else does."""
    try:
        descriptor = _open_lock(path)
    except FileNotFoundError:  # its publisher has just removed the folder
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def explain(error: OSError) -> str:
    """What an OSError means, where it happened, and the mend."""
    mends = {
        "free some space": (errno.ENOSPC, errno.EDQUOT),
        "give a writable folder": (errno.EROFS, errno.EACCES, errno.EPERM),
        "a file has that name; give another folder": (errno.EEXIST, errno.ENOTDIR),
        "the file is mounted alone; mount its folder": (errno.EBUSY,),
        "another program has taken the number; repeat the command": (errno.ENOTEMPTY,),
    }
    file = error.filename2 or error.filename  # of a copy, the one that is written
    where = f" ({file})" if file else ""
    mend = [f"; {mend}" for mend, codes in mends.items() if error.errno in codes]
    return f"{error.strerror or error}{where}{''.join(mend)}"
