"""All that faces a user or a network: clients, the embedded server, batch scoring, the command.

The public names are those of ``__init__.pyi``; each is imported when it is first asked for, so
that the parts that need no TensorFlow do not wait for it.
"""

import lazy_loader

from kmeans_module.deprecated_names import with_deprecated_names

_resolve, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = with_deprecated_names(__name__, _resolve, {"Step": "serving.FitStepResult"})
