"""Export a fitted module to a directory that TensorFlow Serving loads, and publish it atomically.

The public names are those of ``__init__.pyi``; each is imported at its first use, so that code
without TensorFlow does not import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
