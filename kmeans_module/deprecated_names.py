"""Public names of the release before: for one release more they resolve, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def with_deprecated_names(
    package: str, resolve: Callable[[str], Any], renamed: Mapping[str, str]
) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that knows the names of the release before, too.

    Args:
        package: the package's ``__name__``.
        resolve: its ``__getattr__`` for the names of today.
        renamed: from each old name to the full name of today, "serving.FitStepResult".
    """

    def resolve_any(name: str) -> Any:
        if name not in renamed:
            return resolve(name)
        module, _, attribute = renamed[name].rpartition(".")
        warnings.warn(
            f"{package}.{name} is {renamed[name]} now; the old name is removed in 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(module), attribute)

    return resolve_any
