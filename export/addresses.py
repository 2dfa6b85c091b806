"""Places that only ``tf.io.gfile`` reaches, and what a model is called by its place.

Imports TensorFlow only to read from such a place.
"""

import os
import re
from pathlib import Path
from typing import Final

_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]*://")


def is_address(place: str | Path) -> bool:
    """Whether a place is an address, as ``gs://bucket/models``, and no path."""
    return _ADDRESS.match(str(place)) is not None


def model_name(base: str | Path) -> str:
    """The name that a model is served under: that of its folder."""
    if is_address(base):
        return str(base).rstrip("/").rpartition("/")[2]
    return os.path.basename(os.path.realpath(base))


def is_name(text: str) -> bool:
    """Whether a client can ask for a model or a label of this name.

    It is sent as UTF-8 and as a part of a path; the server parts a path at ``/`` and ``:``.
    """
    return text.strip() not in ("", ".", "..") and text.isprintable() and not {"/", ":"} & {*text}


def as_named(folder: Path) -> Path:
    """The absolute path of a folder, with the links by which the user has named it.

    A link such as those of git-sync is moved to a new target, and its path stays right; that of the
    target does not.
    """
    here = Path(os.environ.get("PWD", ""))  # a shell keeps in it by which links it has come here
    is_here = here.is_absolute() and here.exists() and here.samefile(Path.cwd())
    named = (here if is_here else Path.cwd()) / folder
    plain = Path(os.path.normpath(named))
    # Without its `..` a path may lead elsewhere, where a link stands before them.
    target = os.path.realpath(named)
    return plain if os.path.realpath(plain) == target else Path(target)


def read_text(place: str | Path) -> str:
    """The text of a file, in UTF-8. Raises OSError, UnicodeDecodeError."""
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
