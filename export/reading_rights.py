"""Check that a server of another user can read written files. Does not import TensorFlow."""

import stat
from collections.abc import Iterable
from pathlib import Path


def find_unreadable(places: Iterable[Path]) -> Path | None:
    """Return the first of these files and folders that others cannot read, or None.

    Others are all users; in a folder with setgid, the users of its group. Raises OSError.
    """
    return next((place for place in places if not _is_readable(place)), None)


def _is_readable(place: Path) -> bool:
    mode = place.stat().st_mode
    is_folder = stat.S_ISDIR(mode)
    for_all = stat.S_IROTH | (stat.S_IXOTH if is_folder else 0)
    for_group = stat.S_IRGRP | (stat.S_IXGRP if is_folder else 0)
    folder = place if is_folder else place.parent
    has_group = bool(folder.stat().st_mode & stat.S_ISGID)
    return mode & for_all == for_all or (has_group and mode & for_group == for_group)
