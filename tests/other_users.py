"""Tests that act as another user."""

import stat
import tempfile
from pathlib import Path


def let_others_pass(folder: Path) -> None:
    """Let other users through to a folder of a test: pytest's are for their owner alone."""
    root = Path(tempfile.gettempdir())
    for each in (folder, *folder.parents):
        if each != root and each.is_relative_to(root):
            each.chmod(each.stat().st_mode | stat.S_IXOTH)
