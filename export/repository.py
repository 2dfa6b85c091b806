"""The versions in the folder of a model: which are there, and which of them is live.

Imports no TensorFlow.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from .durable_files import explain
from .errors import NotAModel, VersionNotFound
from .models_config import Entry, ModelsConfig

SAVED_MODEL: Final = "saved_model.pb"
#: TensorFlow Serving's versions are int64.
HIGHEST_VERSION: Final = 2**63 - 1

_Place = TypeVar("_Place")


def version_number(name: str) -> int | None:
    """The version that TensorFlow Serving takes the name of a folder for; None for other names.

    A server reads ``0001`` as version 1, and so does this.
    """
    # 100 digits are far above any number, and far below what int() refuses.
    if not (name.isascii() and name.isdigit() and len(name) < 100):
        return None
    return number if (number := int(name)) <= HIGHEST_VERSION else None


def parse_names(names: Iterable[str]) -> list[tuple[int, str]]:
    """The names that are versions, with their numbers; of two spellings, ``1`` is after ``0001``.

    The embedded server has the same rule in ``serving.embedded.version_discovery``: it speaks for
    TensorFlow Serving, and knows nothing of this package.
    """
    pairs = ((version_number(name), name) for name in sorted(names))
    return [(number, name) for number, name in pairs if number is not None]


def versions(base: str | Path) -> tuple[int, ...]:
    """The versions in the folder of a model, ascending; empty when it holds none yet.

    Raises NotAModel when ``base`` is no folder.
    """
    return tuple(sorted(_directories(Path(base))))


def version_directory(base: str | Path, version: int | None = None) -> Path:
    """The directory of a version, by default of the highest.

    Raises:
      NotAModel: ``base`` is no folder, or holds no version.
      VersionNotFound: it does not hold that one.
    """
    base = Path(base)
    directories = _directories(base)
    if not directories and (base / SAVED_MODEL).exists():
        raise NotAModel(
            f"{base}: is one version; name the folder above it, {base.absolute().parent}"
        )
    return choose_version(base, directories, version)


def choose_version(
    base: str | Path, directories: Mapping[int, _Place], version: int | None
) -> _Place:
    """The place of a version, of those that are there by their numbers; by default the highest.

    Raises NotAModel, VersionNotFound.
    """
    if not directories:
        raise NotAModel(f"{base}: holds no version folder (1, 2, ...); name the folder of a model")
    if version is None:
        return directories[max(directories)]
    if version not in directories:
        there = ", ".join(str(number) for number in sorted(directories))
        raise VersionNotFound(f"{base}: has no version {version}; there is {there}")
    return directories[version]


def live_version(base: str | Path) -> int | None:
    """The version that answers by default: what ``models.config`` has as ``stable``.

    Of a model without an entry there, the highest; None when there is none.

    Raises NotAModel, InvalidModelsConfig.
    """
    base = Path(base)
    entry = config_entry(base)
    if entry is not None and entry.stable is not None:
        return entry.stable
    there = [number for number, path in entries(base) if (path / SAVED_MODEL).is_file()]
    return max(there, default=None)


def config_entry(base: Path) -> Entry | None:
    """The entry of a model in ``models.config``; None when it has none yet."""
    return ModelsConfig.read(base).entry


def entries(base: Path) -> list[tuple[int, Path]]:
    """What has the number of a version in ``base``, folder or not. Raises NotAModel."""
    try:
        names = [entry.name for entry in base.iterdir()]
    except FileNotFoundError:
        raise NotAModel(f"{base}: there is no such folder; name the folder of a model") from None
    except NotADirectoryError:
        raise NotAModel(f"{base}: is a file; name the folder of a model") from None
    except OSError as error:
        raise NotAModel(f"{base}: cannot be read: {explain(error)}") from None
    return [(number, base / name) for number, name in parse_names(names)]


def _directories(base: Path) -> dict[int, Path]:
    return {number: entry for number, entry in entries(base) if entry.is_dir()}
