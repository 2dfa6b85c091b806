"""The versions that lie under a base path, and those of them that a policy wants served."""

import re
from pathlib import Path
from typing import Any

#: A version folder's name. Anything else (``.incoming-x``, ``7.partial``) is not a version.
_VERSION = re.compile(r"[0-9]+", re.ASCII)
_MAX_VERSION = 2**63 - 1


def version_directories(base_path: Path) -> dict[int, Path]:
    """The version folders under ``base_path``, by number.

    Two spellings of one number (``1`` and ``0001``) are one version: the last in order of name, as
    ``export.repository`` takes it too.

    Raises:
        OSError: the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    for path in sorted(base_path.iterdir()):
        if _VERSION.fullmatch(path.name):
            number = int(path.name)
            if number <= _MAX_VERSION:
                found[number] = path
    return found


def wanted_versions(policy: Any, present: dict[int, Path]) -> dict[int, Path]:
    """Those of the present versions that a ServableVersionPolicy wants; none set is latest 1."""
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = sorted(present)
        case "specific":
            chosen = sorted(set(policy.specific.versions) & set(present))
        case _:
            # 0 is the unset value of the message, and TF Serving takes it as 1.
            number = policy.latest.num_versions or 1
            chosen = sorted(present)[-number:]
    return {version: present[version] for version in chosen}
