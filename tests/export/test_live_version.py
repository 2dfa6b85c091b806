"""The live version is what ``models.config`` says of the folder, and the highest where it does not.

The versions are empty folders: nothing is loaded.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from export.errors import InvalidModelsConfig, VersionNotFound
from export.repository import live_version, version_directory

SPECIFIC = "model_version_policy { specific { %s } }"
LATEST = "model_version_policy { latest { num_versions: %d } }"
ALL = "model_version_policy { all {} }"
STABLE = 'version_labels { key: "stable" value: %d }'
CANARY = 'version_labels { key: "canary" value: %d }'


def listed(*versions: int) -> str:
    return SPECIFIC % " ".join(f"versions: {version}" for version in versions)


def write_config(base: Path, *fields: str, name: str = "", base_path: str = "") -> None:
    """Add an entry to the config, by default that of ``base``."""
    config = base.parent / "models.config"
    before = config.read_text() if config.exists() else "model_config_list {\n}\n"
    entry = (
        f'config {{ name: "{name or base.name}" base_path: "{base_path or "/models/customers"}" '
        f'model_platform: "tensorflow" {" ".join(fields)} }}\n'
    )
    config.write_text(before.removesuffix("}\n") + entry + "}\n")


def make_base(folder: Path, versions: Sequence[int] = (1, 2, 3)) -> Path:
    base = folder / "models" / "customers"
    for version in versions:
        (base / str(version)).mkdir(parents=True)
        (base / str(version) / "saved_model.pb").touch()
    return base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_base(tmp_path)


@pytest.mark.parametrize(
    ("fields", "live"),
    [
        ([listed(1, 2), STABLE % 1, CANARY % 2], 1),
        ([listed(1, 2), CANARY % 1], 2),  # without the label, the highest listed
        ([listed(1, 2)], 2),
        ([], 3),  # without a policy, the latest
        ([LATEST % 1, STABLE % 1], 3),  # the label is on a version that is not loaded
        ([LATEST % 3, STABLE % 1], 1),
        ([ALL, STABLE % 2], 2),
        ([ALL], 3),
    ],
)
def test_the_entry_says_which_version_is_live(base: Path, fields: list[str], live: int) -> None:
    write_config(base, *fields)
    assert version_directory(base) == base / str(live)
    assert live_version(base) == live


def test_without_an_entry_the_highest_whole_version_is_live(base: Path) -> None:
    (base / "4").mkdir()  # somebody copies it just now
    assert version_directory(base) == base / "3"
    write_config(base, listed(1), STABLE % 1, name="others", base_path="/models/others")
    assert version_directory(base) == base / "3"


def test_an_entry_of_another_name_is_found_by_its_folder(base: Path) -> None:
    write_config(base, listed(1), STABLE % 1, name="clients", base_path=str(base))
    assert version_directory(base) == base / "1"
    os.symlink(base, base.parent / "alias")
    assert version_directory(base.parent / "alias") == base.parent / "alias" / "1"


def test_of_two_entries_of_one_folder_a_name_or_a_version_decides(base: Path) -> None:
    write_config(base, listed(1), STABLE % 1, name="clients", base_path=str(base))
    write_config(base, listed(2), STABLE % 2, name="people", base_path=str(base))
    with pytest.raises(
        InvalidModelsConfig, match=r"entries clients and people are all of .*--name.*--version"
    ):
        version_directory(base)
    assert version_directory(base, name="clients") == base / "1"
    assert version_directory(base, name="people") == base / "2"
    assert version_directory(base, 3) == base / "3"
    write_config(base, listed(3), STABLE % 3)  # its own name is nearer
    assert version_directory(base) == base / "3"


def test_the_name_of_another_folders_entry_does_not_decide(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "models" / "others"
    other.mkdir()
    write_config(base, listed(1), STABLE % 1, name="others", base_path=str(other))
    write_config(base, listed(2), STABLE % 2)
    assert version_directory(base, name="others") == base / "2"


def test_a_label_is_looked_up_in_the_config(base: Path) -> None:
    write_config(base, listed(1, 2), STABLE % 1, CANARY % 2)
    assert version_directory(base, label="canary") == base / "2"
    with pytest.raises(VersionNotFound, match=r"has no label best; it has canary \(2\), stable"):
        version_directory(base, label="best")
    (base.parent / "models.config").unlink()
    with pytest.raises(VersionNotFound, match=r"customers has no label canary; it has none"):
        version_directory(base, label="canary")


@pytest.mark.parametrize("label", [None, "stable"])
def test_a_config_that_cannot_be_read_is_an_error_that_names_version(
    base: Path, label: str | None
) -> None:
    (base.parent / "models.config").write_text("model_config_list { config { nonsense")
    with pytest.raises(InvalidModelsConfig, match=r"models\.config:.*give one with --version N"):
        version_directory(base, label=label)
    assert version_directory(base, 2) == base / "2"


def test_a_live_version_that_is_not_there_is_an_error_that_names_version(base: Path) -> None:
    write_config(base, listed(9), STABLE % 9)
    with pytest.raises(VersionNotFound, match=r"version 9 is live in models\.config, but its"):
        version_directory(base)
    assert version_directory(base, 3) == base / "3"
