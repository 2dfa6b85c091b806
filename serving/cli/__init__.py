"""The command line, ``tfkmeans``: one file per command. Imports no TensorFlow and no pyarrow."""

from .application import main

__all__ = ["main"]
