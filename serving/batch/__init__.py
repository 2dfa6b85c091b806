"""Offline scoring: tables of rows in files, a model, and what it says of each row.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no TensorFlow and no pyarrow do not wait for them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
