"""Places that only ``tf.io.gfile`` reaches, and what a model is called by its place.

Imports TensorFlow only to read from such a place.
"""

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
    return Path(base).absolute().resolve().name


def read_text(place: str | Path) -> str:
    """The text of a file, in UTF-8. Raises OSError, UnicodeDecodeError."""
    if not is_address(place):
        return Path(place).read_text(encoding="utf-8")
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(str(place)) as file:
            return str(file.read())
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from None
    except tf.errors.OpError as error:
        raise OSError(error.message) from None
