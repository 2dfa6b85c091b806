"""TensorFlow as ``tf``, imported without its informational messages.

All modules of this package import it from here, so the first import is quiet in any order, for
example when a model is unpickled.
"""

from .quiet_import import quiet_start

with quiet_start():
    import tensorflow as tf

__all__ = ["tf"]
