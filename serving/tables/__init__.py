"""Files of rows as tables of named columns: CSV, Parquet, Arrow, NumPy, JSON lines and TFRecord.

The public names are those of ``__init__.pyi``; each is imported at its first use, so that code
without pyarrow does not import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
