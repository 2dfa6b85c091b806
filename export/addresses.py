"""Addresses of ``tf.io.gfile``, and the names of models.

Imports TensorFlow only to read from such an address.
"""

import os
import re
from pathlib import Path
from typing import Final

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]*://")


def is_address(place: str | Path) -> bool:
    """Whether a place is an address, such as ``gs://bucket/models``, and not a path."""
    return _ADDRESS.match(str(place)) is not None


def model_name(base: str | Path) -> str:
    """Return the served name of a model: that of its folder."""
    if is_address(base):
        return str(base).rstrip("/").rpartition("/")[2]
    return os.path.basename(os.path.realpath(base))


def is_name(text: str) -> bool:
    """Whether a client can request a model or a label with this name.

    The name is sent as UTF-8 in a path, which the server splits at ``/`` and ``:``.
    """
    return text.strip() not in ("", ".", "..") and text.isprintable() and not {"/", ":"} & {*text}


def as_named(folder: Path) -> Path:
    """Return the absolute path of a folder, with the symbolic links in the user's path.

    If a link is moved to a new target, as by git-sync, the path of the link stays valid, but not
    that of the target.
    """
    here = Path(os.environ.get("PWD", ""))  # a shell keeps the path with its links in it
    is_here = here.is_absolute() and here.exists() and here.samefile(Path.cwd())
    named = (here if is_here else Path.cwd()) / folder
    plain = Path(os.path.normpath(named))
    # Removing `..` after a link may change the target of a path.
    target = os.path.realpath(named)
    return plain if os.path.realpath(plain) == target else Path(target)


def read_text(place: str | Path) -> str:
    """Read the text of a file, in UTF-8. Raises OSError, UnicodeDecodeError."""
    if not is_address(place):
        return Path(place).read_text(encoding="utf-8")
    from kmeans_module.quiet_tensorflow import tf

    try:
        with tf.io.gfile.GFile(str(place)) as file:
            return str(file.read())
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from None
    except tf.errors.OpError as error:
        raise OSError(error.message) from None
