"""Public names of the previous release, which still resolve in this release, with a warning."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def with_deprecated_names(
    package: str, resolve: Callable[[str], Any], renamed: Mapping[str, str]
) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package that also resolves names of the previous release.

    Args:
        package: the ``__name__`` of the package.
        resolve: its ``__getattr__`` for current names.
        renamed: maps each old name to the full new name, such as "serving.FitStepResult".
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
