"""TensorFlow as ``tf``, imported without its news: what all modules of this package import.

So it is quiet whichever of them Python imports first, as where a model is unpickled.
"""

from .quiet_import import quiet_start

with quiet_start():
    import tensorflow as tf

__all__ = ["tf"]
