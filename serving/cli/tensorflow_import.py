"""Import TensorFlow for a command; its extra may be missing."""

import sys

from kmeans_module.quiet_import import program_start

from .extras import needs_extra, require


def load_tensorflow(extra: str) -> None:
    """Import TensorFlow and let it find its devices. Raises MissingExtra, naming ``extra``."""
    with needs_extra(extra), program_start():
        import kmeans_module.quiet_tensorflow  # noqa: F401


def require_tensorflow(extra: str) -> None:
    """Check that TensorFlow is installed, for a separate process. Raises MissingExtra."""
    with needs_extra(extra):
        if sys.modules.get("tensorflow") is None:
            require("tensorflow")
