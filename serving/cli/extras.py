"""Optional parts of the installation."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from .errors import MissingExtra

#: Top-level packages that come with an extra.
_OPTIONAL: Final = frozenset(
    {
        *("tensorflow", "tensorflow_serving", "pyarrow", "scipy", "apache_beam"),
        *("starlette", "uvicorn", "httptools", "rapidjson", "prometheus_client"),
        *("grpc_health", "grpc_reflection"),
        *("jinja2", "matplotlib", "tensorboard"),
    }
)


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Imports in the block come with ``tfkmeans[extra]``. Raises MissingExtra without it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OPTIONAL:
            raise
        raise MissingExtra(
            f"this command needs {package}, which is not installed: pip install 'tfkmeans[{extra}]'"
        ) from error


def require(package: str) -> None:
    """Check that a package is installed, without importing it. Raises ModuleNotFoundError."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
