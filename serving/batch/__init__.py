"""Offline scoring: tables of rows in files, a model, and what it says of each row.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no TensorFlow and no pyarrow do not wait for them.
"""

import lazy_loader

from kmeans_module.deprecated_names import with_deprecated_names

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = with_deprecated_names(
    __name__,
    _resolve,
    {name: f"serving.tables.{name}" for name in ("Table", "input_files", "open_table")},
)
