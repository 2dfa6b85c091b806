"""Import TensorFlow without what it says on stderr each time it is imported.

Some of it (that there is no GPU, that oneDNN is on) is written before TensorFlow reads its own log
level, so that only the file descriptor can be kept quiet.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .extras import needs_extra, require

#: TensorFlow's own variable; who sets it to 0 or 1 wants to read its messages.
LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"

_STDERR: Final = 2


def load_tensorflow(extra: str) -> None:
    """Import TensorFlow and let it find its devices. Raises MissingExtra, naming ``extra``."""
    with needs_extra(extra), _quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


def require_tensorflow(extra: str) -> None:
    """See that TensorFlow is installed, for a process of its own. Raises MissingExtra."""
    with needs_extra(extra):
        if sys.modules.get("tensorflow") is None:
            require("tensorflow")


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep what is written to stderr in the block; show it only when the block raises."""
    if os.environ.get(LOG_LEVEL) in ("0", "1"):
        yield
        return
    stderr = os.dup(_STDERR)
    with tempfile.TemporaryFile() as kept:
        try:
            os.dup2(kept.fileno(), _STDERR)
            yield
        except Exception:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, _STDERR)
            os.close(stderr)
