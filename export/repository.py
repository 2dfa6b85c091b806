"""The versions in the folder of a model: which are there, and which of them is live.

Imports no TensorFlow.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from .durable_files import explain
from .errors import InvalidModelsConfig, NotAModel, VersionNotFound
from .models_config import CONFIG_FILE, Entry, ModelsConfig

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

    Args:
      base: the folder of the model.

    Returns:
      The numbers.

    Raises:
      NotAModel: ``base`` is no folder.

    Example:
        >>> from tfkmeans import versions
        >>> versions("models/customers")
        (1,)
    """
    return tuple(sorted(_directories(Path(base))))


def existing_versions(base: str | Path) -> tuple[int, ...]:
    """The versions in the folder of a model, ascending; at least one. Raises NotAModel."""
    return tuple(sorted(_existing_directories(Path(base))))


def version_directory(
    base: str | Path,
    version: int | None = None,
    *,
    label: str | None = None,
    name: str | None = None,
) -> Path:
    """The directory of a version: by its number, by its label, or the live one.

    The live version is what ``models.config`` has as ``stable``, and without that label the highest
    version listed there. Of a model without an entry there, or with one whose policy lists no
    versions, it is the highest version in the folder.

    Args:
      base: the folder of the model.
      version: the number.
      label: a label in ``models.config``, in place of the number.
      name: the name that the model has in ``models.config``, where that is not its folder's.

    Returns:
      The directory, in ``base``.

    Raises:
      NotAModel: ``base`` is no folder, or holds no version.
      VersionNotFound: it does not hold that one, or has no such label.
      InvalidModelsConfig: ``models.config`` cannot be read, and no number was given.

    Example:
        >>> from tfkmeans import version_directory
        >>> version_directory("models/customers", label="stable").as_posix()
        'models/customers/1'
    """
    base = Path(base)
    directories = _existing_directories(base)
    if version is None:
        version = version_by_config(base, label, name=name)
        if version is not None and version not in directories:
            raise VersionNotFound(
                f"{base}: version {version} is {label or 'live'} in {CONFIG_FILE}, but its folder "
                f"does not exist; there is {_list_numbers(directories)}; give one with --version "
                "N"
            )
    return choose_version(base, directories, version)


def choose_version(
    base: str | Path, directories: Mapping[int, _Place], version: int | None
) -> _Place:
    """The place of a version, of those that are there by their numbers; by default the highest.

    Raises NotAModel, VersionNotFound.
    """
    if not directories:
        raise _no_version(base)
    if version is None:
        return directories[max(directories)]
    if version not in directories:
        raise VersionNotFound(
            f"{base}: has no version {version}; there is {_list_numbers(directories)}"
        )
    return directories[version]


def live_version(base: str | Path, *, name: str | None = None) -> int | None:
    """The version that answers by default, as ``version_directory`` says; None when there is none.

    Raises NotAModel, InvalidModelsConfig.
    """
    base = Path(base)
    there = [number for number, path in entries(base) if (path / SAVED_MODEL).is_file()]
    live = ModelsConfig.read(base, name).live_version(there)
    return max(there, default=None) if live is None else live


def version_by_config(
    base: str | Path, label: str | None = None, *, name: str | None = None
) -> int | None:
    """The number of the version that has a label in ``models.config``, or of the live one.

    None when there is no version. Raises NotAModel, VersionNotFound; InvalidModelsConfig, which
    says that a version can be named.
    """
    base = Path(base)
    try:
        if label is None:
            return live_version(base, name=name)
        config = ModelsConfig.read(base, name)
        labels = config.labels
    except InvalidModelsConfig as error:
        raise InvalidModelsConfig(
            f"{error}; so the {label or 'live'} version is unknown; give one with --version N"
        ) from error
    if label not in labels:
        known = ", ".join(f"{each} ({on})" for each, on in sorted(labels.items())) or "none"
        raise VersionNotFound(
            f"{config.path}: {config.model} has no label {label}; it has {known}; give one of "
            "them, or --version N"
        )
    return labels[label]


def config_entry(base: Path, name: str | None = None) -> Entry | None:
    """The entry of a model in ``models.config``; None when it has none yet."""
    return ModelsConfig.read(base, name).entry


def entries(base: Path) -> list[tuple[int, Path]]:
    """What has the number of a version in ``base``, folder or not. Raises NotAModel."""
    try:
        names = [entry.name for entry in base.iterdir()]
    except FileNotFoundError:
        raise NotAModel(f"{base}: no such folder; give the folder of a model") from None
    except NotADirectoryError:
        raise NotAModel(f"{base}: is a file; give the folder of a model") from None
    except OSError as error:
        raise NotAModel(f"{base}: cannot be read: {explain(error)}") from None
    return [(number, base / name) for number, name in parse_names(names)]


def _existing_directories(base: Path) -> dict[int, Path]:
    """The directories of the versions by their numbers, at least one. Raises NotAModel."""
    directories = _directories(base)
    if not directories and (base / SAVED_MODEL).exists():
        raise NotAModel(f"{base}: is a version; give the folder above it, {base.absolute().parent}")
    if not directories:
        raise _no_version(base)
    return directories


def _no_version(base: str | Path) -> NotAModel:
    return NotAModel(f"{base}: contains no version folder (1, 2, ...); give the folder of a model")


def _list_numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _directories(base: Path) -> dict[int, Path]:
    return {number: entry for number, entry in entries(base) if entry.is_dir()}
