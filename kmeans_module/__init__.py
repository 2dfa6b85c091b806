"""k-means in TensorFlow: fit it, and hold it as a module that TensorFlow Serving can serve.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no TensorFlow do not wait for it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
