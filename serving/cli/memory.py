"""Available memory, and the memory for the rows of a fit."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: What TensorFlow and its compiled kernels take, whatever the rows are; measured.
BASE_BYTES: Final = 700 * 10**6

#: Where there is no limit, a control group of version 1 has a number near 2^63.
_NO_LIMIT: Final = 2**60

_GROUPS: Final = Path("/proc/self/cgroup")
_MOUNT: Final = Path("/sys/fs/cgroup")


def memory_left(groups: Path = _GROUPS, mount: Path = _MOUNT, machine: int | None = None) -> int:
    """Bytes that the machine and each control group leave to this process.

    Args:
        groups: the file that names the control groups of the process.
        mount: where they are mounted, of version 1 or 2.
        machine: what the machine leaves; found out where it is not given.
    """
    left = [_left_on_machine() if machine is None else machine]
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            left += _left_in(mount, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            left += _left_in(mount / "memory", path, *names)
    return max(0, min(left))


def rows_in_memory(rows: int, features: int, *, is_wide: bool, is_cosine: bool) -> int:
    """Bytes for a fit with this number of rows in memory, in addition to ``BASE_BYTES``.

    The rows as they are read, float64 where ``is_wide``; as the model takes them, float32; for
    cosine distance a copy of these at length 1; and what is known of each. Measured on 2,000,000
    rows of 16 features and 500,000 of 64, and rounded up.
    """
    copies = 4.5 if is_wide else 2.25
    return int(4 * rows * features * (copies + 1.25 * is_cosine)) + 32 * rows


def _left_in(
    mount: Path, path: str, limit_file: str, usage_file: str, cache_key: str
) -> Iterator[int]:
    """The free memory of a control group and of each group above it that has a limit.

    In a container, its own group is the mount, whatever its path is outside.
    """
    place = mount / path.lstrip("/")
    for folder in [place, *place.parents]:
        if not folder.is_relative_to(mount):
            return
        try:
            limit = (folder / limit_file).read_text().strip()
            used = int((folder / usage_file).read_text())
            known = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit != "max" and int(limit) < _NO_LIMIT:
            # Pages of files that nobody has used for a while are given back when there is need.
            yield int(limit) - used + int(known.get(cache_key, 0))


def _left_on_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        return int(values["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
