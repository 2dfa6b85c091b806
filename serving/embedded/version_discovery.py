"""The versions that lie under a base path, and those of them that a policy wants served.

A base path is whatever ``tf.io.gfile`` reaches: a folder, or an address in an object store.
"""

import posixpath
import re
from typing import Any

import tensorflow as tf

#: A version folder's name. Anything else (``.incoming-x``, ``7.partial``) is not a version.
_VERSION = re.compile(r"[0-9]+", re.ASCII)
_MAX_VERSION = 2**63 - 1


def version_directories(base_path: str) -> dict[int, str]:
    """The version folders under ``base_path``, by number.

    Two spellings of one number (``1`` and ``0001``) are one version: the last in order of name, as
    ``export.repository`` takes it too.

    Raises:
        OSError: the base path cannot be listed.
    """
    try:
        # An object store gives the name of a folder with a slash.
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
