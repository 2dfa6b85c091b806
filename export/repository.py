"""The versions in the folder of a model, and the live version.

Does not import TensorFlow.
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
    """Return the version of a folder name in TensorFlow Serving; None for other names.

    ``0001`` is version 1, as in TensorFlow Serving.
    """
    # 100 digits are far above any version, and far below the limit of int().
    if not (name.isascii() and name.isdigit() and len(name) < 100):
        return None
    return number if (number := int(name)) <= HIGHEST_VERSION else None


def parse_names(names: Iterable[str]) -> list[tuple[int, str]]:
    """Return the names of versions with their numbers; of two spellings, ``1`` is after ``0001``.

    The embedded server has the same rule in ``serving.embedded.version_discovery``, because it does
    not import this package.
    """
    pairs = ((version_number(name), name) for name in sorted(names))
    return [(number, name) for number, name in pairs if number is not None]


def versions(base: str | Path) -> tuple[int, ...]:
    """Return the versions in the folder of a model, ascending; empty if it has none yet.

    Args:
      base: the folder of the model.

    Returns:
      The numbers.

    Raises:
      NotAModel: ``base`` is not a folder.

    Example:
        >>> from tfkmeans import versions
        >>> versions("models/customers")
        (1,)
    """
    return tuple(sorted(_directories(Path(base))))


def existing_versions(base: str | Path) -> tuple[int, ...]:
    """Return the versions in the folder of a model, ascending; at least one. Raises NotAModel."""
    return tuple(sorted(_existing_directories(Path(base))))


def version_directory(
    base: str | Path,
    version: int | None = None,
    *,
    label: str | None = None,
    name: str | None = None,
) -> Path:
    """Return the directory of a version: by number, by label, or the live version.

    The live version is the one with the label ``stable`` in ``models.config``, or without that
    label the highest version listed there. If the model has no entry, or the policy of its entry
    lists no versions, it is the highest version in the folder.

    Args:
      base: the folder of the model.
      version: the number of the version.
      label: a label in ``models.config``, instead of the number.
      name: the name of the model in ``models.config``, if it is not that of the folder.

    Returns:
      The directory, in ``base``.

    Raises:
      NotAModel: ``base`` is not a folder, or has no version.
      VersionNotFound: the version or the label does not exist.
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
    """Return the place of a version among the existing ones; by default of the highest.

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
    """Return the live version, see ``version_directory``; None without versions.

    Raises NotAModel, InvalidModelsConfig.
    """
    base = Path(base)
    there = [number for number, path in entries(base) if (path / SAVED_MODEL).is_file()]
    live = ModelsConfig.read(base, name).live_version(there)
    return max(there, default=None) if live is None else live


def version_by_config(
    base: str | Path, label: str | None = None, *, name: str | None = None
) -> int | None:
    """Return the number of the version with a label in ``models.config``, or of the live version.

    None without versions. Raises NotAModel, VersionNotFound; InvalidModelsConfig, with the advice
    to give a version.
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
    """Return the entry of a model in ``models.config``; None if it has none yet."""
    return ModelsConfig.read(base, name).entry


def entries(base: Path) -> list[tuple[int, Path]]:
    """Return the entries of ``base`` whose names are versions, folders or not. Raises NotAModel."""
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
    """Return the directories of the versions by number, at least one. Raises NotAModel."""
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
