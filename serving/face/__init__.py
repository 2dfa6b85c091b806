"""The public names of tfkmeans in one package.

These are the names of ``kmeans_module``, ``export`` and ``serving``. Each is imported at its first
use, so a client does not import TensorFlow. Installed as the package ``tfkmeans``.
"""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("kmeans_module", "export", "serving")

#: The extras of names, if not "train".
_EXTRAS = {"EmbeddedServer": "serve"}


def _find_names() -> dict[str, str]:
    """Map each public name to its package; a later package overrides and extends an earlier one.

    Raises ImportError if another package with one of these names is found first.
    """
    folders = {}
    for package in _PACKAGES:
        module = import_module(package)
        place = Path(module.__file__ or next(iter(module.__path__)))
        folders[package] = place.parent.parent if module.__file__ else place.parent
        if folders[package] != folders[_PACKAGES[0]] or not hasattr(module, "__all__"):
            raise ImportError(
                f"tfkmeans needs its own package {package!r}, and Python finds another at {place}: "
                "rename that one, or start Python in another folder"
            )
    return {name: package for package in _PACKAGES for name in import_module(package).__all__}


_PACKAGE_OF = _find_names()

__all__ = sorted(_PACKAGE_OF)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("tfkmeans")
    package = _PACKAGE_OF.get(name)
    if package is None:
        raise AttributeError(f"module 'tfkmeans' has no attribute {name!r}")
    try:
        value = globals()[name] = getattr(import_module(package), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _PACKAGES:
            raise
        extra = _EXTRAS.get(name, "train")
        raise ModuleNotFoundError(
            f"tfkmeans.{name} needs {missing}, which is not installed: "
            f"pip install 'tfkmeans[{extra}]'",
            name=error.name,
        ) from None
    return value


def __dir__() -> list[str]:
    return __all__
