"""The versions under a base path, and the selection of a version policy.

A base path is any path of ``tf.io.gfile``: a folder, or an address in an object store.
"""

import posixpath
import re
from typing import Any

import tensorflow as tf

#: The name of a version folder. Other names (``.incoming-x``, ``7.partial``) are not versions.
_VERSION = re.compile(r"[0-9]+", re.ASCII)
_MAX_VERSION = 2**63 - 1


def version_directories(base_path: str) -> dict[int, str]:
    """Return the version folders under ``base_path``, by number.

    Two spellings of a number (``1`` and ``0001``) are one version: the last in order of name, as in
    ``export.repository``.

    Raises:
        OSError: the base path cannot be listed.
    """
    try:
        # An object store lists folder names with a slash.
        names = sorted(name.rstrip("/") for name in tf.io.gfile.listdir(base_path))
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    found: dict[int, str] = {}
    for name in names:
        if _VERSION.fullmatch(name):
            number = int(name)
            if number <= _MAX_VERSION:
                found[number] = posixpath.join(base_path, name)
    return found


def select_versions(policy: Any, present: dict[int, str]) -> dict[int, str]:
    """Return the present versions that a ServableVersionPolicy selects; by default the latest."""
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = sorted(present)
        case "specific":
            chosen = sorted(set(policy.specific.versions) & set(present))
        case _:
            # 0 is the unset value of the message, which TF Serving treats as 1.
            number = policy.latest.num_versions or 1
            chosen = sorted(present)[-number:]
    return {version: present[version] for version in chosen}
