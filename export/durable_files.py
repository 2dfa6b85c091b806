"""Files that are on the disk when a function returns, and locks between processes."""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Have the disk confirm a file, or the entries of a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Have the disk confirm all that is in a folder, and the folder. Raises OSError."""
    for entry in folder.iterdir():
        (sync_tree if entry.is_dir() else sync)(entry)
    sync(folder)


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
        sync(folder.absolute().parent)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file: whoever reads it finds the old text or the new one. Raises OSError."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.absolute().parent)
    finally:
        partial.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, after one that a crash left without an end.

    Raises OSError; the file is then what it was.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
        sync(path.absolute().parent)


@contextmanager
def lock_file(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold the lock of a file, which is made; gives its descriptor.

    ``on_wait`` is called when somebody else holds it. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None when somebody else does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
        "name a folder that can be written to": (errno.EROFS, errno.EACCES, errno.EPERM),
        "a file is in the way: name another folder": (errno.EEXIST, errno.ENOTDIR),
        "something else has taken the number meanwhile: do it again": (errno.ENOTEMPTY,),
    }
    file = error.filename2 or error.filename  # of a copy, the one that is written
    where = f" ({file})" if file else ""
    mend = [f"; {mend}" for mend, codes in mends.items() if error.errno in codes]
    return f"{error.strerror or error}{where}{''.join(mend)}"
