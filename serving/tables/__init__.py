"""Files of rows as tables of named columns: CSV, Parquet, Arrow, NumPy, JSON lines and TFRecord.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no pyarrow do not wait for it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
