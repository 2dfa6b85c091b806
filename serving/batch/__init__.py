"""Offline scoring: answer the rows of files with a model.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no TensorFlow and no pyarrow do not wait for them.
"""

import lazy_loader

from kmeans_module.deprecated_names import with_deprecated_names
from kmeans_module.quiet_import import quietly

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_TABLE_NAMES = (
    *("Table", "input_files", "open_table"),
    *("BadCell", "ColumnMismatch", "NoRows", "RepeatedInput", "UnreadableFile"),
)
__getattr__ = with_deprecated_names(
    __name__,
    quietly(_resolve),
    {name: f"serving.tables.{name}" for name in _TABLE_NAMES}
    # Who caught BatchError caught the errors of the files too.
    | {"BatchError": "serving.tables.TableError", "planned": "serving.batch.plan_job"},
)
